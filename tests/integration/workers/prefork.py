"""A master that starts the agent, then forks N children (argument, 2).

Says the children's pids before `ready`. Each child holds CHILD_ONLY; they end when the
master does, because the write end of their pipe closes.
"""

import os
import sys

import stage

N_CHILDREN = int(sys.argv[1]) if len(sys.argv) > 1 else 2


def child(life: int) -> None:
    global CHILD_ONLY  # noqa: PLW0603  a module attribute only the children have
    CHILD_ONLY = [bytearray(16) for _ in range(100)]
    os.read(life, 1)
    os._exit(0)


stage.start_agent()
life, master_alive = os.pipe()
pids = []
for _ in range(N_CHILDREN):
    pid = os.fork()
    if pid == 0:
        os.close(master_alive)
        child(life)
    pids.append(pid)
stage.ready(*pids)
stage.until_stdin_closes()
os.close(master_alive)
for pid in pids:
    os.waitpid(pid, 0)
