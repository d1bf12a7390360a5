# Everything starts here. On a fresh machine: `make demo` or `make test`; python3 (3.11 or newer), make and a network
# connection are all that is needed. Each target makes what it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Tests and benchmarks start hundreds of processes: each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test check bench lab lab-networks lab-rates docs clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

# --- the virtual environment: one, with a stamp for each set of extras ---------------------------------------------------
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Crust needs Python 3.11 or newer; name it with: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.for-%: setup.py crust/_version.py $(VENV)/.made
	@echo "installing crust with the extra '$*' into $(VENV) ..."
	@$(PIP) install --editable '.[$*]'
	@touch $@

# --- targets --------------------------------------------------------------------------------------------------------------
demo: $(VENV)/.for-cli ## real peers in separate processes find each other, chat, move a file and stop
	$(BIN)/crust demo

test: $(VENV)/.for-dev ## the tests, without the slow ones (under three minutes)
	$(BIN)/python -m pytest -n 4 --dist worksteal

check: $(VENV)/.for-dev ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.for-comparison: $(VENV)/.for-bench
	@$(PIP) install --editable '.[bench-libp2p]' || echo "py-libp2p cannot be installed here: it is left out"
	@touch $@

bench: $(VENV)/.for-cli $(VENV)/.for-bench $(VENV)/.for-comparison ## measure against raw sockets and others (minutes)
	$(BIN)/python -m benches.compare

lab: lab-networks lab-rates ## tests in network namespaces with routers and NATs (needs root)

lab-networks: $(VENV)/.for-dev
	@echo "Runs the tests marked 'lab' (pytest -m lab): they build networks in their own namespaces and remove them again."
	@echo "They need root, iproute2 and nftables, and touch nothing outside these namespaces."
	$(BIN)/python -m pytest -m "lab and not measured" -n 6 --maxschedchunk 1 tests/lab

# Rates and queues are measured with nothing beside them.
lab-rates: $(VENV)/.for-dev
	$(BIN)/python -m pytest -m "lab and measured" tests/lab

docs: $(VENV)/.for-cli ## draw the pictures in img/ again
	$(BIN)/python img/make_pictures.py

clean: ## remove everything that was made, .venv too
	rm -rf $(VENV) .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
