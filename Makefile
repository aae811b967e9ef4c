# `make demo` and `make test` need nothing but Python: they make .venv and install the tested set first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format clean

demo: .venv/demo.stamp
	$(BIN)/lorafit demo

test: .venv/dev.stamp
	$(BIN)/pytest -n 2 -m "not slow"

check: .venv/dev.stamp
	$(BIN)/ruff check src tests benchmarks pretraining
	$(BIN)/ruff format --check src tests benchmarks pretraining
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev.stamp
	$(BIN)/ruff check --fix src tests benchmarks pretraining
	$(BIN)/ruff format src tests benchmarks pretraining

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch is named by itself, with its exact version, so that no other build of it is taken.
.venv/demo.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev.stamp: .venv/demo.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
