"""A Celery worker with gevent whose agent comes and goes: prints pairs, as JSON.

    python celery_rate.py REDIS_SOCKET PAIRS SIZE

The queue holds tasks that do nothing. They are taken in batches of SIZE, two of which
are a pair: one with the agent and one without it, in turns the one and the other
first; and every third pair has no agent in either, which shows what the machine does
to a pair. An entry is whether there was an agent, seconds, and seconds of CPU of this
process, of which a busy machine takes nothing.

Batches are small, and many. A machine that others share is fast and slow by turns of a
tenth of a second: two batches of 300 tasks differ by 15 % for no reason of theirs, and
so many of them as fit into five minutes tell a median to 2 %; of ten tasks, to 0.4 %.

Between two batches the agent comes and goes in any case, and as many tasks again are
not counted: meanwhile it comes to rest. So both begin alike.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import uuid  # noqa: E402
from typing import NoReturn  # noqa: E402

import redis  # noqa: E402
from celery import Celery  # noqa: E402

import liveheap  # noqa: E402

CONCURRENCY = 50
QUEUE = "celery"
TASK_ID = "00000000-0000-0000-0000-000000000000"

socket, pairs, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
url = f"redis+socket://{socket}"
app = Celery("rate", broker=url, task_ignore_result=True)
app.conf.worker_prefetch_multiplier = 8

Batch = tuple[bool, float, float]
WITHOUT_AND_WITH = ((False, True), (True, False), (False, False))
PLAN = [state for pair in range(pairs + 1) for state in WITHOUT_AND_WITH[pair % 3]]


class Count:
    """How many tasks were done, and what the batches took."""

    done = 0
    since = (0.0, 0.0)
    found: list[Batch] = []  # noqa: RUF012 -- of the one there is


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


@app.task(name="rate.nothing")
def nothing() -> None:
    Count.done += 1
    batch, place = divmod(Count.done, 2 * size)
    if place == size:
        Count.since = now()
    if place:
        return
    if batch > 1:
        (wall, cpu), (wall_before, cpu_before) = now(), Count.since
        Count.found.append((PLAN[batch - 2], wall - wall_before, cpu - cpu_before))
    if batch > len(PLAN):
        tell()
    bring_and_take(with_agent=PLAN[batch - 1])


def bring_and_take(*, with_agent: bool) -> None:
    """Have the agent come and go; in the end it is here, or it is not."""
    liveheap.stop()
    liveheap.start()
    if not with_agent:
        liveheap.stop()


def tell() -> NoReturn:
    """Print the pairs, but for the first one, and end."""
    told = Count.found[2:]
    os.write(1, json.dumps(list(zip(told[::2], told[1::2], strict=True))).encode())
    os._exit(0)  # Celery takes sys.stdout


def fill() -> None:
    """Put the tasks into the queue: copies of one message, each with its own id."""
    nothing.apply_async(task_id=TASK_ID)
    connection = redis.Redis(unix_socket_path=socket)
    message = connection.rpop(QUEUE).decode()
    left = (len(PLAN) + 2) * 2 * size
    while left > 0:
        piece = [message.replace(TASK_ID, str(uuid.uuid4())) for _ in range(1000)]
        connection.lpush(QUEUE, *piece)
        left -= len(piece)


logging.disable(logging.CRITICAL)
fill()
quiet = dict.fromkeys(("without_gossip", "without_mingle", "without_heartbeat"), True)
app.Worker(pool="gevent", concurrency=CONCURRENCY, quiet=True, **quiet).start()
