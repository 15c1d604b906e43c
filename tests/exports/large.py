"""A worker with argument 1 objects of the benchmark's heap, aged."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "bench"), str(TESTS / "integration" / "workers")]

import heaps  # noqa: E402 - found by the line above
import stage  # noqa: E402 - as above

KEEP = heaps.mix(int(sys.argv[1]), aged=True)
stage.start_agent()
stage.ready()
stage.until_stdin_closes()
