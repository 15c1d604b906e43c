"""Every request remembers the one before it, and so all of them."""

from load import serve


class Request:
    def __init__(self, number: int, previous: "Request | None") -> None:
        self.number = number
        self.previous = previous
        self.body = f"body {number}"


class Tracker:
    def __init__(self) -> None:
        self.last: Request | None = None

    def begin(self, number: int) -> None:
        self.last = Request(number, self.last)


tracker = Tracker()
serve(tracker.begin)
