PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

PIP := $(BIN)/python -m pip --disable-pip-version-check
UV := $(VENV)/uv/bin/uv

.PHONY: help demo test lint types docs benchmark results soak oldest dist lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# Wheels alone, each with its hash: no code of a package runs while it is installed. What torch adds comes last. All
# cores compile, where pip would use one; files that are for other versions of Python do not compile. Large parts that
# are hardly ever imported are left to be compiled when they are.
SELDOM := /(tests|testing|graph_objs|networkx|pip|setuptools|lexers|rllib|serve|llm|dashboard|autoscaler|_inductor)/

$(STAMP): pyproject.toml requirements/dev.txt requirements/torch.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile --no-deps --only-binary :all: --require-hashes -r requirements/dev.txt
	$(PIP) install --quiet --no-compile --only-binary :all: -r requirements/torch.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	$(PIP) check
	$(BIN)/python -m compileall -q -j 0 -x '$(SELDOM)' $(VENV)/lib >/dev/null 2>&1 || true
	@touch $(STAMP)

demo: $(STAMP) ## train two workloads with the curriculum and without, draw the plots and the page (4 minutes)
	$(BIN)/python -m examples.demo --out runs/demo

test: $(STAMP) ## lint, types, docs without warnings, all tests
	$(MAKE) -j 3 lint types docs
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP) ## ruff; zizmor over the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/zizmor --quiet --offline --persona auditor .github

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

docs: $(STAMP) ## build the site into docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

results: $(STAMP) ## the runs behind docs/results.md, resumable (three hours on two cores), and its tables and pictures
	$(BIN)/python -m examples.compare run --out runs/compare
	$(BIN)/python -m examples.compare publish --out runs/compare --to docs/results/compare

benchmark: $(STAMP) ## cost of the loader, the callback, several ranks, logging, every signal and per-sample gradients; bias and agreement of signals
	$(BIN)/python -m tests.benchmarks.data_path --out docs/results
	$(BIN)/python -m tests.benchmarks.callback_cost --out docs/results
	$(BIN)/python -m tests.benchmarks.ranks --out docs/results
	$(BIN)/python -m tests.benchmarks.logging_cost --out docs/results
	$(BIN)/python -m tests.benchmarks.signal_cost --out docs/results
	$(BIN)/python -m tests.benchmarks.signal_fidelity --out docs/results
	$(BIN)/python -m tests.benchmarks.signal_bias --out docs/results
	$(BIN)/python -m tests.benchmarks.per_sample_cost --out docs/results

dist: ## wheel and source distribution, by a build environment of which every file has a hash
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r requirements/build.txt
	rm -rf dist
	.venv-dist/bin/hatchling build

oldest: ## golden traces, checkpoints and resuming with the oldest numpy, torch and Lightning (Linux, Python 3.10)
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r requirements/oldest.txt
	.venv-oldest/bin/python -m pytest -q tests/bandits/test_golden.py tests/test_golden_checkpoints.py \
		tests/test_weights_only.py tests/test_damaged_checkpoints.py tests/test_resume.py

soak: $(STAMP) ## 100 kills, ten million updates, the statistical tests 50 times (three quarters of an hour)
	$(BIN)/python -m tests.soak.kills --kills 100 --out docs/results
	$(BIN)/python -m tests.soak.writes --kills 100 --out docs/results
	$(BIN)/python -m tests.soak.updates --out docs/results
	$(BIN)/python -m tests.soak.repeats --out docs/results

# Releases of the last week are left out: malicious ones are found within days. What the build of torch brings along on
# Linux is left out as well, as torch itself.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx triton

LOCKED := --python-version 3.10 --exclude-newer "7 days" --generate-hashes --only-binary :all: --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock"

lock: ## resolve the development environment anew, with a hash for every wheel (UPGRADE=1: to the newest versions)
	test -x $(UV) || { $(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/python -m pip install --quiet uv==0.13.9; }
	$(UV) pip compile --quiet pyproject.toml --extra dev --constraints requirements/torch.txt --universal \
		$(addprefix --no-emit-package ,torch $(CUDA)) $(if $(UPGRADE),--upgrade) \
		$(LOCKED) --output-file requirements/dev.txt
	$(UV) pip compile --quiet pyproject.toml requirements/oldest.in --resolution lowest-direct \
		--python-platform linux $(LOCKED) --output-file requirements/oldest.txt
	$(UV) pip compile --quiet requirements/build.in --universal $(LOCKED) --output-file requirements/build.txt

clean: ## remove everything that was made
	rm -rf $(VENV) .venv-oldest .venv-dist dist docs/_build runs .mypy_cache .ruff_cache .pytest_cache
