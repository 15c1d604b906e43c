"""Puts a memory limit close around itself and asks for snapshots.

argv: directory of a memory cgroup or "rlimit", MB of headroom, "force" or "ask".
"""

import gc
import os
import resource
import sys

from telling import tell

from liveheap import limits
from liveheap.errors import CommandError
from liveheap.heap import Heap

wall, headroom_mb, mode = sys.argv[1:]
headroom = int(headroom_mb) << 20


def put(name: str, value: object) -> None:
    with open(os.path.join(wall, name), "w") as file:
        file.write(str(value))


def close_in() -> None:
    if wall == "rlimit":
        size = limits.process_memory().address_space
        resource.setrlimit(resource.RLIMIT_AS, (size + headroom, size + headroom))
        return
    version_2 = os.path.exists(os.path.join(wall, "memory.max"))
    usage = "memory.current" if version_2 else "memory.usage_in_bytes"
    with open(os.path.join(wall, usage)) as file:
        used = int(file.read())
    put("memory.max" if version_2 else "memory.limit_in_bytes", used + headroom)


if wall != "rlimit":
    put("cgroup.procs", os.getpid())
keep = [[{"number": i}, (i, str(i))] for i in range(400_000)]
gc.collect()
heap = Heap()
heap.histogram(in_process=True)
kills_before = limits.oom_kills()
close_in()
try:
    with heap.snapshot(force=mode == "force") as walk:
        over = walk.wait(60)
        outcome = walk.outcome()
        answer = {"over": over, "complete": outcome.complete, "reason": outcome.reason}
except CommandError as error:
    answer = {"refused": error.message, "code": error.code}
answer["alive"] = len(keep)
answer["oom_kills"] = limits.oom_kills() - kills_before
tell(answer)
