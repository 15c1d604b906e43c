"""Takes a snapshot onto a file system that fills up; argv: directory, how it fills."""

import os
import sys

from telling import tell, wait_until_stopped

from liveheap.heap import Heap

directory, how = sys.argv[1:]
keep = [[{"number": i}, (i, str(i))] for i in range(100_000)]
with Heap().snapshot(spool_directory=directory, hold="stop", force=True) as walk:
    wait_until_stopped(walk.pid)
    if how == "by-others":
        with open(os.path.join(directory, "filler"), "wb", buffering=0) as filler:
            try:
                while filler.write(bytes(65536)):
                    pass
            except OSError:
                pass
    os.kill(walk.pid, 18)
    over = walk.wait(30)
    outcome = walk.outcome()
tell({"over": over, "complete": outcome.complete, "reason": outcome.reason})
