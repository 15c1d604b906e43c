# Everything a fresh machine needs: python3 with venv, a C compiler, a package index.
#   make demo           a leaking worker, attached to and explained, in under a minute
#   make test           lint, types, all tests, the agent alone, the C under sanitizers
#   make test-pythons   the tests on every other CPython from 3.10 to 3.15
#   make test-hosts     every host (Celery, gunicorn, RQ, ...) on every CPython: a table
#   make test-network   desk, jump host and server made of namespaces: cables pulled, hosts replaced
SHELL := /bin/bash
PYTHON ?= python3
VENVS := build/venvs
# Hundreds of tests start the command line: without bytecode each start takes twice as long.
export PYTHONDONTWRITEBYTECODE :=
TEST := $(VENVS)/test
STEP := .ci/step
# What is missing is installed as root: headers for the build, servers for the tests.
HEADERS := $(shell $(PYTHON) .ci/headers.py)
SERVERS := openssh-server openssh-client redis-server=redis-server iproute2=ip procps=pkill
# Programs that read what is exported.
CONSUMERS := nodejs=node npm=npm golang-go=go
# Versions that another make has just tested (.ci/run): test-pythons leaves them out.
ALREADY_TESTED ?=

.PHONY: demo test test-hosts test-network test-pythons lint engine pytest alone sanitize fuzz bench bench-inject leakbench report-check export-check clean
.NOTPARALLEL:

demo:
	@.ci/system.sh $(HEADERS)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet '.[cli,gevent]'
	.venv/bin/liveheap demo

test: lint engine pytest alone sanitize
	@$(PYTHON) .ci/totals.py build/reports

$(TEST)/.installed: FORCE
	@$(STEP) 'system packages' .ci/system.sh $(HEADERS) $(SERVERS) \
	    $(CONSUMERS)
	@$(STEP) 'install' .ci/venv.sh $(TEST) $(PYTHON) strict \
	    'WHEEL[cli,gevent]' --group test --group hosts --group queues --group lint --group tables \
	    --group oracle
	@touch $@

lint: $(TEST)/.installed
	@$(STEP) 'ruff check' $(TEST)/bin/ruff check .
	@$(STEP) 'ruff format' $(TEST)/bin/ruff format --check .
	@$(STEP) 'mypy' $(TEST)/bin/mypy
	@$(STEP) 'clang-format' $(TEST)/bin/clang-format --dry-run -Werror \
	    $(wildcard $(patsubst %,%/*.[ch],liveheap/csrc client/*/analysis/csrc tests/*/native))

# Apart from the rest, and without a plugin that it does not use: it walks its own process,
# which should be small.
engine: $(TEST)/.installed
	@$(STEP) 'engine' .ci/pytest.sh $(TEST) engine tests/engine -p no:hypothesispytest

pytest: $(TEST)/.installed
	@$(STEP) 'tests' .ci/pytest.sh $(TEST) all tests --ignore=tests/engine

alone: $(TEST)/.installed
	@$(STEP) 'agent alone: install' .ci/venv.sh $(VENVS)/alone $(PYTHON) strict \
	    $$(echo $(TEST)/wheels/liveheap-*.whl)
	@$(STEP) 'agent alone' .ci/alone.sh $(VENVS)/alone

sanitize: $(TEST)/.installed
	@$(STEP) 'build with sanitizers' .ci/sanitized.sh $(TEST)
	@$(STEP) 'decoder under sanitizers' .ci/sanitize.sh $(TEST) sanitize-decoder \
	    $(filter-out %_trend.py,$(wildcard tests/unit/test_analysis_*.py)) \
	    $(wildcard tests/unit/test_snapshot_*.py)
	@$(STEP) 'engine under sanitizers' .ci/sanitize.sh $(TEST) sanitize-engine \
	    tests/engine

# HOSTS and PYTHONS choose: HOSTS='celery rq' PYTHONS=3.12; JOBS cells run side by side.
test-hosts:
	@.ci/system.sh $(HEADERS) redis-server=redis-server
	@$(PYTHON) tests/hosts/run.py --hosts $(HOSTS) --pythons $(PYTHONS) --jobs $(or $(JOBS),2) $(RECORD)

# As root. The desk has nothing of ours but a fresh venv.
test-network: $(TEST)/.installed
	@$(STEP) 'a desk' .ci/venv.sh $(VENVS)/desk $(PYTHON) strict 'WHEEL[cli]'
	LIVEHEAP_DESK_VENV=$(abspath $(VENVS)/desk) $(TEST)/bin/pytest -q \
	    tests/network/test_network_slice.py tests/network/check_network.py

test-pythons:
	@.ci/test-pythons.sh '$(PYTHON)' '$(ALREADY_TESTED)'

bench: $(TEST)/.installed
	.ci/pip $(TEST)/bin/python install --group bench
	$(TEST)/bin/python tests/bench/run.py --record

# A million inputs for each place that a stranger's bytes reach, and a live worker; then what
# decodes in C, under sanitizers, FUZZ times as much as the tests do.
FUZZ ?= 40
fuzz: $(TEST)/.installed
	.ci/pip $(TEST)/bin/python install --quiet --group fuzz
	$(TEST)/bin/python tests/fuzz/run.py --record
	@$(STEP) 'build with sanitizers' .ci/sanitized.sh $(TEST)
	@LIVEHEAP_FUZZ=$(FUZZ) $(STEP) 'decoder under sanitizers' .ci/sanitize.sh $(TEST) fuzz-decoder \
	    -o timeout=3600 tests/unit/test_analysis_fuzz.py

# Beside gdb, on one's own targets, gunicorn's and Celery's.
bench-inject: $(TEST)/.installed
	@$(STEP) 'gdb' .ci/system.sh gdb
	.ci/pip $(TEST)/bin/python install --quiet --upgrade --target build/celery celery
	$(TEST)/bin/python tests/bench/inject.py --celery build/celery --record

# LEAKBENCH=DIR adds the bench of released leaks in DIR; its README says what it needs.
leakbench: $(TEST)/.installed
	$(TEST)/bin/python tests/leakbench/run.py --record

# Installs Chromium, which takes longer than all else it does.
report-check: $(TEST)/.installed
	@$(STEP) 'Chromium' .ci/system.sh chromium
	$(TEST)/bin/python tests/bench/report.py --record

# What other tools make of our exports; it installs them: node, go, Graphviz.
export-check: $(TEST)/.installed
	@$(STEP) 'consumers of exports' .ci/system.sh $(CONSUMERS) graphviz
	$(TEST)/bin/python tests/exports/run.py --record

clean:
	rm -rf build .venv

FORCE:
