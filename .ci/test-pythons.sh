#!/usr/bin/env bash
# Test every CPython found (see pythons.py), and 3.14 and 3.15 in a chroot where a root has
# none of its own.   .ci/test-pythons.sh PYTHON 'VERSIONS TO LEAVE OUT'
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

for version in 3.14 3.15; do
  [[ "$tested $leave_out " != *" $version "* ]] || continue
  if [ "$(id -u)" -eq 0 ]; then
    .ci/newpythons.sh .ci/test-python.sh "$version" "python$version" || status=1
  else
    echo "skipped: CPython $version: not found, and only root can make a chroot for it" |
      tee -a build/reports/skipped.txt
  fi
done
"$python" .ci/totals.py build/reports || status=1
exit "$status"
