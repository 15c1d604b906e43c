"""Runs as an unprivileged user whose RLIMIT_NPROC is used up, and asks for walks.

Its argument is a directory for spools that this user may write to.
"""

import os
import resource
import sys

from telling import tell

from liveheap import _heap
from liveheap.errors import CommandError
from liveheap.heap import Heap

keep = [{"number": i} for i in range(1000)]
spool_directory = sys.argv[1]
raw_spool = os.open(spool_directory, os.O_RDWR | os.O_TMPFILE)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    _heap.snapshot_start(raw_spool, "graph", {})
    raw = None
except OSError as error:
    raw = error.errno
heap = Heap()
try:
    heap.snapshot(spool_directory=spool_directory)
    refusal = None
except CommandError as error:
    refusal = [error.code, error.message, error.hint]
counted = heap.histogram(spool_directory=spool_directory)
dicts = next(row.count for row in counted.rows if row.name == "dict")
tell(
    {
        "errno": raw,
        "refusal": refusal,
        "in_process": counted.in_process,
        "dicts": dicts,
        "kept": len(keep),
        "files": os.listdir("/proc/self/fd"),
    }
)
