"""A gevent worker whose task is over and has left a child, which has left another.

A third child runs a task of its own, and a greenlet was there before any task.
"""

from gevent import monkey

monkey.patch_all()

import stage  # noqa: E402  after patching, as gevent asks

stage.start_agent()

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402

import liveheap  # noqa: E402


class Held: ...


def wait() -> None:
    held = Held()
    finish.wait()
    del held


def child() -> None:
    greenlets.append(gevent.spawn(wait))
    wait()


finish = Event()
greenlets = [gevent.spawn(wait)]


@liveheap.task("shop.crawl", id="7")
def crawl() -> None:
    greenlets.append(gevent.spawn(child))
    greenlets.append(gevent.spawn(liveheap.task("shop.own")(wait)))


crawl()
gevent.sleep(0)
gevent.sleep(0)
stage.ready()
gevent.get_hub().threadpool.spawn(stage.until_stdin_closes).get()
finish.set()
gevent.joinall(greenlets)
