#!/usr/bin/env bash
# Make (or reuse) a virtual environment with this project, built as a user's wheel is.
#   .ci/venv.sh DIR PYTHON FLAVOUR [PIP_ARGUMENT...]
# FLAVOUR is that of wheel.sh; the PIP_ARGUMENTs name extras and groups, `.[cli]` as
# WHEEL[cli]. Without WHEEL nothing is built.
set -euo pipefail
dir=$1 python=$2 flavour=$3
shift 3
"$dir/bin/python" -c '' 2>/dev/null || { rm -rf "$dir" && "$python" -m venv --without-pip "$dir"; }
if [[ "$*" = *WHEEL* ]]; then
  wheel=$(.ci/wheel.sh "$dir/bin/python" "$flavour" "$dir/wheels")
  set -- "${@//WHEEL/$wheel}"
fi
.ci/pip "$dir/bin/python" uninstall --yes liveheap 2>/dev/null || true
# Most modules are never imported here: those that are get compiled then.
.ci/pip "$dir/bin/python" install --no-compile "$@"
