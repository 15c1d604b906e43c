"""`strings`: str and bytes that a worker holds more than once."""

from typing import TYPE_CHECKING

from liveheap.protocol.results import Column, Table
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.progress import bar
from liveheap_client.render.units import human_bytes, human_count
from liveheap_client.verbs.ask import show
from liveheap_client.verbs.base import Verb, json_option, place_argument
from liveheap_client.verbs.load import graph_of
from liveheap_client.verbs.looking import (
    LIVE_HELP,
    number_option,
    say_if_truncated,
    size_option,
)

if TYPE_CHECKING:
    from liveheap_client.analysis.texts import Duplicate, Duplicates

PATHS = (
    Column("holder", "text"),
    Column("copies", "count"),
    Column("contents", "count"),
    Column("wasted", "bytes"),
)
CONTENTS = (
    Column("holder", "text"),
    Column("type", "text"),
    Column("copies", "count"),
    Column("elsewhere", "count"),
    Column("length", "count"),
    Column("wasted", "bytes"),
)
_HELP = f"""Rank texts that are there more than once by what their copies waste.

Wasted is what would go if each content of str or bytes were there once. First by the
path that holds the copies; then by content: `holder` is the path with the most copies
of it, `elsewhere` the copies that other paths hold.

The contents stay in the worker: equal ones are told by a hash whose key was made for
that snapshot. A file has hashes if it was taken with `liveheap snapshot --texts`, and
the beginnings of contents if with `--texts --values`.

{LIVE_HELP}
"""


def perform(
    desk: Desk, *, place: str | None, limit: int, min_size: int | None, as_json: bool
) -> int:
    """Group, rank, show."""
    from liveheap_client.analysis import texts  # noqa: PLC0415 - numpy is slow

    graph = graph_of(desk, place, args={"texts": True})
    if not texts.has_hashes(graph):
        raise UsageError(
            "the snapshot has no hashes of texts, so equal ones cannot be told",
            hint="take one that has: liveheap snapshot --texts TARGET",
        )
    with bar(desk.terminal) as progress:
        progress.update("finding equal texts")
        found = texts.duplicates(graph, limit=limit, least=min_size or 0)
    if as_json:
        desk.terminal.show_json(found.to_json())
        return 0
    desk.terminal.show([_total(found)])
    if found.rows:
        held = tuple((p.path, p.copies, p.contents, p.wasted) for p in found.paths)
        show(desk, Table(PATHS, held), as_json=False)
        desk.terminal.show([""])
        show(desk, _contents(found, told=len(graph.previews) > 0), as_json=False)
    paths = found.n_paths - len(found.paths)
    contents = found.contents - len(found.rows)
    if paths or contents:
        desk.terminal.say(
            f"{human_count(paths)} more paths and {human_count(contents)} more "
            "contents waste less: --limit"
        )
    say_if_truncated(desk, graph)
    return 0


def _total(found: "Duplicates") -> str:
    copies, contents = human_count(found.copies), human_count(found.contents)
    return (
        f"{human_bytes(found.wasted)} wasted: {copies} objects with {contents} contents"
        f", of {human_count(found.texts)} texts of {human_bytes(found.bytes)}"
    )


def _contents(found: "Duplicates", *, told: bool) -> Table:
    """Return the contents, with what they are where the file tells."""
    rows = tuple(map(_row, found.rows))
    if not told:
        return Table(CONTENTS, rows)
    contents = (each.content for each in found.rows)
    known = tuple((*row, text) for row, text in zip(rows, contents, strict=True))
    return Table((*CONTENTS, Column("content", "text")), known)


def _row(each: "Duplicate") -> tuple[str, str, int, int, int, int]:
    most = each.holders[0]
    elsewhere = each.copies - most.copies
    return (most.path, each.type, each.copies, elsewhere, each.length, each.wasted)


VERB = Verb(
    name="strings",
    help=_HELP,
    perform=perform,
    params=(
        number_option("--limit", 10, 100_000, "Show this many paths and contents."),
        size_option("Only contents whose copies waste at least this much: 4096, 10K."),
        json_option(),
    ),
    target_params=(place_argument("[TARGET|FILE]"),),
    shell_params=(place_argument("[FILE]"),),
)
