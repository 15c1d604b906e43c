"""Send tasks: `send.py FRAMEWORK COUNT GATE`."""

import os
import sys


def celery(count: int, gate: str) -> None:
    from shop import pack

    for _ in range(count):
        pack.delay(gate)


def rq(count: int, gate: str) -> None:
    from redis import Redis
    from rq import Queue

    queue = Queue(connection=Redis.from_url(os.environ["MATRIX_REDIS"]))
    for _ in range(count):
        queue.enqueue("jobs.pack", gate) if gate else queue.enqueue("jobs.nothing")


def dramatiq(count: int, gate: str) -> None:
    from actors import pack

    for _ in range(count):
        pack.send(gate)


def huey(count: int, gate: str) -> None:
    from chores import pack

    for _ in range(count):
        pack(gate)


def mrq(count: int, gate: str) -> None:
    from redis import StrictRedis

    path = os.environ["MATRIX_REDIS"].removeprefix("unix://")
    StrictRedis(unix_socket_path=path).rpush("mrq:q:parcels_raw", *[gate] * count)


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
