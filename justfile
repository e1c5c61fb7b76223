# Every task of the project; each recipe is one plain command.

# List the tasks.
default:
    @just --list

# Create the environment.
setup:
    python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'

# Everything CI checks, in a clean environment.
ci:
    bash .ci/run

# The quick check: under a minute.
quick:
    .venv/bin/pytest tests/core tests/domain tests/typing

# The whole suite.
test:
    .venv/bin/pytest

# The dashboard in a real browser and the HTTP API under a fuzzer: needs the extra `verify` and chromium.
heavy:
    .venv/bin/pytest tests/dashboard tests/diagrams/test_pictures.py tests/web/test_schemathesis.py

# Which requirements no passing test covers.
requirements:
    .venv/bin/pytest --requirements

# Branch coverage of the core.
coverage:
    .venv/bin/pytest tests/core --cov=es_saga/core --cov-branch --cov-fail-under=100

# Mutants of the core that no test of it notices: 6,000, for hours, with the extra `verify`.
mutants:
    .venv/bin/mutmut run

# Types, both checkers strict.
types:
    .venv/bin/mypy && .venv/bin/pyright

# Style and the direction of imports.
lint:
    .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/lint-imports

# Look for what breaks the sagas of the reference business.
check:
    for app in orders travel transfer credit activities checkout intake procurement fulfilment delivery plots together wholesale; do .venv/bin/es-saga check domain.$app:app || exit; done

# Record histories that are missing; those that are there stay.
record:
    .venv/bin/python -m tests.histories.record

# The notebooks' second form, after a change of the first.
notebooks:
    .venv/bin/jupytext --to ipynb notebooks/*.py

# Format the code.
format:
    .venv/bin/ruff format .

# The whole system on this machine.
demo:
    .venv/bin/es-saga demo

# Throughput and latency on this machine.
bench:
    .venv/bin/es-saga bench -o json
