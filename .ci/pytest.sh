#!/usr/bin/env bash
# Run pytest from a virtual environment and leave a JUnit file for the totals.
#   .ci/pytest.sh VENV REPORT PYTEST_ARGUMENT...
# Started as `pytest`, not as a module: the installed package is tested, not the tree.
set -euo pipefail
venv=$1 report=$2
shift 2
mkdir -p build/reports
rm -f "build/reports/$report.xml"
status=0
"$venv/bin/pytest" -q --junitxml="build/reports/$report.xml" -o junit_suite_name="$report" "$@" || status=$?
if [ ! -s "build/reports/$report.xml" ]; then
  echo "<testsuite><testcase name='$report'><error>pytest left no report</error></testcase></testsuite>" \
    >"build/reports/$report.xml"
fi
exit "$status"
