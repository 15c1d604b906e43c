"""What every worker here does at its beginning and its end; see tests/spawn.py.

A worker imports nothing of liveheap when LIVEHEAP=0, so that a test can compare a
process with the agent to one without; nor when it is UNPREPARED, to get one later.
"""

import os
import sys


def start_agent() -> None:
    if os.environ.get("LIVEHEAP") != "0" and "UNPREPARED" not in os.environ:
        import liveheap

        liveheap.start(strict=True)


def ready(*words: object) -> None:
    """Say `ready`, and before it what the test may want to know (on Worker.said)."""
    line = " ".join([*map(str, words), "ready"]) + "\n"
    os.write(int(os.environ["READY_FD"]), line.encode())


def until_stdin_closes() -> None:
    sys.stdin.buffer.read()
