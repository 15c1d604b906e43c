"""Innocent: the last records of a ring, and a queue that a consumer keeps up with."""

import collections
import queue
import threading

from load import serve


class Record:
    def __init__(self, number: int) -> None:
        self.number = number
        self.text = f"record {number} " * 5


class Sink:
    def __init__(self) -> None:
        self.recent = collections.deque(maxlen=300)
        self.outgoing: queue.Queue[Record] = queue.Queue(100)

    def send(self) -> None:
        while True:
            self.outgoing.get()


SINK = Sink()
threading.Thread(target=SINK.send, daemon=True).start()


def handle(number: int) -> None:
    record = Record(number)
    SINK.recent.append(record)
    SINK.outgoing.put(record)


serve(handle)
