# tocsin: make alone prints what there is.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench chaos chaos-cut lint generated lock clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(STAMP): requirements/dev.lock pyproject.toml
	@echo "setting up .venv (once; about 1 GB, one to three minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP) ## install everything into .venv, every package by its hash

demo: $(STAMP) ## the whole way on real data: three nodes, a real Kafka and S3, a killed worker, tables, an audit
	@$(BIN)/python -m tests.demo

test: $(STAMP) ## all tests: those without a server side by side, then those that start their own Kafka and S3, and the cut of the faults
	@$(BIN)/python -m pipeline.warm
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not integration and not chaos"
	@# Tests of one file look at one world as it goes on: in the order in which they stand.
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -p no:randomly -m "integration or chaos"

bench: $(STAMP) ## how fast it is, every figure checked; EVENTS=5000000 for more, PEERS=DIR for other engines beside it
	@$(BIN)/python -m tests.bench all --events $(or $(EVENTS),1000000) $(if $(PEERS),--peers $(PEERS))

chaos: $(STAMP) ## faults on a real Kafka and S3, an oracle's verdict, planted bugs; two hours and a half, CHAOS="--minutes 2" for less
	@$(BIN)/python -m tests.chaos $(CHAOS)
	@$(BIN)/python -m tests.chaos.planted

chaos-cut: $(STAMP) ## some of each fault, the oracle's verdict, as in make test; five minutes
	@$(BIN)/python -m pytest -m chaos

lint: $(STAMP) ## style, types, import contracts, sizes, schema evolution, rendered files
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pipeline.generated --check

generated: $(STAMP) ## write again what is rendered from one source
	@$(BIN)/python -m pipeline.generated

lock: $(STAMP) ## resolve requirements/*.lock again (needs uv)
	uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header --no-annotate pyproject.toml -o requirements/node.lock
	uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --extra hub pyproject.toml -o requirements/hub.lock
	uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --extra hub --extra dev --extra build pyproject.toml -o requirements/dev.lock

clean: ## remove what make made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
