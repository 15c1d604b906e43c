"""The rounds of a live diff: a snapshot, a wait, the next snapshot.

A hunt may take hours, so no session is held while it waits: an agent may end idle ones
and links drop. Every round calls anew if it must, a few times with growing delays, and
the caller makes sure that the same process answers.

A worker that is busy with another client, or has been asked for much within a minute,
says when to try again: a round waits for that, for BUSY_FOR_S in all, and says so. To
fail a hunt of hours for a moment that was not ours would be rude to the person; to ask
at once again, to the worker.
"""

import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.results import Blob
from liveheap_client.caller import Caller
from liveheap_client.commands.fetch import SUFFIX, OnFetched, fetch
from liveheap_client.errors import (
    ConnectError,
    HostRefused,
    TransportError,
    UsageError,
    WorkerGone,
)

LONGEST_KEPT_SESSION_S = 60.0
RETRY_DELAYS_S = (1.0, 5.0, 15.0, 60.0)
BUSY_FOR_S = 120.0
BUSY_REST_S = 2.0

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Round:
    """One round: its number from 1, its file, and what stands in the file's frame."""

    number: int
    path: Path
    taken: float
    header: dict[str, Any]
    trailer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Watch:
    """What a hunt tells while it goes on; all may be called often."""

    on_fetch: OnFetched
    on_wait: Callable[[float, float], None]
    on_trouble: Callable[[str], None]


def seconds(text: str) -> float:
    """Return a span like `600`, `30s`, `10m`, `1h30m` in seconds."""
    total, rest = 0.0, text.strip()
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        number, tail = rest[:digits], rest[digits:]
        letters = len(tail) - len(tail.lstrip("smhd"))
        unit, rest = tail[: min(letters, 1)], tail[min(letters, 1) :]
        try:
            total += float(number) * _UNITS[unit]
        except ValueError:
            raise UsageError(
                f"not a span of time: {text!r}", hint="600, 30s, 10m, 1h30m"
            ) from None
        if not unit and rest:
            raise UsageError(
                f"not a span of time: {text!r}", hint="600, 30s, 10m, 1h30m"
            )
    if not 0 < total < 30 * 86400:
        raise UsageError(f"not a useful interval: {text!r}", hint="600, 30s, 10m")
    return total


def round_path(directory: Path, number: int) -> Path:
    """Return the name of a round's file; they sort in order."""
    return directory / f"round-{number:03d}{SUFFIX}"


def iter_rounds(
    caller: Caller,
    directory: Path,
    *,
    interval_s: float,
    numbers: Sequence[int],
    args: dict[str, Any],
    watch: Watch,
) -> Generator[Round, None, None]:
    """Take the snapshots of a hunt; yield each as soon as its file is whole.

    The interval counts from start to start, so that a fetch shifts nothing. After one
    that took longer than that, the rounds do not hurry to catch up: what grows between
    two of them a moment apart is chance. A hunt that goes on waits before it does.
    """
    due = time.monotonic() + (interval_s if numbers[0] > 1 else 0)
    for number in numbers:
        wait_until(due, interval_s, watch)
        due = time.monotonic() + interval_s
        yield take_round(caller, directory, number, args=args, watch=watch)
        if interval_s > LONGEST_KEPT_SESSION_S:
            caller.hang_up()


def take_round(
    caller: Caller,
    directory: Path,
    number: int,
    *,
    args: dict[str, Any],
    watch: Watch,
    stubbornly: bool = True,
) -> Round:
    """Take one round's snapshot now; if not stubbornly, one failure is enough."""
    path = round_path(directory, number)
    taken = time.time()
    delays = RETRY_DELAYS_S if stubbornly else ()
    blob = _fetch_politely(caller, path, args, watch, delays)
    return Round(number, path, taken, blob.header, blob.trailer)


def wait_until(moment: float, interval_s: float, watch: Watch) -> None:
    """Wait; Ctrl-C ends it at once."""
    nobody = threading.Event()
    while (left := moment - time.monotonic()) > 0:
        watch.on_wait(interval_s - left, interval_s)
        nobody.wait(min(left, 0.2))


def _fetch_politely(
    caller: Caller,
    path: Path,
    args: dict[str, Any],
    watch: Watch,
    delays_s: Sequence[float],
) -> Blob:
    """Fetch one snapshot, however long others keep the worker busy, up to a bound."""
    deadline = time.monotonic() + BUSY_FOR_S
    while True:
        try:
            return _fetch_stubbornly(caller, path, args, watch, delays_s)
        except (CommandError, AuthenticationError) as exc:
            rest_s = _rest_s(exc)
            if exc.code != "busy" or time.monotonic() + rest_s > deadline:
                raise
            watch.on_trouble(f"{exc}; trying again in {rest_s:g} s")
        threading.Event().wait(rest_s)


def _rest_s(busy: CommandError | AuthenticationError) -> float:
    """Return how long to wait before asking again: what the worker says, in bounds."""
    told = busy.detail.get("retry_after") if isinstance(busy, CommandError) else None
    if isinstance(told, int | float) and 0 < told < math.inf:
        return min(max(told, 0.1), BUSY_FOR_S)
    return BUSY_REST_S


def _fetch_stubbornly(
    caller: Caller,
    path: Path,
    args: dict[str, Any],
    watch: Watch,
    delays_s: Sequence[float],
) -> Blob:
    """Fetch one snapshot, calling again if the link fails. The last failure counts."""

    def attempt() -> Blob:
        return fetch(
            caller,
            path,
            args=args,
            on_progress=watch.on_fetch,
            on_trouble=watch.on_trouble,
            elsewhere="--keep DIR, or TMPDIR=DIR before the command",
        )

    for delay_s in delays_s:
        try:
            return attempt()
        except TransportError as exc:
            lasts = isinstance(exc, ConnectError | HostRefused | WorkerGone)
            if lasts or not caller.has_answered:
                raise
            watch.on_trouble(f"{exc}; trying again in {delay_s:g} s")
            caller.hang_up()
            threading.Event().wait(delay_s)
    return attempt()
