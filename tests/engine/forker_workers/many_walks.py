"""Takes many walks, and tells what the process holds before and after them."""

import os
import sys
import tempfile

from telling import tell

from liveheap import _heap


def counts() -> dict[str, int]:
    with open("/proc/self/maps") as file:
        maps = file.read()
    with open("/proc/self/statm") as file:
        rss_kb = int(file.read().split()[1]) * 4
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "shared mappings": maps.count("/dev/zero"),
        "mappings": maps.count("\n"),
        "rss_kb": rss_kb,
    }


def walk(kind: str) -> str:
    with tempfile.TemporaryFile() as spool:
        child = _heap.snapshot_start(spool.fileno(), kind, {"timeout_s": 60})
        child.wait(60)
        return str(child.status()["code"])


for kind in ("graph", "histogram"):
    walk(kind)
before = counts()
codes = {walk("graph" if n % 2 else "histogram") for n in range(int(sys.argv[1]))}
tell({"codes": sorted(codes), "before": before, "after": counts()})
