"""What a label costs the task that has it: prints nanoseconds by holder, as JSON.

Run with LIVEHEAP=0 for a worker without agent, where begin and end find nothing to do.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable

import greenlet

import liveheap
from liveheap import tasks

ROUNDS, CALLS = 15, 20_000


def begin_and_end() -> None:
    tasks.end(tasks.begin("celery", "shop.import_orders", "d4b0a0f2-6f3c-4c6a"))


def cost_ns(call: Callable[[], None] = begin_and_end) -> float:
    """Return the least that a call took on average in any round."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for _ in range(CALLS):
            call()
        found.append((time.thread_time_ns() - began) / CALLS)
    return min(found)


async def on_asyncio() -> float:
    return cost_ns()


def main() -> None:
    if os.environ.get("LIVEHEAP") != "0":
        liveheap.start(strict=True)
    loop = cost_ns(lambda: None)
    found = {
        "thread": cost_ns(),
        "greenlet": greenlet.greenlet(cost_ns).switch(),
        "asyncio": asyncio.run(on_asyncio()),
    }
    print(json.dumps({holder: ns - loop for holder, ns in found.items()}))


main()
