"""The application forks while a walk is held still; what does its child inherit?"""

import os

from telling import tell, wait_until_stopped

from liveheap.heap import Heap


def open_files() -> list[str]:
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return names


before = open_files()
walk = Heap().snapshot(spool_directory="/tmp", hold="stop", force=True)
wait_until_stopped(walk.pid)
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    walk.close()
    strange = [
        name for name in set(open_files()) - set(before) if not name.startswith("pipe:")
    ]
    os.write(writer, repr(strange).encode())
    os._exit(0)
os.close(writer)
inherited = os.read(reader, 4096).decode()
os.close(reader)
_, status = os.waitpid(pid, 0)
os.kill(walk.pid, 18)
over = walk.wait(20)
outcome = walk.outcome()
walk.close()
tell(
    {
        "inherited": inherited,
        "status": status,
        "over": over,
        "complete": outcome.complete,
        "reason": outcome.reason,
        "left": len(open_files()) - len(before),
    }
)
