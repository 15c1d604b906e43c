"""Each request registers a clean-up for the end of the process."""

import atexit

from load import serve


class Scratch:
    def __init__(self, number: int) -> None:
        self.path = f"/tmp/scratch-{number}"
        self.parts = [str(number)] * 5

    def remove(self) -> None:
        self.parts.clear()


serve(lambda number: atexit.register(Scratch(number).remove))
