"""`snapshot`: the heap's graph of a worker, into a file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from liveheap.commands.snapshot import SNAPSHOT
from liveheap.protocol.results import Blob
from liveheap_client.commands.fetch import (
    Fetched,
    OnFetched,
    OnTrouble,
    default_path,
    fetch,
    refuse_overwrite,
)
from liveheap_client.desk import Desk
from liveheap_client.progress import Bar, bar
from liveheap_client.render.flags import reservations
from liveheap_client.render.units import human_bytes, human_count, human_seconds
from liveheap_client.verbs.ask import help_text, option
from liveheap_client.verbs.base import Verb, json_option, target_argument

# The lease is between fetch and the agent.
SNAPSHOT_OPTIONS = tuple(option(p) for p in SNAPSHOT.params if p.name != "lease_s")
# Rounds are compared by paths: hashes and contents would only make them larger.
EXTRAS = ("texts", "values")
ROUND_OPTIONS = tuple(o for o in SNAPSHOT_OPTIONS if o.name not in EXTRAS)


def perform(
    desk: Desk,
    *,
    as_json: bool,
    output: str | None,
    force_overwrite: bool,
    target: str | None = None,
    **args: Any,
) -> int:
    """Take one snapshot and say what it is."""
    path = None if output is None else Path(output)
    if path is not None:
        refuse_overwrite(path, replace=force_overwrite)
    for word in EXTRAS:
        if not args.get(word):
            args.pop(word, None)  # an older agent does not know the word
    with desk.caller(target) as caller, bar(desk.terminal) as progress:
        scope = SNAPSHOT.scope_of(args)
        if path is None:
            path = default_path(caller.session(scope).ident.pid)
            refuse_overwrite(path)
        blob = fetch(
            caller,
            path,
            args=args,
            scope=scope,
            on_progress=teller(progress),
            on_trouble=troubles(desk, progress),
        )
    desk.newest = path
    if as_json:
        desk.terminal.show_json(
            {"path": str(path), "header": blob.header, "trailer": blob.trailer}
        )
        return 0
    desk.terminal.show([str(path)])
    desk.terminal.say(summary(blob, os.path.getsize(path)))
    return 0


def changed_options(args: Mapping[str, Any]) -> list[str]:
    """Return the options of a snapshot that do not have their default value."""
    defaults = {param.name: param.default for param in SNAPSHOT.params}
    return [
        f"--{name.replace('_', '-')}"
        for name, value in args.items()
        if value != defaults.get(name)
    ]


def teller(progress: Bar, title: str = "snapshot") -> OnFetched:
    """Return what keeps a bar up to date while a snapshot comes in."""

    def tell(so_far: Fetched) -> None:
        text = (
            f"{title}: {human_count(so_far.nodes)} objects, "
            f"{human_bytes(so_far.stored_bytes)} received"
        )
        progress.update(text if so_far.phase == "snapshot" else so_far.phase)

    return tell


def troubles(desk: Desk, progress: Bar) -> OnTrouble:
    """Return what says that a link dropped, and what becomes of it."""

    def tell(what: str) -> None:
        with progress.aside():
            desk.terminal.say(what)

    return tell


def summary(blob: Blob, stored_bytes: int) -> str:
    """Say what a snapshot holds and what it cost."""
    trailer = blob.trailer
    parts = [
        f"{_count(trailer, 'nodes')} objects, {_count(trailer, 'edges')} references, "
        f"{human_bytes(stored_bytes)}",
        f"the worker stopped for {human_seconds(_number(trailer, 'pause_ns') / 1e9)}",
    ]
    if trailer.get("complete") is not True:
        parts.append(f"TRUNCATED: {trailer.get('reason') or 'the walk did not end'}")
    parts += reservations(trailer.get("flags"))
    return "; ".join(parts)


def _number(trailer: dict[str, Any], name: str) -> float:
    value = trailer.get(name)
    return value if isinstance(value, int | float) else 0


def _count(trailer: dict[str, Any], name: str) -> str:
    return human_count(int(_number(trailer, name)))


VERB = Verb(
    name="snapshot",
    help=help_text(SNAPSHOT),
    perform=perform,
    params=(
        click.Option(
            ["output", "-o", "--output"],
            metavar="FILE",
            help="Write it here (default: PID-TIME.liveheap).",
        ),
        click.Option(
            ["--force-overwrite"], is_flag=True, help="Replace a file of that name."
        ),
        *SNAPSHOT_OPTIONS,
        json_option(),
    ),
    target_params=(target_argument(),),
)
