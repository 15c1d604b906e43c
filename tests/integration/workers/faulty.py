"""Tasks of two frameworks and a fork, again and again, each time with a fault of ours.

What they say goes to stderr, with tracebacks and without times; the exit code is 3.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from unittest import mock

import stage
from celery import Celery
from huey import MemoryHuey

WITH_US = os.environ.get("LIVEHEAP") != "0"
FAULTS = {
    "none": (),
    "hooks": ("liveheap.hosts.celery.check_free", "liveheap.hosts.huey.label"),
    "labelling": ("liveheap.hosts.labelling.Labelling.install",),
    "registry": ("liveheap.tasks.Registry.switch_on",),
    "begin": ("liveheap.tasks.Registry._new_anchor", "liveheap.deltas.Deltas.begin"),
    "end": ("liveheap.deltas.Deltas.end",),
    "start": ("liveheap.agent.service.Agent.come_up",),
    "child": (
        "liveheap.agent.service.Agent.after_fork_in_child",
        "liveheap.tasks.Registry.after_fork_in_child",
    ),
}

logging.basicConfig(format="%(levelname)s %(name)s", level=logging.WARNING)
app = Celery("shop", broker="memory://")
huey = MemoryHuey("shop", immediate=True)


@app.task(name="shop.import_order")
def import_order(number: int) -> int:
    if number == 7:
        raise ValueError(number)
    return number


@huey.task(name="import_order")
def import_order_too(number: int) -> int:
    return import_order(number)


def work() -> None:
    for number in (6, 7):
        print(import_order.apply((number,), task_id="x").state, file=sys.stderr)
        import_order_too(number)
    pid = os.fork()
    if not pid:
        print(import_order.apply((8,)).result, file=sys.stderr)
        os._exit(0)
    os.waitpid(pid, 0)


@contextlib.contextmanager
def agent(fault: str) -> Iterator[None]:
    """An agent that has a fault."""
    import liveheap
    import liveheap.agent.start

    with contextlib.ExitStack() as stack:
        for place in FAULTS[fault]:
            wrong = LookupError("a fault of liveheap")
            stack.enter_context(mock.patch(place, side_effect=wrong))
        liveheap.start()
        yield
    liveheap.stop()


for name in FAULTS:
    print(f"-- {name}", file=sys.stderr)
    with agent(name) if WITH_US else contextlib.nullcontext():
        work()
stage.ready()
sys.exit(3)
