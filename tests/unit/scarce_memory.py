"""Read and search a snapshot under ever more address space, until it succeeds twice.

Prints how often memory ran out and how often it sufficed. Anything but a MemoryError
on the way ends this program, with a traceback or a signal.
"""

import resource
import sys

import numpy as np

from liveheap.snapshot.reader import Snapshot
from liveheap_client import _graph

STEP = 64 * 1024


def address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def attempt(pieces: list[bytes]) -> bool:
    """Return whether memory sufficed."""
    groups = np.array([(32, 0)], np.uint32).tobytes()
    try:
        decoder = _graph.Decoder()
        for piece in pieces:
            decoder.feed(piece)
        graph = decoder.finish(False)
        graph.search(groups, b"", (0, 0, 0, 0), 40, 200_000)
        graph.reverse()
        graph.dominators()
    except MemoryError:
        return False
    return True


def main() -> None:
    with Snapshot.open(sys.argv[1]) as snapshot:
        pieces = list(snapshot.iter_raw())
    failed = succeeded = 0
    limit = address_space()
    while succeeded < 2:
        limit += STEP
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        enough = attempt(pieces)
        failed += not enough
        succeeded += enough
    print(failed, succeeded)


main()
