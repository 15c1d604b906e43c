"""Closes all descriptors in the middle of a walk, and opens others in their place."""

import os

from telling import tell, wait_until_stopped

from liveheap.heap import Heap

walk = Heap().snapshot(hold="stop", force=True)
pid = walk.pid
wait_until_stopped(pid)
walk.wait(0.01)  # opens the pidfd
os.closerange(3, 256)
others = [os.open("/dev/zero", os.O_RDONLY) for _ in range(8)]
os.kill(pid, 18)
over = walk.wait(20)
walk.read(0, 100)
walk.close()
del walk
intact = sum(os.read(fd, 1) == b"\0" for fd in others)
tell(
    {
        "over": over,
        "opened": len(others),
        "intact": intact,
        "child_left": os.path.exists(f"/proc/{pid}"),
    }
)
