"""Holds an object of a type whose tp_traverse crashes; snapshots and counts.

The type is made here, without a compiler: a class whose tp_traverse slot is overwritten
with an address that no code has. Nothing in this process may collect while it is so.
argv: "wait" for a walk whose spool nobody has read, "read" for one that was read.
"""

import ctypes
import gc
import os
import struct
import sys

from telling import tell, wait_until_stopped

from liveheap.heap import Heap

TP_TRAVERSE = 184  # offset in PyTypeObject, 64 bit, 3.10 to 3.15


class Crashing:
    """Its instances are fine until somebody traverses them."""


gc.collect()
gc.disable()
kept = [Crashing()]
slot = id(Crashing) + TP_TRAVERSE
intact = ctypes.string_at(slot, 8)
heap = Heap()
assert heap.unsupported is None, heap.unsupported
ctypes.memmove(slot, struct.pack("P", 0xDEAD0000), 8)
answers = []
for _ in range(2):
    with heap.snapshot(hold="stop" if sys.argv[1] == "read" else None) as walk:
        if sys.argv[1] == "read":
            walk.read(0, 1)
            wait_until_stopped(walk.pid)
            os.kill(walk.pid, 18)
        over = walk.wait(30)
        outcome = walk.outcome()
        answers.append(
            {
                "over": over,
                "complete": outcome.complete,
                "reason": outcome.reason,
                "flags": outcome.flags,
                "type": outcome.crashed_type,
            }
        )
counted = heap.histogram(in_process=False)
rows = {row.name: row.count for row in counted.rows}
ctypes.memmove(slot, intact, 8)
tell({"answers": answers, "counted": rows.get("Crashing"), "flags": counted.flags})
