"""Events gather in a list per user; the users are few, and the lists grow."""

from collections import defaultdict

from load import serve


class Event:
    def __init__(self, number: int) -> None:
        self.number = number
        self.kind = f"kind {number % 7}"


class Timeline:
    def __init__(self) -> None:
        self.by_user: dict[int, list[Event]] = defaultdict(list)


TIMELINE = Timeline()
serve(lambda number: TIMELINE.by_user[number % 40].append(Event(number)))
