# make demo and make test need Python 3.11 or newer and nothing else: each makes .venv and installs into it.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all break mutants test-lowest dist check clean

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

# Kills, signals, full disks, lying files, wrong command lines, several processes: what was tried and what passed (half an
# hour; small disks are mounted where that is allowed).
break: .venv/dev
	$(BIN)/python -m pytest -n auto tests/test_break.py

# Lines that define methods and loop, changed one at a time: the tests must notice each (half an hour).
mutants: .venv/dev
	$(BIN)/python benchmarks/mutants.py

# The tests with the oldest releases that pyproject.toml allows, in an environment of their own. Such releases use
# what newer ones of torch warn of.
TOOLS := beartype hypothesis pytest pytest-timeout pytest-xdist
test-lowest: PIP_LOW := .venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	$(PIP_LOW) --constraint constraints-lowest.txt pip setuptools torch
	$(PIP_LOW) --constraint constraints-lowest.txt --no-build-isolation --editable ".[timm,hf,parquet]" $(TOOLS)
	.venv-lowest/bin/python -m pytest -n auto -m "not long" -W ignore::DeprecationWarning

# Wheel and source archive in dist/.
dist: .venv/core
	rm -rf dist build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -c "from setuptools.build_meta import build_sdist; build_sdist('dist')"

clean:
	rm -rf .venv .venv-lowest build dist *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
