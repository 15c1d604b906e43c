"""An iterator is split in two, only one half is read, and C keeps what is unread."""

import itertools

from load import serve


class Tick:
    def __init__(self, number: int) -> None:
        self.number = number
        self.price = {"bid": number, "ask": number + 1}


live, replay = itertools.tee(map(Tick, itertools.count()))
serve(lambda number: next(live))
