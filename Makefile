# Everything a person, or CI, does in this repository. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help setup run test bench bench-flood check fix lock clean
.NOTPARALLEL:

PYTHON ?= python3
VENV_PYTHON := .venv/bin/python

# The code on which access and evidence depend: every branch of it is covered, or `make test` fails.
COMPLETE := apikeys/keyformat.py,apikeys/hashing.py,apikeys/digests.py,apikeys/foreign.py,apikeys/permissions.py,apikeys/verification.py,apikeys/actions/*,audit/*

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## Install what keyportal needs into .venv, from pinned and hashed requirements
	@$(call install,base)

run: setup ## Start keyportal on HOST:PORT (127.0.0.1:8000), its data in KEYPORTAL_DATA_DIR (var); Ctrl-C stops it
	@$(VENV_PYTHON) manage.py prepare
	@exec $(VENV_PYTHON) -m gunicorn -c keyportal/gunicorn.py keyportal.wsgi

test: setup ## Run the tests on SQLite, then on PostgreSQL those that use a database; ARGS="-k word" runs some of them
	@$(call install,dev)
	@$(programs)
	@rm -f .coverage .coverage.*
	@status=0; $(call pytest,sqlite) || status=1; $(call pytest,postgresql) || status=1; exit $$status
ifeq ($(strip $(ARGS)),)
	@$(VENV_PYTHON) -m coverage combine --quiet
	@$(VENV_PYTHON) -m coverage report
	@echo "What has to be covered whole:"
	@$(VENV_PYTHON) -m coverage report --include='$(COMPLETE)' --fail-under=100
endif

bench: setup ## Measure how fast keyportal is, beside what it could be and what others are; ARGS="--only speed" is a part
	@$(rivals)
	@$(VENV_PYTHON) -m bench $(ARGS)

bench-flood: setup ## Measure what good keys still get while others flood it with bogus ones; ARGS="--from one" is a part
	@$(bench_programs)
	@$(VENV_PYTHON) -m bench.flood $(ARGS)

check: setup ## Check format, lint, types, layers, templates, requirements, deployment settings and migrations
	@$(call install,dev)
	@set -e; data=$$(mktemp -d); trap 'rm -rf "$$data"' EXIT; trap 'exit 130' INT TERM; \
	export KEYPORTAL_DATA_DIR="$$data" KEYPORTAL_URL=https://keyportal.example; \
	SECRET_KEY=$$($(VENV_PYTHON) -c 'import secrets; print(secrets.token_urlsafe(50))'); export SECRET_KEY; \
	step() { echo "check: $$*"; .venv/bin/"$$@"; }; \
	step ruff format --check .; \
	step ruff check .; \
	step python -m mypy; \
	step lint-imports --no-logo --no-cache; \
	find templates -name '*.html' -exec .venv/bin/djade --target-version 5.2 --check {} +; \
	step python -W ignore:Unused:UserWarning -m deptry .; \
	step python manage.py check --deploy --fail-level WARNING; \
	step python manage.py makemigrations --check --dry-run

fix: setup ## Mend what can be mended by itself: format, lint, templates
	@$(call install,dev)
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .
	@find templates -name '*.html' -exec .venv/bin/djade --target-version 5.2 {} +

lock: setup ## Write requirements/*.txt and bench/requirements.txt anew from their .in; ARGS=--upgrade takes newer releases
	@[ -x .venv/lock/bin/uv ] || { $(VENV_PYTHON) -m venv .venv/lock && $(call pip,.venv/lock/bin/python) uv; }
	@for name in requirements/base requirements/dev bench/requirements; do \
		.venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-header --no-annotate $(ARGS) \
			--output-file $$name.txt $$name.in || exit 1; \
	done

clean: ## Remove .venv and what the tools left behind; never the data in var
	@rm -rf .venv .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache test-results

# The rest is shell that the recipes above share. `cd` is never needed: make runs them in this directory.

pip = $(1) -m pip install --quiet --disable-pip-version-check --no-input

# $(call install,NAME): what requirements/NAME.txt pins is in .venv. A copy of that file, kept there once everything
# was installed, says so; as long as the two are the same, nothing is installed and no network is needed.
define install
if ! cmp -s requirements/$(1).txt .venv/installed-$(1).txt || ! $(VENV_PYTHON) -c '' 2>/dev/null; then \
	$(venv); \
	echo "Installing requirements/$(1).txt into .venv"; \
	$(call pip,$(VENV_PYTHON)) --require-hashes -r requirements/$(1).txt || exit 1; \
	cp requirements/$(1).txt .venv/installed-$(1).txt; \
fi
endef

# A virtual environment that works, made anew if there is none or its Python is gone.
define venv
if ! $(VENV_PYTHON) -c 'import pip' 2>/dev/null; then \
	if ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "keyportal needs Python 3.11 or newer, and $(PYTHON) is not. Install one, then say for example:" \
			"make setup PYTHON=python3.12" >&2; \
		exit 1; \
	fi; \
	if ! "$(PYTHON)" -c 'import venv, ensurepip; ensurepip.version()' 2>/dev/null; then \
		package=$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu the package $$package adds that"; \
		$(call apt,$$package) || exit 1; \
	fi; \
	"$(PYTHON)" -m venv --clear .venv || exit 1; \
fi
endef

# The programs that the tests start. Without one of them its tests are skipped by name, or fail where CI is set.
define programs
missing=; \
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
command -v redis-server >/dev/null || missing="$$missing redis-server"; \
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$$missing nginx-light"; \
command -v git-secrets >/dev/null || missing="$$missing git-secrets"; \
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing="$$missing chromium fonts-liberation"; \
if [ -n "$$missing" ]; then \
	echo "The tests use programs that are missing here:$$missing"; \
	$(call apt,$$missing) || echo "The tests that need them are skipped, or fail where CI is set"; \
fi
endef

# What the benchmarks start.
define bench_programs
missing=; \
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
command -v wrk >/dev/null || missing="$$missing wrk"; \
if [ -n "$$missing" ]; then \
	echo "The benchmarks use programs that are missing here:$$missing"; \
	$(call apt,$$missing) || exit 1; \
fi
endef

# The same, and what keyportal is compared with, in a virtual environment of its own.
define rivals
$(bench_programs); \
if ! cmp -s bench/requirements.txt .venv/bench/installed.txt || ! .venv/bench/bin/python -c '' 2>/dev/null; then \
	echo "Installing bench/requirements.txt into .venv/bench"; \
	$(VENV_PYTHON) -m venv --clear .venv/bench || exit 1; \
	$(call pip,.venv/bench/bin/python) --require-hashes -r bench/requirements.txt || exit 1; \
	cp bench/requirements.txt .venv/bench/installed.txt; \
fi
endef

# $(call apt,PACKAGES): install Debian packages where that is ours to do, otherwise say who can.
define apt
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && apt-get -qq install --yes --no-install-recommends $(1) >/dev/null; \
else \
	echo "Install it with the system's packages, as root, then run make again" >&2; false; \
fi
endef

# $(call pytest,DATABASE): on WORKERS, as many as a small machine has cores: with more, portals that restart under load
# get too little of them. With ARGS it is some of the tests, so there is no coverage, and none at all may be left here.
WORKERS ?= 2
define pytest
echo "Tests on $(1)"; \
COVERAGE_FILE=.coverage.$(1) $(VENV_PYTHON) -m pytest -n $(WORKERS) --db=$(1) \
	$(if $(strip $(ARGS)),$(ARGS) || [ $$? = 5 ],--cov --cov-report=)
endef
