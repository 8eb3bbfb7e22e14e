# Everything here installs what it needs by itself; a new machine has Python 3.11, gcc and make.
# `make help` prints the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt
STAMPS := .stamps
LISTEN ?= 127.0.0.1:9292
DATA ?= ./data
WORKERS ?= 2
# Where tests write that have their data to themselves: in memory if there is room, so that no sync waits for a disk and
# the cores are busy. `make test-unit ROOM=/var/tmp` runs them on one. A client's files are on a disk (tests/kit/disk_room.py).
ROOM ?= $(shell if grep -q '^[^ ]* /dev/shm [^ ]* rw' /proc/mounts && ! grep -q '^[^ ]* /dev/shm .*noexec' /proc/mounts && \
  [ "$$(df --output=avail -m /dev/shm | tail -n 1)" -ge 1024 ]; then echo /dev/shm; else echo "$${TMPDIR:-/tmp}"; fi)
# Compiled once, not anew by each of the thousand processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help serve test test-unit test-crashes test-serial test-clients test-models lint format show show-main-job show-bound show-increments show-collection show-images-api show-openstack show-locations show-machines test-glance test-tempest test-nova-cinder test-gophercloud bench clients keystone openapi swift wheel clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(STAMPS)/venv:
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(STAMPS)/runtime: $(STAMPS)/venv pyproject.toml .ci/constraints.txt
	$(PIP) --editable .
	@touch $@

$(STAMPS)/dev: $(STAMPS)/runtime
	$(PIP) --editable '.[dev]'
	@touch $@

$(STAMPS)/clients: pyproject.toml .ci/constraints-clients.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv .clients
	.clients/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints-clients.txt python-openstackclient openstacksdk python-glanceclient
	@touch $@

# It sends requests of its own making to what /openapi.json describes.
$(STAMPS)/openapi: .ci/constraints-openapi.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv .openapi
	.openapi/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints-openapi.txt schemathesis
	@touch $@

# e2fsprogs makes the disk images, zstd reads packs, curl uploads: small, and usually there. btrfs-progs, which a test of
# shared blocks wants, is had where that is easy. bench/tools.py knows what tests want of virtual machines.
$(STAMPS)/system: bench/tools.py
	@mkdir -p $(STAMPS)
	@for tool in mke2fs debugfs zstd curl; do PATH=$$PATH:/usr/sbin:/sbin command -v $$tool >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq e2fsprogs zstd curl >/dev/null; \
	  else echo "please install e2fsprogs, zstd and curl: the tests use them" >&2; exit 1; fi; fi
	@packages="$$($(PYTHON) -m bench.tools tests)"; \
	PATH=$$PATH:/usr/sbin:/sbin command -v mkfs.btrfs >/dev/null || packages="$$packages btrfs-progs"; \
	if [ -n "$$packages" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages >/dev/null; } || true; fi; \
	packages="$$($(PYTHON) -m bench.tools tests)"; \
	if [ -n "$$packages" ]; then echo "please install $$packages: without them some tests fail" >&2; else touch $@; fi

# The real Glance, which nothing of ours imports: tests are held against what it answered, this records it anew.
$(STAMPS)/glance: .ci/constraints-glance.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv .glance
	.glance/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints-glance.txt glance cheroot
	@touch $@

# The real Keystone, which tests start: SQLite, one process. Nothing of ours imports it.
$(STAMPS)/keystone: .ci/constraints-keystone.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv .keystone
	.keystone/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints-keystone.txt keystone cheroot
	@touch $@

# The real Swift, which tests start: one node, one process. Nothing of ours imports it.
$(STAMPS)/swift: .ci/constraints-swift.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv .swift
	.swift/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints-swift.txt swift keystonemiddleware
	@touch $@

# OpenStack's own tests.
$(STAMPS)/tempest: .ci/constraints-tempest.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv .tempest
	.tempest/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints-tempest.txt tempest
	@touch $@

# Nova and Cinder, as libraries: half a gigabyte.
$(STAMPS)/nova: .ci/constraints-nova.txt
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv .nova
	.nova/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints-nova.txt nova cinder
	@touch $@

