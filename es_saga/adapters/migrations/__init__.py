"""The database schema's history, for alembic. Run it with `es-saga migrate`."""
