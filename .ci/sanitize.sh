#!/usr/bin/env bash
# Run the tests of the C code in an AddressSanitizer and UBSan build.
#   .ci/sanitize.sh VENV REPORT TEST...
# VENV is an environment that sanitized.sh has added its build to: that one is imported,
# whatever else is shared.
# PYTHONMALLOC=malloc gives each object a block of its own, so that a read past an object's
# end is seen. Leaks are not looked for: an interpreter keeps what it needs until it ends.
set -euo pipefail
runtime=$(gcc -print-file-name=libasan.so)
case $runtime in
  /*) ;;
  *) echo "gcc has no libasan here" >&2 && exit 1 ;;
esac
export PYTHONPATH=$PWD/$1/sanitized LD_PRELOAD=$runtime PYTHONMALLOC=malloc
log=$PWD/build/reports/$2
rm -f "$log".[0-9]*
options=halt_on_error=1:print_stacktrace=1:log_path=$log
export ASAN_OPTIONS=$options:detect_leaks=0:malloc_context_size=1:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=$options
(cd / && "$OLDPWD/$1/bin/python" -c 'import sys, liveheap._heap as heap, liveheap_client._graph as graph
for module in (heap, graph):
    assert module.__file__.startswith(sys.argv[1]), module' "$PYTHONPATH/")
# Large graphs are made by Python, slowly on this malloc, and small ones run the same C.
large=(test_analysis_paths.py::test_a_list_of_200000_links_is_one_path_node
  test_analysis_owning.py::test_more_roots_than_there_are_addresses_below_the_objects
  test_analysis_leakshare.py::test_a_list_of_a_hundred_thousand_links_is_one_share
  test_analysis_dominators.py::test_c_and_the_reference_agree_on_a_hundred_thousand_nodes)
# A sanitizer takes terabytes of address space and keeps what is freed: tests of limits and
# of the size of a process say nothing here; one test brings a malloc of its own, and the
# allocators are not those that are looked into.
# What begins slowly there: one process for each core, without the plugin of hypothesis.
status=0
PROCESSES=$(nproc) .ci/pytest.sh "$@" -p no:hypothesispytest "${large[@]/#/--deselect=tests/unit/}" \
  --ignore=tests/engine/test_heap_limits.py \
  --ignore=tests/engine/test_forker_stress.py \
  --ignore=tests/engine/test_forker_allocation.py \
  --ignore=tests/engine/test_walker_blocks.py \
  --ignore=tests/engine/test_memory_allocators.py || status=$?
unset LD_PRELOAD
found=$(find build/reports -name "$2.[0-9]*" -size +0 | sort)
if [ -n "$found" ]; then # whoever swallowed the standard error of the process
  status=1
  echo "$(wc -w <<<"$found") sanitizer reports in build/reports/$2.*; the first:"
  head -40 "${found%%$'\n'*}"
fi
exit "$status"
