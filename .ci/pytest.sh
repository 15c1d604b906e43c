#!/usr/bin/env bash
# Run pytest from a virtual environment and leave JUnit files for the totals.
#   .ci/pytest.sh VENV REPORT PYTEST_ARGUMENT...
# Started as `pytest`, not as a module: the installed package is tested, not the tree.
# Files of tests run side by side, then the tests marked `quiet` alone, from the files that
# have any. Tests wait much, so there are two processes more than cores, unless PROCESSES says
# how many. An option's value is part of its word: `--ignore=tests/engine`.
# Most tests are of processes that wait for each other on a machine full of others. So up to
# three that failed are run once more, alone; one that passes then is not a failure but a bug
# all the same: totals.py names it as unsteady, with what it said.
set -euo pipefail
venv=$1 report=$2
shift 2
mkdir -p build/reports
status=0

run() { # run NAME PYTEST_ARGUMENT...
  local xml=build/reports/$1.xml again=build/reports/$1-again.xml code=0
  rm -f "$xml" "$again"
  "$venv/bin/pytest" -q --junitxml="$xml" "${@:2}" || code=$?
  if [ "$code" -eq 5 ]; then # nothing collected
    rm -f "$xml"
    return
  fi
  if [ "$code" -eq 1 ] && [ "$(grep -oE '<(failure|error)[ >]' "$xml" | wc -l)" -le 3 ]; then
    printf '\n== once more, alone\n'
    code=0
    "$venv/bin/pytest" -q --last-failed --junitxml="$again" "${@:2}" -n 0 || code=$?
  fi
  [ "$code" -eq 0 ] || status=$code
  [ -s "$xml" ] || printf '%s\n' "<testsuite><testcase name='$1'><error>pytest left no \
report (exit code $code)</error></testcase></testsuite>" >"$xml"
}

run "$report" -n "${PROCESSES:-$(($(nproc) + 2))}" --dist loadfile -m 'not quiet' "$@"
options=() places=()
for word in "$@"; do
  if [ -e "$word" ]; then places+=("$word"); else options+=("$word"); fi
done
mapfile -t quiet < <(grep -rls --include='test_*.py' 'mark\.quiet' -- "${places[@]}")
if [ ${#quiet[@]} -gt 0 ]; then
  run "$report-quiet" -m quiet "${options[@]}" "${quiet[@]}"
fi
exit "$status"
