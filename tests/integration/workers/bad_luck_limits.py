"""A plain worker that lays a limit on itself for each line `NAME NUMBER` on its stdin.

BALLAST (argument) objects are alive. RLIMIT_NPROC does not bind root: if it is root the
worker becomes the user UID first, once everything is imported, and its directories too.
"""

import os
import pkgutil
import resource
import sys
from importlib import import_module
from pathlib import Path

import stage

import liveheap

UID = 54_321


def become_somebody() -> None:
    for room in pkgutil.walk_packages(liveheap.__path__, "liveheap."):
        import_module(room.name)
    run_dir = Path(os.environ["LIVEHEAP_DIR"])
    for directory in (run_dir, run_dir.parent):
        os.chown(directory, UID, UID)
    run_dir.parent.parent.chmod(0o711)
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)


ballast = [[number] for number in range(int(sys.argv[1]))]
if os.geteuid() == 0 and "somebody" in sys.argv:
    become_somebody()
stage.start_agent()
stage.ready()
for line in sys.stdin:
    name, number = line.split()
    limit = getattr(resource, name)
    resource.setrlimit(limit, (int(number), resource.getrlimit(limit)[1]))
    stage.ready()
