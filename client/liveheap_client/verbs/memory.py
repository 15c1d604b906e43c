"""`memory`: where resident memory goes, and why it grew since an earlier look."""

import json
import time
from pathlib import Path
from typing import Any

import click

from liveheap.commands.histogram import HISTOGRAM
from liveheap.commands.memory import MEMORY
from liveheap.protocol.messages import Progress
from liveheap.protocol.results import Record
from liveheap_client.analysis import breakdown
from liveheap_client.commands.rounds import seconds
from liveheap_client.desk import Desk
from liveheap_client.errors import ClientError, UsageError
from liveheap_client.progress import Bar, bar
from liveheap_client.render import memory as memory_text
from liveheap_client.render.units import human_seconds
from liveheap_client.session import Session
from liveheap_client.verbs.ask import help_text
from liveheap_client.verbs.base import Verb, json_option, target_argument

STEP_S = 0.2


def perform(
    desk: Desk,
    *,
    since: str | None,
    interval: str | None,
    walk: bool,
    as_json: bool,
    target: str | None = None,
) -> int:
    """Take one breakdown, or two; show it with its growth."""
    if since is not None and interval is not None:
        raise UsageError(
            "--since and --interval exclude each other",
            hint="--since FILE compares with a file, --interval SPAN looks twice",
        )
    earlier = None if since is None else read(Path(since))
    wait_s = None if interval is None else seconds(interval)
    with desk.caller(target) as caller, bar(desk.terminal) as progress:
        progress.update(MEMORY.name)
        session = caller.session(MEMORY.scope)
        if wait_s is not None:
            earlier = look(session, walk=walk)
            wait(progress, wait_s)
            session = caller.session(MEMORY.scope)
        now = look(session, walk=walk)
    report = report_of(now, earlier)
    if as_json:
        desk.terminal.show_json(report)
    else:
        desk.terminal.show(memory_text.lines(report, look=desk.terminal.look))
    return 0


def look(session: Session, *, walk: bool) -> dict[str, Any]:
    """Return a breakdown; with `walk` also the number and bytes of objects."""
    shape = session.request(MEMORY.name)
    if not isinstance(shape, Record):
        raise ClientError(f"{MEMORY.name} answered with no record")
    record = shape.as_dict()
    return record | walked(session) if walk else record


def walked(session: Session) -> dict[str, int]:
    """Return the number and bytes of all objects, counted in a fork of the worker."""
    found: dict[str, int] = {}

    def note(event: Progress) -> None:
        size = event.detail.get("bytes")
        if isinstance(size, int):
            found.update(walked_bytes=size, walked_objects=event.done)

    session.request(HISTOGRAM.name, {"top": 1}, on_progress=note)
    return found


def wait(progress: Bar, wait_s: float) -> None:
    """Let some time pass, and say how much is left of it."""
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0:
        title = f"again in {human_seconds(max(round(left), 1))}"
        progress.update(title, done=wait_s - left, total=wait_s)
        time.sleep(min(left, STEP_S))


def report_of(now: dict[str, Any], earlier: dict[str, Any] | None) -> dict[str, Any]:
    """Return what --json prints."""
    notes = breakdown.doubts(now)
    grown, found = None, []
    if earlier is not None:
        if not breakdown.is_same_process(earlier, now):
            notes.append("the earlier figures are of another process")
        grown = breakdown.growth(earlier, now)
        found = breakdown.causes(earlier, now)
    return {
        "memory": now,
        "since": earlier,
        "growth": grown,
        "causes": [cause.to_json() for cause in found],
        "remarks": [cause.to_json() for cause in breakdown.remarks(now)],
        "doubts": notes,
    }


def read(path: Path) -> dict[str, Any]:
    """Return the breakdown in a file that `memory --json` wrote.

    Raises:
        ClientError: it cannot be read, or is something else.
    """
    hint = "liveheap memory TARGET --json > FILE writes one"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not JSON"
        raise ClientError(f"cannot read {path}: {reason}", hint=hint) from exc
    memory = found.get("memory") if isinstance(found, dict) else None
    if not isinstance(memory, dict) or not isinstance(memory.get("rss"), int):
        raise ClientError(f"{path} holds no breakdown of memory", hint=hint)
    return memory


VERB = Verb(
    name=MEMORY.name,
    help=help_text(MEMORY),
    scope=MEMORY.scope,
    perform=perform,
    params=(
        click.Option(
            ["--since"],
            metavar="FILE",
            type=click.Path(),
            help="Compare with what --json wrote into FILE earlier.",
        ),
        click.Option(["--interval"], metavar="SPAN", help="Look twice: 600, 30s, 10m."),
        click.Option(
            ["--walk"],
            is_flag=True,
            help="Count all objects, too (a fork): tells native memory from theirs.",
        ),
        json_option(),
    ),
    target_params=(target_argument(),),
)
