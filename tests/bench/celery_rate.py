"""A Celery worker with gevent whose agent comes and goes: prints seconds, as JSON.

    python celery_rate.py REDIS_SOCKET BATCHES SIZE

The queue holds tasks that do nothing. After each SIZE of them the agent is started or
stopped, and what passed from there to the next change is one entry: whether there was
an agent, seconds, seconds of CPU. So neighbours in the list are pairs, one with the
agent and one without, in the same process a moment apart.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import uuid  # noqa: E402

import redis  # noqa: E402
from celery import Celery  # noqa: E402

import liveheap  # noqa: E402

CONCURRENCY = 50
QUEUE = "celery"
TASK_ID = "00000000-0000-0000-0000-000000000000"

socket, batches, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
url = f"redis+socket://{socket}"
app = Celery("rate", broker=url, task_ignore_result=True)
app.conf.worker_prefetch_multiplier = 8


class Count:
    """How many tasks were done, and when the agent last came or went."""

    done = 0
    since = (0.0, 0.0)
    with_agent = False
    found: list[tuple[bool, float, float]] = []  # noqa: RUF012 -- of the one there is


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


@app.task(name="rate.nothing")
def nothing() -> None:
    Count.done += 1
    if Count.done % size:
        return
    (wall, cpu), (wall_before, cpu_before) = now(), Count.since
    Count.found.append((Count.with_agent, wall - wall_before, cpu - cpu_before))
    if len(Count.found) > batches:
        os.write(1, json.dumps(Count.found[1:]).encode())  # Celery takes sys.stdout
        os._exit(0)
    Count.with_agent = not Count.with_agent
    (liveheap.start if Count.with_agent else liveheap.stop)()
    Count.since = now()


def fill() -> None:
    """Put the tasks into the queue: copies of one message, each with its own id."""
    nothing.apply_async(task_id=TASK_ID)
    connection = redis.Redis(unix_socket_path=socket)
    message = connection.rpop(QUEUE).decode()
    left = (batches + 2) * size
    while left > 0:
        piece = [message.replace(TASK_ID, str(uuid.uuid4())) for _ in range(1000)]
        connection.lpush(QUEUE, *piece)
        left -= len(piece)


logging.disable(logging.CRITICAL)
fill()
quiet = dict.fromkeys(("without_gossip", "without_mingle", "without_heartbeat"), True)
app.Worker(pool="gevent", concurrency=CONCURRENCY, quiet=True, **quiet).start()
