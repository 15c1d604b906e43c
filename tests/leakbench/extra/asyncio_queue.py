"""Events go into a queue whose consumer has died."""

import asyncio

from load import innocent_work


class AuditEvent:
    def __init__(self, number: int) -> None:
        self.number = number
        self.body = {"user": f"user {number}", "action": "view"}


class Auditor:
    def __init__(self) -> None:
        self.outbox: asyncio.Queue[AuditEvent] = asyncio.Queue()

    async def consume(self) -> None:
        raise ConnectionError("the collector is gone")


async def main() -> None:
    auditor = Auditor()
    task = asyncio.create_task(auditor.consume())
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        innocent_work(number)
        auditor.outbox.put_nowait(AuditEvent(number))
        await asyncio.sleep(0.01)
        assert task


asyncio.run(main())
