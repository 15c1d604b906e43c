"""The heap under the benchmark, and the closure that a tool without C would compute.

`mix` makes what services hold: instances with a dict and with slots, lists, dicts,
sets, frozensets, tuples, str, bytes, int and float, about 75 bytes an object. An aged
heap was shuffled, a quarter of it was freed and the holes were filled with something
else: neighbours in memory are no neighbours in the graph any more, and the walk pays
for it with cache misses, as it does in a worker that has run for a week.
"""

import gc
import random
import sys
from typing import Any

OBJECTS_PER_RECORD = 27


class User:
    """An instance with a dict."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.name = f"user-{number}"
        self.tags = [f"a{number % 1000}", number * 1.5]
        self.meta = {"k": number, "z": str(number)}
        self.ref: object = None


class Slot:
    """An instance with slots."""

    __slots__ = ("a", "b", "c")

    def __init__(self, number: int) -> None:
        self.a = number
        self.b = (number, f"t{number}")
        self.c = None


def mix(objects: int, *, seed: int = 0, aged: bool = False) -> object:
    """Return what holds about that many objects."""
    records: list[Any] = []
    users: dict[str, User] = {}
    for number in range(objects // OBJECTS_PER_RECORD):
        user, slot = User(number + 1000), Slot(number + 5000)
        user.ref = slot
        users[f"user:{number}"] = user
        records.append(record(number, user, slot))
    if aged:
        age(records, users, random.Random(seed), objects)
    return records, users


def record(number: int, user: User, slot: Slot) -> tuple[object, ...]:
    return (
        user,
        slot,
        [number + 10000, float(number), f"x{number}".encode(), f"v{number * 3}"],
        {
            "id": number + 70000,
            "n": f"name{number}",
            "s": {number + 300, f"q{number}"},
        },
        frozenset((number + 900,)),
    )


def age(
    records: list[Any], users: dict[str, User], chance: random.Random, objects: int
) -> None:
    """Shuffle, free a quarter, fill the holes."""
    chance.shuffle(records)
    keys = list(users)
    chance.shuffle(keys)
    for key in keys[: len(keys) // 4]:
        del users[key]
    del records[3 * len(records) // 4 :]
    records.append(
        [
            {"id": number, "p": [number + 0.5, str(number)]}
            for number in range(objects // 20)
        ]
    )


def closure() -> int:
    """Reach everything through gc.get_referents, with sizes; return the count."""
    seen: set[int] = set()
    work = gc.get_objects()
    seen.update(map(id, work))
    seen |= {id(seen), id(work)}
    work = [item for item in work if item is not seen]
    nodes = total = edges = 0
    referents, size = gc.get_referents, sys.getsizeof
    while work:
        item = work.pop()
        nodes += 1
        try:  # noqa: SIM105  a context manager would slow the rival
            total += size(item)
        except Exception:  # a foreign __sizeof__ may raise what it likes
            pass
        found = referents(item)
        edges += len(found)
        for each in found:
            key = id(each)
            if key not in seen:
                seen.add(key)
                work.append(each)
    return nodes
