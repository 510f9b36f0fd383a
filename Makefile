# Every target does its own set-up: a fresh Linux machine needs only Python 3.11 or newer with venv, and make.
PYTHON ?= python3
VENV   ?= .venv
OUT    ?= runs
BIN     = $(VENV)/bin
WORKERS ?= 2

.DEFAULT_GOAL = help
.PHONY: help setup demo test test-all lint types bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: $(VENV)/.runtime $(VENV)/.development  ## make .venv with everything, the project editable

demo: $(VENV)/.runtime  ## search, transfer, compare and report on the embedded digits (about 6 minutes on 2 cores)
	@echo "== demo: studies/digits.yaml, $(WORKERS) workers of one thread; runs go to $(OUT)/"
	@$(BIN)/python -m common.studies run studies/digits.yaml --out $(OUT) --workers $(WORKERS)

test: lint types  ## lint, types, tests
	@echo "== tests (slow ones: make test-all)"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

test-all: lint types  ## the slow tests too
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "slow or not slow"

lint: $(VENV)/.development  ## ruff
	@echo "== lint"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.development  ## mypy on common, Detection, Segmentation
	@echo "== types"
	@$(BIN)/mypy common Detection Segmentation

bench: $(VENV)/.development  ## what is measured, as ratios to a baseline in the same run
	@$(BIN)/python -m benchmarks

clean:  ## remove the environment and caches; runs stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; run make PYTHON=python3.12 ..."; exit 1; }
	@echo "== making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "== installing the runtime set (torch and torchvision are large: about 5 GB, some minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	@echo "== installing what lint, types and tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
