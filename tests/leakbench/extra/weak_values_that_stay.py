"""A WeakValueDictionary that never forgets: each value is also its own listener."""

import weakref

from load import serve


class Document:
    def __init__(self, number: int) -> None:
        self.number = number
        self.text = f"document {number} " * 20
        CHANGED.listeners.append(self.on_change)

    def on_change(self) -> None:
        self.text = self.text.upper()


class Signal:
    def __init__(self) -> None:
        self.listeners = []


CHANGED = Signal()
OPEN: weakref.WeakValueDictionary[int, Document] = weakref.WeakValueDictionary()


def handle(number: int) -> None:
    OPEN[number] = Document(number)


serve(handle)
