"""Tasks under way on a thread, an asyncio task, a greenlet, and the main thread.

Each holds a Held of its own in a local variable; `main` holds one before its task.
"""

import asyncio
import threading

import greenlet
import stage

stage.start_agent()

import liveheap  # noqa: E402 (as an application that is started by the agent would)


class Held:
    def __init__(self, by: str) -> None:
        self.by = by


finish = threading.Event()
standing = threading.Barrier(3)


@liveheap.task("shop.on_thread", id="t-1")
def on_thread() -> None:
    held = Held("thread")
    standing.wait()
    finish.wait()
    del held


async def on_task(under_way: asyncio.Event) -> None:
    with liveheap.task("shop.on_task"):
        held = Held("task")
        under_way.set()
        await asyncio.Event().wait()
        del held


async def serve() -> None:
    under_way = asyncio.Event()
    waiting = asyncio.ensure_future(on_task(under_way))
    await under_way.wait()
    standing.wait()
    while not finish.is_set():
        await asyncio.sleep(0.01)
    waiting.cancel()


@liveheap.task("shop.on_greenlet")
def on_greenlet() -> None:
    held = Held("greenlet")
    greenlet.getcurrent().parent.switch()
    del held


@liveheap.task("shop.on_main", id="m-1")
def on_main() -> None:
    held = Held("main")
    stage.ready()
    stage.until_stdin_closes()
    del held


def main() -> None:
    outside = Held("outside")
    threads = [
        threading.Thread(target=on_thread),
        threading.Thread(target=asyncio.run, args=(serve(),)),
    ]
    for thread in threads:
        thread.start()
    standing.wait()
    suspended = greenlet.greenlet(on_greenlet)
    suspended.switch()
    on_main()
    finish.set()
    for thread in threads:
        thread.join()
    suspended.switch()
    del outside


main()
