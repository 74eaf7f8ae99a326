# Every target sets up what it needs. `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Tests with a target of their own.
APART := $(addprefix --ignore=tests/,agents chaos benchmarks hostile)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-agents test-containers test-hostile test-load test-postgres check lint types contracts docs chaos bench lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/.run ## install Windlass into .venv: the command is .venv/bin/windlass

.venv/.run: requirements.lock pyproject.toml scripts/setup
	@scripts/setup run

setup-dev: .venv/.dev ## the same with everything that tests and checks need

.venv/.dev: requirements-dev.lock pyproject.toml scripts/setup
	@scripts/setup dev

demo: .venv/.run ## watch one issue become a merged pull request
	@$(BIN)/windlass demo

test: .venv/.dev ## the test suite
	$(PYTEST) -n 4 --dist worksteal --without podman,docker,postgres $(APART)

test-postgres: .venv/.dev ## every test that needs PostgreSQL, which runs as a server of its own for them
	$(PYTEST) -n 4 --dist worksteal --only postgres --without podman,docker $(APART)

test-agents: .venv/.dev ## real agents (npm, cached) take an issue to a pull request, with a scripted model
	$(PYTEST) tests/agents

test-containers: .venv/.dev ## every test that needs a container engine, on Podman and Docker
	$(PYTEST) -n 2 --dist loadfile --only podman,docker $(APART)

test-hostile: .venv/.dev ## every attack of docs/hostile.md, on processes and containers
	$(PYTEST) -n 3 --dist worksteal $$($(BIN)/python -m tests.hostile.cases tests)

test-load: .venv/.dev ## small editions of the chaos run and of every benchmark
	$(PYTEST) tests/chaos tests/benchmarks

check: lint types contracts docs test test-postgres test-containers test-hostile test-load test-agents ## everything that CI asks for

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

contracts: .venv/.dev
	$(BIN)/lint-imports

docs: .venv/.dev
	$(BIN)/python scripts/erd.py --check
	$(BIN)/python scripts/settings_page.py --check
	$(BIN)/python scripts/reference_pages.py --check

chaos: .venv/.dev ## kill -9 at random under load: SQLite, PostgreSQL, containers (up to 30 minutes)
	$(BIN)/python -m tests.chaos

bench: .venv/.dev ## every figure side by side with a peer or a floor
	$(BIN)/python -m benchmarks

lock: .venv/.dev ## pin all dependencies anew, with hashes
	$(BIN)/python scripts/lock.py

clean: ## remove what the targets made
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
