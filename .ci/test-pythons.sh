#!/usr/bin/env bash
# Test every CPython found (see pythons.py), and 3.14 and 3.15 in a chroot where a root has
# none of its own. Who is not root is told what was not tested, and it counts as skipped.
#   .ci/test-pythons.sh PYTHON 'VERSIONS TO LEAVE OUT'
set -euo pipefail
python=$1 leave_out=" $2 "
found=$("$python" .ci/pythons.py)
status=0
tested=
while read -r version interpreter; do
  tested+=" $version"
  [[ $leave_out != *" $version "* ]] || continue
  .ci/test-python.sh "$version" "$interpreter" </dev/null || status=1
done <<<"$found"

mkdir -p build/reports
for version in 3.10 3.11 3.12 3.13 3.14 3.15; do
  [[ "$tested $leave_out " != *" $version "* ]] || continue
  if [ "$(id -u)" -ne 0 ]; then
    echo "CPython $version: not found, and only root can make a chroot for the newest" |
      tee -a build/reports/skipped.txt
  elif [[ $version = 3.1[45] ]]; then
    .ci/newpythons.sh .ci/test-python.sh "$version" "python$version" || status=1
  fi
done
"$python" .ci/totals.py build/reports || status=1
exit "$status"
