"""Futures of a thread pool that somebody keeps to look at later, results and all."""

from concurrent.futures import Future, ThreadPoolExecutor

from load import serve


class Thumbnail:
    def __init__(self, number: int) -> None:
        self.pixels = bytearray(2000)
        self.number = number


class Jobs:
    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(2)
        self.submitted: set[Future[Thumbnail]] = set()


JOBS = Jobs()
serve(lambda number: JOBS.submitted.add(JOBS.pool.submit(Thumbnail, number)))
