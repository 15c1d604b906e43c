"""The worker that `liveheap demo` watches: a small job runner on gevent.

It runs four kinds of tasks for ever, as a service would between two deploys:

    import_invoice    keeps each row it has read in CACHE.rows, a module-level
                      cache that nobody empties. This is the leak.
    ask_partner       waits for an answer that does not come. What it wants to
                      send lives in the local variables of its greenlet and
                      nowhere else.
    draw_thumbnail    keeps the last 2,000 pictures in a cache with a limit: full,
                      busy and innocent.
    score_basket      makes thousands of objects a second and keeps none.

Only the last lines know liveheap. The worker ends when its stdin does, so it
cannot outlive the demo, however the demo ends.
"""

# ruff: noqa: E402 -- gevent's patches have to come before every other import
from gevent import monkey

monkey.patch_all()

import sys
from collections import OrderedDict
from collections.abc import Callable
from itertools import count

import gevent
import gevent.event
import gevent.os
import gevent.pool

import liveheap

WAITING_AT_START = 40
THUMBNAILS_KEPT = 2_000


class Row:
    """One line of an invoice."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.customer = f"customer-{number % 977}"
        self.articles = [f"article-{number}-{position}" for position in range(3)]


class ResultCache:
    """What was imported already, by key."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def remember(self, key: str, number: int) -> None:
        """Keep a row, for ever as it turns out."""
        self.rows[key] = Row(number)


class Attachment:
    """A document on its way to a partner."""

    def __init__(self, number: int) -> None:
        self.name = f"attachment-{number}.pdf"
        self.pages = [f"page {page} of {number}" for page in range(2)]


class Thumbnail:
    """A small picture, as large as all others: a full cache stays as it is."""

    def __init__(self) -> None:
        self.pixels = bytes(96)


class BoundedCache:
    """The last `limit` entries."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.entries: OrderedDict[int, Thumbnail] = OrderedDict()

    def put(self, number: int, thumbnail: Thumbnail) -> None:
        """Keep an entry and let the oldest one go."""
        self.entries[number] = thumbnail
        while len(self.entries) > self.limit:
            self.entries.popitem(last=False)


CACHE = ResultCache()
THUMBNAILS = BoundedCache(THUMBNAILS_KEPT)
PARTNER_ANSWERS = gevent.event.Event()
TASKS = gevent.pool.Pool()
NUMBERS = count()


def import_invoice() -> None:
    """Read an invoice of ten rows."""
    for number in (next(NUMBERS) for _ in range(10)):
        CACHE.remember(f"row:{number}", number)


def ask_partner() -> int:
    """Send some documents and wait for the partner's answer."""
    outgoing = [Attachment(next(NUMBERS)) for _ in range(20)]
    PARTNER_ANSWERS.wait()
    return len(outgoing)


def draw_thumbnail() -> None:
    """Draw ten pictures and keep them for a while."""
    for number in (next(NUMBERS) for _ in range(10)):
        THUMBNAILS.put(number, Thumbnail())


def score_basket() -> float:
    """Add up a basket that is thrown away at once."""
    basket = {str(number): [number * 0.5, 1.0] for number in range(200)}
    return sum(price * tax for price, tax in basket.values())


def repeat(task: Callable[[], object], period_s: float) -> None:
    """Run a task for ever, each time in a greenlet of its own."""
    while True:
        TASKS.spawn(task)
        gevent.sleep(period_s)


def serve() -> None:
    """Start everything, say that it stands, and work until stdin ends."""
    for _ in range(WAITING_AT_START):
        TASKS.spawn(ask_partner)
    for number in range(THUMBNAILS_KEPT):
        THUMBNAILS.put(-number, Thumbnail())
    for task, period_s in (
        (import_invoice, 0.025),
        (ask_partner, 0.5),
        (draw_thumbnail, 0.05),
        (score_basket, 0.05),
    ):
        gevent.spawn(repeat, task, period_s)
    gevent.sleep(0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    gevent.os.make_nonblocking(0)
    while gevent.os.nb_read(0, 1):
        pass


if __name__ == "__main__":
    liveheap.start()
    serve()
