"""A task per request waits for an event that never comes, for nobody cancels it."""

import asyncio

from load import innocent_work

shutdown_done: asyncio.Event | None = None


async def notify_when_done(request: dict[str, object]) -> None:
    assert shutdown_done is not None
    await shutdown_done.wait()
    print(request)


async def main() -> None:
    global shutdown_done  # noqa: PLW0603
    shutdown_done = asyncio.Event()
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        innocent_work(number)
        request = {"id": number, "body": bytearray(500)}
        asyncio.ensure_future(notify_when_done(request))  # noqa: RUF006
        await asyncio.sleep(0.02)


asyncio.run(main())
