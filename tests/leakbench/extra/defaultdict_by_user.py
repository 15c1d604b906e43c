"""A defaultdict keyed by user: asking for a user makes an entry that stays."""

from collections import defaultdict

from load import serve


class Limits:
    def __init__(self) -> None:
        self.hits = defaultdict(list)

    def allow(self, user: str, moment: float) -> bool:
        hits = self.hits[user]
        hits.append(moment)
        return len(hits) < 10


LIMITS = Limits()
serve(lambda number: LIMITS.allow(f"user-{number}@example.org", number * 0.1))
