"""The reference business: a shop, a travel agency, a bank, and small ones beside them.

Each package is one business: `contracts` is what its services say to each other, `saga` what is to
happen in which order, `participants` the services that do it, each on a database of its own. Each
has an `app`: `es-saga run domain.orders:app`.

Only public names of `es_saga` are used, so that any of them can be the beginning of yours.
"""
