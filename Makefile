# What people do with this project. `make` alone lists it.
PY := .venv/bin/python
# Test files side by side, each with a box of its own. One for each of two cores: with three these are always full,
# and now and then something is not in time.
WORKERS ?= 2
# Some images forbid Python to keep what it has compiled. Here processes are started by the thousand.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint format crds clean

help:   ## this list
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

setup: ## the virtual environment in .venv
	@PYTHON=$(PYTHON) scripts/setup

demo: setup ## a release three ways, side by side: build/demo.html
	@$(PY) -m demo

test: setup ## the whole test suite; ARGS="-k ..." for some of it
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: setup ## what it costs: build/bench.json; ARGS="ramp --quick" for some of it
	@$(PY) -m bench $(ARGS)

lint: setup ## ruff, mypy, import contracts, generated files
	@scripts/lint

format: setup ## ruff's formatting
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

crds: setup ## crds/ and docs/reference.md, from the models
	@$(PY) -m lossless.api.crd > crds/lossless.dev_losslessrollouts.yaml
	@$(PY) scripts/reference.py

clean: ## everything that is made here
	rm -rf .venv build
