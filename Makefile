# Needs make and Python 3.11 or newer with venv; the wheels that constraints.txt names bring everything else.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A folder of images to serve instead of the samples: make run IMAGES=~/Pictures
IMAGES ?=
# Passed through the environment unexpanded, so that a $ or a quote in the name reaches neither make nor the shell.
export IMAGES_FOLDER := $(value IMAGES)

.PHONY: help install run test coverage conformance bench alerts docs fuzz lint typecheck format constraints clean all

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

all: lint test

install: $(STAMP)  ## create .venv with the gateway and everything that runs, tests and checks it

$(STAMP): setup.cfg constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; name one with PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment: on Debian and Ubuntu run 'apt install python3-venv' as root"; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,test,lint]'
	@touch $@

# make passes SIGTERM on to its child alone: without exec that is a shell, which ends and leaves the gateway behind.
run: install  ## start the gateway with embedded servers and sample images
	exec $(BIN)/python -m gateway dev $${IMAGES_FOLDER:+--images "$$IMAGES_FOLDER"}

# Each worker starts its own servers. Servers named in the environment cannot be shared by several workers.
WORKERS ?= $(if $(GATEWAY_TEST_REDIS_URL)$(GATEWAY_TEST_POSTGRES_DSN),0,2)

PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup

test: install  ## run the whole suite on real servers
	$(PYTEST) $(ARGS)

coverage: install  ## run the whole suite and list the branches that it did not take
	$(PYTEST) --cov --cov-report= $(ARGS)
	$(BIN)/coverage report

conformance: install  ## run the tests of http-cache-tests that apply; needs node and npm
	$(BIN)/python -m tests.conformance.cache_tests

# SECONDS is the time for each target: make fuzz SECONDS=600 TARGETS=credentials
SECONDS ?= 60
TARGETS ?= image_ids image_requests conditions link_parameters credentials cached_entries key_sets settings_files

fuzz: install  ## fuzz every parser of untrusted input
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@set -e; for target in $(TARGETS); do \
		echo "$$target for $(SECONDS) s"; \
		$(BIN)/python -m tests.hostile.fuzz $$target -max_total_time=$(SECONDS) -max_len=4096 -seed=1 -print_final_stats=1; \
	done

alerts:  ## test the alert rules; needs promtool
	promtool check rules config/prometheus/alerts.yml
	promtool test rules tests/prometheus/alerts.yml

bench: install  ## measure the gateway against a bare aiohttp and nginx; needs nginx, wrk and two cores
	$(BIN)/python -m bench $(ARGS)

docs: install  ## write the generated documents: docs/configuration.md and docs/overview.svg
	$(BIN)/python -m docs.generate

lint: install  ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

typecheck: install  ## run mypy alone
	$(BIN)/mypy

format: install  ## apply what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints:  ## write the newest versions of all dependencies into constraints.txt
	tmp=$$(mktemp -d) && $(PYTHON) -m venv $$tmp && $$tmp/bin/pip install --quiet '.[dev,test,lint]' && \
	{ sed -n '/^#/p' constraints.txt; $$tmp/bin/pip freeze --exclude image-gateway; } > constraints.new && \
	mv constraints.new constraints.txt; rm -rf $$tmp build image_gateway.egg-info

clean:  ## remove what `make install` and `make run` created
	rm -rf $(VENV) .dev .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache build *.egg-info
