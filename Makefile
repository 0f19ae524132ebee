# Everything a contributor or CI runs. Needs Python >= 3.11 with venv, and make; the rest is
# installed, pinned and hashed, into .venv by the first target that needs it.

PYTHON ?= python3
ARGS ?=
MINUTES ?= 10
HOURS ?=
# Of `make sim`: how many seeds; DAY=1 for one run of a whole day instead.
SEEDS ?= 1000
DAY ?=

VENV := .venv
BIN := $(VENV)/bin
# The stamp is written last, so an interrupted install is done again.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check sim mutants faults soak bench format wheel clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "smppgate needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## a carrier, the daemon and an application on this machine, with real traffic
	@$(BIN)/smppgate demo $(ARGS)

test: $(READY) ## all tests, about five minutes; one of them: make test ARGS='-k receipt'
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sim: $(READY) ## a thousand simulated gateways, on all cores: make sim SEEDS=100, make sim DAY=1
	@$(BIN)/python -m tests.sim $(if $(DAY),--day,--seeds $(SEEDS)) $(ARGS)

mutants: $(READY) ## the simulation, each guard of the gateway taken out in turn
	@$(BIN)/python -m tests.sim --mutants $(ARGS)

faults: $(READY) ## every fault at full size: 200 kills, each call failing, 2,000,000 queued; half an hour
	@$(BIN)/python -m tests.faults $(ARGS)

soak: $(READY) ## traffic with faults for long: make soak MINUTES=10, or HOURS=24
	@$(BIN)/python -m tests.faults.soak --minutes $(if $(HOURS),$$(( $(HOURS) * 60 )),$(MINUTES)) $(ARGS)

bench: $(READY) ## the gateway against the bare relay
	@$(BIN)/python -m bench $(ARGS)

format: $(READY) ## rewrite the code as the checks want it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(READY) ## dist/smppgate-*.whl
	$(BIN)/python -m build --no-isolation --wheel

clean: ## remove all that make and the tools have made
	rm -rf $(VENV) dist build *.egg-info .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
