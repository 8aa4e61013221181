# make demo and make test need Python 3.11 or newer and nothing else: each makes .venv and installs into it.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all check clean

demo: .venv/core
	$(BIN)/alasca demo

test: .venv/dev check
	$(BIN)/python -m pytest -n auto -m "not long"

test-all: .venv/dev check
	$(BIN)/python -m pytest -n auto

check: .venv/dev
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/mypy

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) pip setuptools torch
	$(PIP) --no-build-isolation --editable .
	touch $@

.venv/dev: .venv/core
	$(PIP) --no-build-isolation --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv build *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