# gophercloud, which Terraform and Packer are built on, as Debian has it: source, and a compiler for it.
$(STAMPS)/gophercloud:
	@mkdir -p $(STAMPS)
	@if ! command -v go >/dev/null || [ ! -d /usr/share/gocode/src/github.com/gophercloud/gophercloud ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends golang-go golang-github-gophercloud-gophercloud-dev >/dev/null; \
	  else echo "please install golang-go and golang-github-gophercloud-gophercloud-dev: without them one check is short" >&2; exit 1; fi; fi
	@touch $@

# Foreign programs of virtual machines, for the checks that use some. What is missing is told, there and by its check.
$(STAMPS)/machines: bench/tools.py
	@mkdir -p $(STAMPS)
	@packages="$$($(PYTHON) -m bench.tools)"; \
	if [ -n "$$packages" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages >/dev/null; \
	  packages="$$($(PYTHON) -m bench.tools)"; fi; \
	if [ -n "$$packages" ]; then echo "please install $$packages: without them checks that use machines are short" >&2; else touch $@; fi

serve: $(STAMPS)/runtime ## install what is needed and serve DATA (./data) on LISTEN (127.0.0.1:9292)
	exec $(VENV)/bin/drystone serve --data "$(DATA)" --listen "$(LISTEN)"

test: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients $(STAMPS)/keystone $(STAMPS)/swift test-unit test-crashes test-serial test-clients ## all tests, in the order of their speed

test-unit: $(STAMPS)/dev $(STAMPS)/system ## unit, contract and property tests
	TMPDIR=$(ROOM) $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadgroup -m 'not serial and not clients and not long' --ignore tests/crashes

test-crashes: $(STAMPS)/dev ## a crash at every step
	TMPDIR=$(ROOM) $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadgroup -m 'not serial' tests/crashes

test-serial: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/keystone $(STAMPS)/swift ## what wants a mount, a port or the machine to itself
	$(VENV)/bin/python -m pytest -m 'serial and not clients'

test-clients: $(STAMPS)/dev $(STAMPS)/clients $(STAMPS)/keystone ## the stock clients against a real server, and that with the real Keystone
	$(VENV)/bin/python -m pytest -m clients

test-models: $(STAMPS)/dev ## the collection's protocol in every state that it can reach; some of them are in `make test`
	$(VENV)/bin/python -m pytest -n $(WORKERS) -m long

test-glance: $(STAMPS)/dev $(STAMPS)/glance ## play tests/clients/glance on a real Glance, record its answers, compare ours
	$(VENV)/bin/python -m tests.clients.glance.record
	$(VENV)/bin/python -m pytest tests/clients/glance

test-tempest: $(STAMPS)/dev $(STAMPS)/keystone $(STAMPS)/tempest ## OpenStack's own tests of images, with the real Keystone, in two profiles
	$(VENV)/bin/python -m tests.tempest.run

test-nova-cinder: $(STAMPS)/dev $(STAMPS)/keystone $(STAMPS)/nova ## what Nova and Cinder do with images, by their own code, with the real Keystone
	$(VENV)/bin/python -m tests.clients.nova_and_cinder

test-gophercloud: $(STAMPS)/dev $(STAMPS)/keystone $(STAMPS)/gophercloud ## what Terraform and Packer do with images, by the library of both, with the real Keystone
	$(VENV)/bin/python -m tests.clients.gophercloud

lint: $(STAMPS)/dev ## ruff, import contracts, mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

format: $(STAMPS)/dev ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

show: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients $(STAMPS)/openapi $(STAMPS)/keystone $(STAMPS)/swift $(STAMPS)/tempest $(STAMPS)/nova $(STAMPS)/gophercloud $(STAMPS)/machines ## every claim with its figure and its bound
	$(VENV)/bin/python -m bench.show

show-main-job: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients ## a disk image in, its next version for almost nothing, both back out
	$(VENV)/bin/python -m bench.show main-job

show-bound: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients ## to the bound, and fit to be run
	$(VENV)/bin/python -m bench.show bound

show-increments: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients $(STAMPS)/machines ## increments: only what changed is moved, and chains read as full disks
	$(VENV)/bin/python -m bench.show increments

show-collection: $(STAMPS)/dev $(STAMPS)/system ## space comes back while uploads run, nothing acknowledged is ever collected
	$(VENV)/bin/python -m bench.show collection

show-images-api: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients $(STAMPS)/openapi ## the Images API: today's clients work unchanged
	$(VENV)/bin/python -m bench.show images-api

show-openstack: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients $(STAMPS)/keystone $(STAMPS)/tempest $(STAMPS)/nova $(STAMPS)/gophercloud ## in an OpenStack cloud: Keystone, and the clients with it
	$(VENV)/bin/python -m bench.show openstack

show-locations: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/keystone $(STAMPS)/tempest $(STAMPS)/swift $(STAMPS)/machines ## images in several places, imports, and jobs that survive
	$(VENV)/bin/python -m bench.show locations

show-machines: $(STAMPS)/dev $(STAMPS)/system $(STAMPS)/clients $(STAMPS)/machines ## virtual machines: any format in, boot from anywhere, last night's changes
	$(VENV)/bin/python -m bench.show machines

bench: $(STAMPS)/dev $(STAMPS)/system ## the benchmarks, with their share of this machine's limit
	$(VENV)/bin/python -m pytest bench --benchmark-only -p no:cacheprovider -o python_files='bench_*.py' -s

openapi: $(STAMPS)/openapi ## schemathesis, in an environment of its own

clients: $(STAMPS)/clients ## the stock clients, in an environment of their own

keystone: $(STAMPS)/keystone ## the real Keystone, in an environment of its own

swift: $(STAMPS)/swift ## the real Swift, in an environment of its own

wheel: $(STAMPS)/dev ## dist/drystone-*.whl
	$(VENV)/bin/python -m build --wheel --outdir dist

clean: ## remove what make made, never DATA
	rm -rf $(VENV) .clients .glance .gocache .keystone .nova .openapi .swift .tempest $(STAMPS) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
