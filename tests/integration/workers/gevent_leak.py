"""A patched gevent worker that leaks into LEDGER.entries, an instance attribute.

BALLAST (argument, 1,000) more Ballast objects make its snapshot as big as a test
needs; 20 suspended greenlets hold a Letter each, in a local variable only.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402  after patching, as gevent asks

import gevent  # noqa: E402
import stage  # noqa: E402
from gevent.event import Event  # noqa: E402


class Entry:
    def __init__(self, number: int) -> None:
        self.number = number
        self.text = f"entry {number}"


class Ledger:
    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}


class Letter: ...


class Ballast:
    def __init__(self, number: int) -> None:
        self.parts = [str(number), (number, {"number": str(-number)})]


LEDGER = Ledger()


def leak() -> None:
    while True:
        for _ in range(50):
            number = len(LEDGER.entries)
            LEDGER.entries[f"entry {number}"] = Entry(number)
        gevent.sleep(0.02)


def write_letter(answered: Event) -> None:
    letter = Letter()
    answered.wait()
    del letter


ballast = [Ballast(n) for n in range(int(sys.argv[1]) if sys.argv[1:] else 1_000)]
answered = Event()
greenlets = [gevent.spawn(write_letter, answered) for _ in range(20)]
greenlets.append(gevent.spawn(leak))
stage.start_agent()
gevent.sleep(0)
stage.ready()
gevent.get_hub().threadpool.spawn(stage.until_stdin_closes).get()
