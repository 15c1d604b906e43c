#!/usr/bin/env bash
# Build the C with sanitizers, beside the usual build of an environment; see sanitize.sh.
#   .ci/sanitized.sh VENV
set -euo pipefail
venv=$1
wheel=$(.ci/wheel.sh "$venv/bin/python" sanitize "$venv/wheels-sanitized")
rm -rf "$venv/sanitized"
"$venv/bin/python" -m zipfile -e "$wheel" "$venv/sanitized"
