"""A thread per request waits for a lock that is never released."""

import threading

from load import serve

gate = threading.Lock()
gate.acquire()


def wait_for_turn(number: int) -> None:
    body = [f"field {number}.{field}" for field in range(30)]
    with gate:
        print(body)


def handle(number: int) -> None:
    threading.Thread(target=wait_for_turn, args=(number,), daemon=True).start()


serve(handle, every_s=0.1)
