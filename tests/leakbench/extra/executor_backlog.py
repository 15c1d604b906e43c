"""Jobs are handed to a pool whose only thread hangs."""

import threading
from concurrent.futures import ThreadPoolExecutor

from load import serve

pool = ThreadPoolExecutor(1)
pool.submit(threading.Event().wait)


class Mail:
    def __init__(self, number: int) -> None:
        self.to = f"user-{number}@example.org"

    def send(self) -> None:
        print(self.to)


serve(lambda number: pool.submit(Mail(number).send))
