#!/usr/bin/env bash
# Test one CPython: the engine, the agent's commands and the agent in real workers, then the
# C that reads the interpreter's structs under sanitizers. What runs at a desk, the kernel's limits
# and what forks share with every version are tested on the main Python alone.
#   .ci/test-python.sh VERSION INTERPRETER
set -euo pipefail
version=$1 python=$2
venv=build/venvs/$version
status=0
.ci/step "$version: install" .ci/venv.sh "$venv" "$python" strict \
  'WHEEL[cli,gevent]' --group test --group hosts
.ci/step "$version: engine" .ci/pytest.sh "$venv" "py$version-engine" tests/engine \
  -p no:hypothesispytest \
  --ignore=tests/engine/test_heap_limits.py \
  --ignore=tests/engine/test_walker_pure.py || status=1
.ci/step "$version: tests" .ci/pytest.sh "$venv" "py$version" \
  tests/contract tests/integration/test_agent_*.py || status=1
.ci/step "$version: build with sanitizers" .ci/sanitized.sh "$venv"
.ci/step "$version: C under sanitizers" .ci/sanitize.sh "$venv" "py$version-sanitize" \
  tests/engine/test_{labels,walker_{edges,markers,sizes,traps}}.py || status=1
exit "$status"
