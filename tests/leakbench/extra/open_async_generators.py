"""Async generators that are broken out of and never closed, kept by their stream."""

import asyncio
from collections.abc import AsyncIterator


class Feed:
    def __init__(self) -> None:
        self.streams: list[AsyncIterator[int]] = []

    async def rows(self, number: int) -> AsyncIterator[int]:
        buffer = [f"row {number}.{row}" for row in range(30)]
        for row in range(len(buffer)):
            yield row


FEED = Feed()


async def handle(number: int) -> None:
    stream = FEED.rows(number)
    FEED.streams.append(stream)
    async for row in stream:
        if row == 1:
            break


async def main() -> None:
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        await handle(number)
        await asyncio.sleep(0.01)


asyncio.run(main())
