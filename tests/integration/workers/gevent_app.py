"""A patched gevent worker with 20 suspended greenlets; the hub stays free.

Each holds a GreenletOnly in a local two frames deep, which nothing else refers to.
"""

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402  after patching, as gevent asks
import stage  # noqa: E402
from gevent.event import Event  # noqa: E402

N_GREENLETS = 20


class GreenletOnly:
    def __init__(self, number: int) -> None:
        self.number = number


def inner(finish: Event, held: list) -> None:
    finish.wait()
    del held


def task(number: int, finish: Event) -> None:
    only_here = [GreenletOnly(number)]
    inner(finish, only_here)


stage.start_agent()
finish = Event()
greenlets = [gevent.spawn(task, number, finish) for number in range(N_GREENLETS)]
gevent.sleep(0)
stage.ready()
gevent.get_hub().threadpool.spawn(stage.until_stdin_closes).get()
finish.set()
gevent.joinall(greenlets, timeout=5)
