"""A greenlet per request waits without a timeout for an answer that is lost."""

import gevent
from gevent.event import AsyncResult
from load import innocent_work


def ask_backend(number: int) -> None:
    answer = AsyncResult()
    body = [f"field {number}.{field}" for field in range(30)]
    answer.get()
    print(body)


def main() -> None:
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        innocent_work(number)
        gevent.spawn(ask_backend, number)
        gevent.sleep(0.02)


main()
