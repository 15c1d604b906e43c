#!/usr/bin/env bash
# Run the tests of the C code in an AddressSanitizer and UBSan build.
#   .ci/sanitize.sh VENV REPORT TEST...
# PYTHONMALLOC=malloc gives each object a block of its own, so that a read past an object's
# end is seen. Leaks are not looked for: an interpreter keeps what it needs until it ends.
set -euo pipefail
runtime=$(gcc -print-file-name=libasan.so)
case $runtime in
  /*) ;;
  *) echo "gcc has no libasan here" >&2 && exit 1 ;;
esac
export LD_PRELOAD=$runtime PYTHONMALLOC=malloc
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
exec .ci/pytest.sh "$@"
