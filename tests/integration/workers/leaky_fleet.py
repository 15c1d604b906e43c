"""A master that forks children; each argument says what one of them leaks.

`cache`: Row objects in CACHE; `log`: texts in LOG; `nothing`. They leak until killed,
and end when the master does. Who is killed gets a successor, as servers give one, if
the last argument is `respawn`.
"""

import os
import select
import sys

import stage


class Row:
    pass


CACHE: dict = {"rows": []}
LOG: list = []


def leak(what: str, life: int) -> None:
    number = 0
    while not select.select([life], [], [], 0.01)[0]:
        for _ in range(50):
            number += 1
            if what == "cache":
                CACHE["rows"].append(Row())
            if what == "log":
                LOG.append(f"line {number} of a log " * 5)
    os._exit(0)


stage.start_agent()
life, master_alive = os.pipe()
jobs = [what for what in sys.argv[1:] if what != "respawn"]


def start(what: str) -> int:
    pid = os.fork()
    if pid == 0:
        os.close(master_alive)
        leak(what, life)
    return pid


pids = [start(what) for what in jobs]
stage.ready(*pids)
while "respawn" in sys.argv and not select.select([0], [], [], 0.05)[0]:
    for place, pid in enumerate(pids):
        if os.waitpid(pid, os.WNOHANG)[0]:
            pids[place] = start(jobs[place])
stage.until_stdin_closes()
os.close(master_alive)
for pid in pids:
    os.waitpid(pid, 0)
