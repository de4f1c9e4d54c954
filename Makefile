PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test lint types docs benchmark results soak clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $(STAMP)

demo: $(STAMP) ## train two workloads with the curriculum and without, draw the plots and the page (4 minutes)
	$(BIN)/python -m examples.demo --out runs/demo

test: lint types docs ## lint, types, docs without warnings, all tests
	$(BIN)/python -m pytest -q

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

docs: $(STAMP) ## build the site into docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

results: $(STAMP) ## the full tables of docs/results.md (a quarter of an hour)
	$(BIN)/python -m examples.results --out docs/results

benchmark: $(STAMP) ## cost of the callback, of logging and of every signal, their bias, how well the cheap ones agree
	$(BIN)/python -m tests.benchmarks.callback_cost --out docs/results
	$(BIN)/python -m tests.benchmarks.logging_cost --out docs/results
	$(BIN)/python -m tests.benchmarks.signal_cost --out docs/results
	$(BIN)/python -m tests.benchmarks.signal_fidelity --out docs/results
	$(BIN)/python -m tests.benchmarks.signal_bias --out docs/results

soak: $(STAMP) ## 100 kills, ten million updates, the statistical tests 50 times (three quarters of an hour)
	$(BIN)/python -m tests.soak.kills --kills 100 --out docs/results
	$(BIN)/python -m tests.soak.updates --out docs/results
	$(BIN)/python -m tests.soak.repeats --out docs/results

clean: ## remove everything that was made
	rm -rf $(VENV) docs/_build runs .mypy_cache .ruff_cache .pytest_cache
