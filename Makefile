# BitTrade's verbs. Needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# What running needs is a third of what the checks need: a newcomer does not wait for the rest.
RUN_STAMP := $(VENV)/.installed-to-run

# Tests that speak with the real JavaScript client need its package; without npm they are skipped, aloud.
NODE_LOCK  := $(wildcard tests/e2e/package-lock.json)
NODE_STAMP := $(if $(and $(NODE_LOCK),$(shell command -v npm)),tests/e2e/node_modules/.installed)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup web run test drill drill-market drill-orders drill-plans drill-cluster screenshots bench mutants check format-check lint types imports audit format lock clean

help:  ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with everything that is pinned (instant when nothing changed)

# Both make the virtual environment, whichever comes first. After the whole nothing is left to install for running.
define make-venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "BitTrade needs Python 3.11 or newer, not " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "Could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef

$(STAMP): requirements-dev.txt
	$(make-venv)
	@echo "Installing what requirements-dev.txt pins into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $(RUN_STAMP) $@

$(RUN_STAMP): requirements.txt requirements-run.txt
	$(make-venv)
	@echo "Installing what running needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt -r requirements-run.txt
	@touch $@

tests/e2e/node_modules/.installed: $(NODE_LOCK)
	@echo "Installing what tests/e2e/package-lock.json pins ..."
	@cd tests/e2e && npm ci --silent --no-audit --no-fund
	@touch $@

# The page is built where node is there; without it everything but the page works, and `make run` says so.
WEB_SOURCES := $(wildcard web/*.html web/package-lock.json web/*.ts web/src/* web/src/*/* web/src/*/*/*)

web: $(if $(shell command -v npm),web/dist/index.html)  ## Build the trading page and the operators' page (needs node)

web/dist/index.html: $(WEB_SOURCES)
	@echo "Building the pages ..."
	@cd web && npm ci --silent --no-audit --no-fund && npm run --silent build -- --logLevel warn
	@touch $@

run: $(RUN_STAMP) web  ## Run the whole server here: web, worker, scheduler, and what they need (Ctrl-C ends it)
	@exec $(BIN)/python -m dev.run

# Most tests wait for a server more than they compute: three processes keep two cores busy.
test: $(STAMP) $(NODE_STAMP) web  ## Run all tests; make test ARGS="-n0 -k trade -x" passes arguments on
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

check: format-check lint types imports test  ## What CI runs: format, lint, types, import contracts, tests

format-check: $(STAMP)  ## Is everything formatted?
	@$(BIN)/ruff format --check .

lint: $(STAMP)  ## Look for mistakes
	@$(BIN)/ruff check .

types: $(STAMP)  ## Check the types
	@$(BIN)/mypy
	@cd clients/python && $(CURDIR)/$(BIN)/mypy

imports: $(STAMP)  ## Check the architecture's arrows
	@$(BIN)/lint-imports

drill: $(STAMP)  ## Load and faults against private servers, then prove the books; make drill ARGS=--short
	@$(BIN)/python -m drills $(ARGS)

drill-market: $(STAMP)  ## Lying, slow and dead price sources, Redis and jobs killed; ARGS=--short for two minutes of it
	@$(BIN)/python -m drills.market $(ARGS)

drill-orders: $(STAMP)  ## Thousands of open orders under a walking price, everything killed; ARGS=--short for a minute of it
	@$(BIN)/python -m drills.orders $(ARGS)

drill-plans: $(STAMP)  ## Recurring plans over simulated days while those who run them are killed; ARGS=--short for half a day
	@$(BIN)/python -m drills.plans $(ARGS)

drill-cluster: $(STAMP)  ## Three Galera nodes that all write, or one behind HAProxy, some of them killed; ARGS="--short --only G2"
	@$(BIN)/python -m drills.cluster $(ARGS)

screenshots: $(STAMP) web  ## Take the pictures of docs/screenshots anew, in both widths and themes
	@SCREENSHOTS=1 $(BIN)/python -m pytest -q -n0 tests/e2e/test_page_faults.py -k screenshots

bench: $(STAMP)  ## Requests a second of the hot routes; BENCH_PEER=folder compares; ARGS="--only trade"
	@$(BIN)/python -m bench $(ARGS)

mutants: $(STAMP)  ## Do the tests notice small changes of the code? ARGS="--sample 200"; hours without it
	@$(BIN)/python -m dev.mutants $(ARGS)

audit: $(STAMP)  ## Look for committed secrets and known holes; write the bill of materials
	@$(BIN)/python -m dev.audit

format: $(STAMP)  ## Format, and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Options of the machine's pip (its index, its folders) stay out of what is committed.
lock: $(STAMP)  ## Compile requirements*.txt anew from requirements*.in, with the newest versions allowed
	@for name in requirements requirements-run requirements-extras requirements-dev; do \
		CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe \
			--strip-extras --no-emit-options --output-file $$name.txt $$name.in || exit 1; \
	done

clean:  ## Remove .venv and caches; instance/, the data of make run, stays
	@rm -rf $(VENV) tests/e2e/node_modules web/node_modules web/dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
