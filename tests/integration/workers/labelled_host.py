"""Eight tasks of a framework (first argument) that hold until a line comes in.

Then they end, every second one by an exception. Brokers are in memory.

Kinds: celery-gevent, celery-solo (one task, and one within it), dramatiq, huey,
uvicorn.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable

KIND = sys.argv[1]
COUNT = 8

if KIND == "celery-gevent":
    from gevent import monkey

    monkey.patch_all()

import stage  # noqa: E402  after patching

stage.start_agent()
logging.disable(logging.CRITICAL)

holding: list[int] = []
finish = threading.Event()  # gevent's, where it has patched


def hold(number: int) -> None:
    holding.append(number)
    if len(holding) == COUNT or KIND == "celery-solo":
        stage.ready()
    finish.wait()
    if number % 2:
        raise ValueError(number)


def read_line() -> bytes:
    return sys.stdin.buffer.readline()


def wait_for_lines() -> None:
    """Finish at the first line, return at the end of the input."""
    read: Callable[[], bytes] = read_line
    if KIND == "celery-gevent":
        import gevent

        pool = gevent.get_hub().threadpool
        read = lambda: pool.spawn(read_line).get()  # noqa: E731
    read()
    finish.set()
    read()


def run_celery(pool: str) -> None:
    from celery import Celery

    app = Celery("shop", broker="memory://", task_ignore_result=True)

    @app.task(name="shop.import_order")
    def import_order(number: int, secret: str) -> None:
        hold(number)

    @app.task(name="shop.import_all")
    def import_all(secret: str) -> None:
        import_order.apply((0, secret), task_id="inner")

    if pool == "solo":
        import_all.apply_async(("hunter2",), task_id="outer")
    for number in range(COUNT if pool != "solo" else 0):
        import_order.apply_async((number, "hunter2"), task_id=f"order-{number}")
    quiet = dict.fromkeys(("without_gossip", "without_mingle", "without_heartbeat"), 1)
    worker = app.Worker(pool=pool, concurrency=COUNT, quiet=True, **quiet)

    def end() -> None:
        wait_for_lines()
        os._exit(0)  # Celery itself takes seconds for it

    threading.Thread(target=end).start()
    worker.start()


def run_dramatiq() -> None:
    import dramatiq
    from dramatiq.brokers.stub import StubBroker

    broker = StubBroker()
    dramatiq.set_broker(broker)

    @dramatiq.actor(actor_name="import_order", max_retries=0)
    def import_order(number: int, secret: str) -> None:
        hold(number)

    for number in range(COUNT):
        import_order.send(number, "hunter2")
    worker = dramatiq.Worker(broker, worker_threads=COUNT, worker_timeout=100)
    worker.start()
    wait_for_lines()
    worker.stop()


def run_huey() -> None:
    from huey import MemoryHuey

    huey = MemoryHuey("shop")

    @huey.task(name="import_order")
    def import_order(number: int, secret: str) -> None:
        hold(number)

    for number in range(COUNT):
        import_order(number, "hunter2")
    consumer = huey.create_consumer(workers=COUNT, periodic=False, max_delay=0.1)
    consumer.start()
    wait_for_lines()
    consumer.stop(graceful=True)


def run_uvicorn() -> None:
    import uvicorn

    released = asyncio.Event()

    async def application(scope: dict, receive: Callable, send: Callable) -> None:
        number = int(scope["path"].rpartition("/")[2])
        holding.append(number)
        if len(holding) == COUNT:
            stage.ready()
        await released.wait()
        if number % 2:
            raise ValueError(number)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async def ask(port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /orders/{number}?key=hunter2 HTTP/1.0\r\n\r\n".encode())
        await reader.read()
        writer.close()

    async def main() -> None:
        config = uvicorn.Config(
            application, port=0, log_level="critical", lifespan="off"
        )
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        (bound,) = server.servers[0].sockets
        port = bound.getsockname()[1]
        asking = [asyncio.ensure_future(ask(port, each)) for each in range(COUNT)]
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, read_line)
        released.set()
        await asyncio.gather(*asking)
        await loop.run_in_executor(None, read_line)
        server.should_exit = True
        await serving

    asyncio.run(main())


if KIND.startswith("celery"):
    run_celery(KIND.partition("-")[2])
else:
    {"dramatiq": run_dramatiq, "huey": run_huey, "uvicorn": run_uvicorn}[KIND]()
