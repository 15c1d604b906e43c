"""A finalizer per request on an object that lives as long as the process."""

import weakref

from load import serve


class Connection:
    pass


class Upload:
    def __init__(self, number: int) -> None:
        self.number = number
        self.chunks = [bytes(100) for _ in range(5)]

    def abort(self) -> None:
        self.chunks.clear()


connection = Connection()


def handle(number: int) -> None:
    weakref.finalize(connection, Upload(number).abort)


serve(handle)
