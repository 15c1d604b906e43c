#!/usr/bin/env bash
# Test one CPython: every floor but lint and the command line, then the C under sanitizers.
#   .ci/test-python.sh VERSION INTERPRETER
set -euo pipefail
version=$1 python=$2
venv=build/venvs/$version
status=0
.ci/step "$version: install" .ci/venv.sh "$venv" "$python" strict \
  'WHEEL[cli,gevent]' --group test --group hosts
.ci/step "$version: engine" .ci/pytest.sh "$venv" "py$version-engine" tests/engine || status=1
.ci/step "$version: tests" .ci/pytest.sh "$venv" "py$version" \
  tests/contract tests/integration tests/unit \
  --ignore tests/unit/test_docs.py --ignore tests/unit/test_architecture.py || status=1
.ci/step "$version: install with sanitizers" .ci/venv.sh "$venv-sanitize" "$python" sanitize \
  'WHEEL[cli,gevent]' --group test
.ci/step "$version: C under sanitizers" .ci/sanitize.sh "$venv-sanitize" "py$version-sanitize" \
  tests/engine/test_walker_*.py tests/engine/test_forker_fences.py || status=1
exit "$status"
