"""`python -m es_saga` is `es-saga`."""

from es_saga.cli import main

if __name__ == "__main__":
    main()
