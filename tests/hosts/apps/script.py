"""A plain program that runs tasks: `script.py KIND`, of threads or another loop.

SIGHUP makes it execute itself anew, in place; SIGTERM ends it, tidily.
"""

import os
import signal
import sys
import threading

KIND = sys.argv[1]
if KIND == "gevent":
    from gevent import monkey

    monkey.patch_all()
if KIND == "eventlet":
    import eventlet

    eventlet.monkey_patch()
import parcels  # noqa: E402 (after the patch)

if KIND == "gevent-late":
    import gevent.monkey

    gevent.monkey.patch_all()

NAME = "script.pack"


def run_in_greenlets(count: int, gate: str) -> None:
    import gevent

    for _ in range(count):
        gevent.spawn(parcels.labelled, NAME, gate)


def run_in_green_threads(count: int, gate: str) -> None:
    import eventlet

    for _ in range(count):
        eventlet.spawn(parcels.labelled, NAME, gate)


def run_in_threads(count: int, gate: str) -> None:
    for _ in range(count):
        threading.Thread(target=parcels.labelled, args=(NAME, gate)).start()


def restart(*_: object) -> None:
    os.execv(sys.executable, [sys.executable, *sys.argv])


def end(*_: object) -> None:
    (parcels.STAGE / "end").touch()


async def run_loop() -> None:
    import asyncio

    seen, kept = set(), set()
    while not parcels.is_open("end"):
        for count, gate in parcels.new_orders(seen):
            for _ in range(count):
                kept.add(asyncio.ensure_future(parcels.labelled_async(NAME, gate)))
        await asyncio.sleep(parcels.REST_S)
    await asyncio.gather(*kept)


def main() -> None:
    signal.signal(signal.SIGHUP, restart)
    signal.signal(signal.SIGTERM, end)
    if KIND == "asyncio":
        import asyncio

        asyncio.run(run_loop())
        return
    ways = {
        "gevent": run_in_greenlets,
        "gevent-late": run_in_greenlets,
        "eventlet": run_in_green_threads,
    }
    run = ways.get(KIND, run_in_threads)
    for count, gate in parcels.orders():
        run(count, gate)


if __name__ == "__main__":
    main()
