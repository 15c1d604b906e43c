"""Sits in a memory cgroup close to its limit and asks for snapshots.

argv: directory of the cgroup, MB of headroom, "force" or "ask".
"""

import gc
import os
import sys

from telling import tell

from liveheap import limits
from liveheap.errors import CommandError
from liveheap.heap import Heap

directory, headroom_mb, mode = sys.argv[1:]
version_2 = os.path.exists(os.path.join(directory, "memory.max"))
usage, limit = (
    ("memory.current", "memory.max")
    if version_2
    else ("memory.usage_in_bytes", "memory.limit_in_bytes")
)


def put(name: str, value: object) -> None:
    with open(os.path.join(directory, name), "w") as file:
        file.write(str(value))


put("cgroup.procs", os.getpid())
keep = [[{"number": i}, (i, str(i))] for i in range(400_000)]
gc.collect()
heap = Heap()
heap.histogram(in_process=True)
with open(os.path.join(directory, usage)) as file:
    used = int(file.read())
put(limit, used + (int(headroom_mb) << 20))
try:
    with heap.snapshot(force=mode == "force") as walk:
        over = walk.wait(60)
        outcome = walk.outcome()
        answer = {"over": over, "complete": outcome.complete, "reason": outcome.reason}
except CommandError as error:
    answer = {"refused": error.message, "code": error.code}
answer["alive"] = len(keep)
answer["oom_kills"] = limits.oom_kills()
tell(answer)
