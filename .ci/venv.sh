#!/usr/bin/env bash
# Make (or reuse) a virtual environment with this project, built as a user's wheel is.
#   .ci/venv.sh DIR PYTHON FLAVOUR [PIP_ARGUMENT...]
# FLAVOUR is `strict` (warnings are errors), or `sanitize` (ASan and UBSan as well);
# the PIP_ARGUMENTs name extras and groups, `.[cli]` as WHEEL[cli].
set -euo pipefail
dir=$1 python=$2 flavour=$3
shift 3
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
pip() { "$dir/bin/python" -m pip -qq "$@"; } # -qq: errors only

"$dir/bin/python" -c '' 2>/dev/null || { rm -rf "$dir" && "$python" -m venv "$dir"; }
pip install --upgrade 'pip>=25.1'

settings=(-Ccmake.define.LIVEHEAP_STRICT=ON "-Cbuild-dir=build/$flavour/{wheel_tag}")
if [ "$flavour" = sanitize ]; then
  settings+=(-Ccmake.define.LIVEHEAP_SANITIZE=ON -Ccmake.build-type=RelWithDebInfo)
fi
wheels=$dir/wheels
rm -rf "$wheels"
pip wheel . --no-deps --wheel-dir "$wheels" "${settings[@]}"
wheel=$(echo "$PWD/$wheels"/liveheap-*.whl)

pip uninstall --yes liveheap 2>/dev/null || true
pip install "${@//WHEEL/$wheel}"
