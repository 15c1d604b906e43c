#!/usr/bin/env bash
# Build this project's wheel as a user's is built, and say where it lies.
#   .ci/wheel.sh PYTHON FLAVOUR DIR
# FLAVOUR is `strict` (warnings are errors), or `sanitize` (ASan and UBSan as well). What was
# compiled is kept in build/FLAVOUR, so that the next build compiles what changed.
set -euo pipefail
python=$1 flavour=$2 dir=$3
settings=(-Ccmake.define.LIVEHEAP_STRICT=ON "-Cbuild-dir=build/$flavour/{wheel_tag}")
if [ "$flavour" = sanitize ]; then
  settings+=(-Ccmake.define.LIVEHEAP_SANITIZE=ON -Ccmake.build-type=RelWithDebInfo)
fi
rm -rf "$dir"
.ci/pip "$python" wheel . --no-deps --wheel-dir "$dir" "${settings[@]}" >&2
echo "$(cd "$dir" && pwd)"/liveheap-*.whl
