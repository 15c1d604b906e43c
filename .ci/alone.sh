#!/usr/bin/env bash
# The agent alone: what a bare server has. No extra is installed, no package of the client.
#   .ci/alone.sh VENV
# A worker starts the agent; `run`, `ps` and `bridge` work; what needs the extra says so.
set -euo pipefail
venv=$PWD/$1
home=$(mktemp -d)
trap 'rm -rf "$home"; [ -z "${worker:-}" ] || kill "$worker" 2>/dev/null || true' EXIT
export HOME=$home LIVEHEAP_DIR=$home/run
mkdir -m 700 "$LIVEHEAP_DIR"
cd "$home" # not beside the source tree, which `python -c` would import
liveheap=$venv/bin/liveheap
python=$venv/bin/python

"$python" -c '
import importlib.util as util
present = [n for n in ("click", "rich", "prompt_toolkit", "numpy", "gevent") if util.find_spec(n)]
raise SystemExit(f"this environment is not bare: {present}" if present else 0)'

mkfifo "$home/ready" "$home/stop"
exec {stop}<>"$home/stop"
"$liveheap" run -- "$python" -c '
import sys, liveheap
liveheap.start(strict=True)
open(sys.argv[1], "w").write("ready\n")
sys.stdin.read(1)' "$home/ready" <"$home/stop" &
worker=$!
read -r word <"$home/ready"
[ "$word" = ready ]

"$liveheap" ps --json | "$python" -c '
import json, sys
rows = json.load(sys.stdin)
pids = [row["pid"] for row in rows]
expected = int(sys.argv[1])
assert pids == [expected], f"ps --json lists {pids}, expected {[expected]}"' "$worker"

"$liveheap" doctor "$worker" >"$home/out" || { cat "$home/out" >&2; exit 1; }

mkfifo "$home/client"
"$liveheap" bridge --pid "$worker" --scope read <>"$home/client" | "$python" -c '
import json, sys
magic, hello = sys.stdin.buffer.readline(), json.loads(sys.stdin.buffer.readline())
assert magic == b"\x93LHEAP\r\n", magic
assert hello["bridge"] == 1 and "ident" in hello, hello'

if "$liveheap" status "$worker" >"$home/out" 2>&1; then
  echo "status worked without its extra?" >&2
  exit 1
fi
grep -q 'liveheap\[cli\]' "$home/out" || { cat "$home/out" >&2; exit 1; }
echo "agent alone: run, start, ps --json, doctor and bridge work; status names the extra it needs"
