# Every chore of the project; each does its own set-up, once. Variables: PYTHON (3.11 or newer), VENV, ARGS.
#
#   make run      the gateway with its embedded default, in the foreground; data in ./var
#   make test     all tests          (ARGS="tests/services -x" for some; JOBS at a time)
#   make check    all that is found without running the gateway: lint, types, pages and reference, each a target of its own
#   make docs     these pages as HTML, in docs/_build/html; the reference of the code in docs/_build/reference
#   make bench    this gateway beside its peers
#   make wheel    dist/*.whl
#   make man      man pages of the command, in build/man
#   make deb      dist/*.deb, for the Debian that it is built on; make deb-check tries it in a fresh one (as root)
#   make vm-check whole gateways on filesystems of another kernel, in a virtual machine: ten to twenty minutes
#   make clean    everything that was made, except ./var

VENV ?= .venv
PYTHON ?= python3
ARGS ?=
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NODE := tests/integration/node

.PHONY: run test check lint types pages reference docs bench wheel man deb deb-check vm-check clean develop peers
.DELETE_ON_ERROR:

run: $(VENV)/.run-ready
	exec $(BIN)/twistd --nodaemon --pidfile= vfgateway $(ARGS)

test: develop peers
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

check: develop
	@$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync=recurse lint reference types pages

lint: develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --quiet tests/test_imports.py tests/test_docs.py

types: develop
	$(BIN)/mypy

pages: develop
	$(BIN)/sphinx-build --quiet --fail-on-warning docs docs/_build/html

reference: develop
	$(BIN)/pydoctor --quiet

docs: pages reference

bench: develop peers $(VENV)/.bench-ready
	$(BIN)/python -m benchmarks $(ARGS)

wheel: develop
	rm -rf build dist/*.whl
	$(BIN)/python -m build --wheel

man: develop
	rm -rf build/man
	$(BIN)/click-man vfgateway --target build/man

deb: wheel man
	packaging/build-deb dist/*.whl build/man

deb-check: deb
	packaging/check-deb dist/*.deb

vm-check: develop peers
	$(BIN)/python -m tests.support.vm env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 \
	    $(BIN)/python -m pytest -p pytest_twisted -p no:cacheprovider --verbose tests/virtual

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build $(NODE)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

# --- set-up: a stamp says that a step was done since what it depends on last changed --------------------------------------

develop: $(VENV)/.develop-ready
peers: $(VENV)/.debian-ready $(NODE)/node_modules/.ready

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run-ready: $(VENV)/.made setup.py pyproject.toml
	$(PIP) install --editable .
	@touch $@

$(VENV)/.develop-ready: $(VENV)/.made setup.py pyproject.toml
	$(PIP) install --editable '.[test,check,docs,azure,postgresql,smb]'
	@touch $@ $(VENV)/.run-ready

$(VENV)/.bench-ready: $(VENV)/.develop-ready benchmarks/debian-packages.txt tests/install-debian-packages
	tests/install-debian-packages benchmarks/debian-packages.txt
	$(PIP) install --editable '.[bench]'
	$(PYTHON) -m venv $(VENV)/peers/storage-proxy
	$(VENV)/peers/storage-proxy/bin/python -m pip --disable-pip-version-check --quiet install 'backend.ai-storage-proxy==23.9.*'
	@touch $@

$(VENV)/.debian-ready: tests/debian-packages.txt tests/install-debian-packages | $(VENV)/.made
	tests/install-debian-packages
	@touch $@

$(NODE)/node_modules/.ready: $(NODE)/package.json $(NODE)/package-lock.json $(VENV)/.debian-ready
	cd $(NODE) && npm ci --no-progress
	@touch $@
