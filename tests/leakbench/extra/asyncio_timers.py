"""A timer per request goes off in an hour; nobody cancels it."""

import asyncio

from load import innocent_work


class Lease:
    def __init__(self, number: int) -> None:
        self.number = number
        self.note = f"lease {number}"

    def expire(self) -> None:
        print(self.note)


async def main() -> None:
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        innocent_work(number)
        loop.call_later(3600, Lease(number).expire)
        await asyncio.sleep(0.01)


asyncio.run(main())
