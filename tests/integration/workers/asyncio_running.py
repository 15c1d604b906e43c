"""An asyncio task that is running, not suspended, when the snapshot is taken."""

import asyncio

import stage

stage.start_agent()

import liveheap  # noqa: E402 (as an application that is started by the agent would)


class Held: ...


async def wait() -> None:
    with liveheap.task("shop.waits"):
        held = Held()
        await asyncio.sleep(3600)
        del held


async def run() -> None:
    with liveheap.task("shop.runs", id="r-1"):
        held = Held()
        await inner()
        del held


async def inner() -> None:
    held = Held()
    stage.ready()
    stage.until_stdin_closes()
    del held


async def main() -> None:
    outside = Held()
    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    await asyncio.ensure_future(run())
    waiting.cancel()
    del outside


asyncio.run(main())
