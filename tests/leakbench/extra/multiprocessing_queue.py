"""Results for a process that no longer reads: they wait in the feeder's buffer."""

import multiprocessing

from load import serve


class Result:
    def __init__(self, number: int) -> None:
        self.number = number
        self.rows = [f"row {number}.{row}" for row in range(20)]


queue: "multiprocessing.Queue[Result]" = multiprocessing.Queue()
for first in range(2000):
    queue.put(Result(first))
serve(lambda number: queue.put(Result(number)))
