"""Starts a walk that is held still, tells its pid, and waits to be killed."""

import sys
import tempfile

from telling import tell, wait_for_word, wait_until_stopped

from liveheap import _heap

with tempfile.TemporaryFile() as spool:
    child = _heap.snapshot_start(spool.fileno(), "graph", {"hold": "stop"})
    wait_until_stopped(child.pid)
    tell(child.pid)
    wait_for_word()
sys.exit("nobody killed us")
