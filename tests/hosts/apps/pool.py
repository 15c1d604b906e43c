"""A multiprocessing pool whose children end after one task: `pool.py METHOD SIZE`.

SIGTERM ends it, tidily.
"""

import multiprocessing
import signal
import sys

import parcels


def work(gate: str) -> int:
    return parcels.labelled("pool.pack", gate)


def end(*_: object) -> None:
    (parcels.STAGE / "end").touch()


def main() -> None:
    method, size = sys.argv[1], int(sys.argv[2])
    context = multiprocessing.get_context(method)
    with context.Pool(size, maxtasksperchild=1) as pool:
        signal.signal(signal.SIGTERM, end)
        for count, gate in parcels.orders():
            for _ in range(count):
                pool.apply_async(work, (gate,))
        pool.close()
        pool.join()


if __name__ == "__main__":
    main()
