"""`export`: snapshots in the formats of other tools."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liveheap_client.commands.fetch import SUFFIX, default_path
from liveheap_client.desk import Desk
from liveheap_client.errors import ClientError, UsageError
from liveheap_client.export import FORMATS
from liveheap_client.progress import bar
from liveheap_client.render.units import human_bytes, human_count
from liveheap_client.verbs.base import Verb, json_option, places_argument
from liveheap_client.verbs.load import graph_of
from liveheap_client.verbs.places import is_snapshot

if TYPE_CHECKING:
    from liveheap_client.analysis.graph import HeapGraph
    from liveheap_client.export.base import Exporter

_HELP = """Write snapshots in the formats of other tools.

\b
heapsnapshot  Memory panel of Chrome's DevTools, memlab
pprof         go tool pprof, and whatever reads its profiles; -base shows growth
parquet       DuckDB, pandas, polars: a directory of tables
dot           Graphviz: what dominates what, or what refers to --type

Reads snapshot files, or takes a snapshot of TARGET first, which stops the worker as
long as one fork takes. No value of the heap is written: names of types, attributes and
code, sizes, lengths. Several at once are files to compare, in the directory -o.

The tables of parquet:

\b
nodes  node kind type bytes retained idom path root refcount address part_of own
edges  source target kind name owns
types  type module qualname count bytes
"""


def perform(
    desk: Desk,
    *,
    places: Sequence[str],
    format_name: str,
    type_name: str | None,
    output: str | None,
    force_overwrite: bool,
    as_json: bool,
) -> int:
    """Read, write, say what was written."""
    from liveheap_client.export.formats import exporter  # noqa: PLC0415 - numpy is slow

    if type_name is not None and format_name != "dot":
        raise UsageError("--type is for --format dot", hint="liveheap export --help")
    job = _Job(
        exporter(format_name, type_name=type_name),
        output=None if output is None else Path(output),
        several=len(places) > 1,
        replace=force_overwrite,
    )
    job.check(places)
    rows = []
    wanted: Sequence[str | None] = places or [None]
    for place in wanted:
        rows.append(_export(desk, job, place))
        if not as_json:
            _tell(desk, rows[-1])
    if as_json:
        desk.terminal.show_json({"format": format_name, "exports": rows})
    return 0


@dataclass(frozen=True, slots=True)
class _Job:
    """One format, and where what it writes goes."""

    exporter: "Exporter"
    output: Path | None
    several: bool
    replace: bool

    def check(self, places: Sequence[str]) -> None:
        """Raise UsageError for what can be known before a worker is disturbed."""
        stems = [_stem(place) for place in places if is_snapshot(place)]
        if len(set(stems)) < len(stems):
            raise UsageError(
                "two of these files have the same name, and so would their exports",
                hint="export them one by one",
            )
        if self.several and self.output is not None:
            _make_directory(self.output)
        elif self.output is not None:
            self.refuse(self.output)

    @property
    def directory(self) -> Path:
        """Where the exports lie."""
        if self.output is None or self.several:
            return self.output or Path()
        return self.output.parent

    def place_of(self, stem: str, flags: Sequence[str]) -> Path:
        """Return where an export goes; a name of ours bears its flags."""
        if self.output is not None and not self.several:
            return self.output
        place = self.directory / (".".join([stem, *flags]) + self.exporter.suffix)
        self.refuse(place)
        return place

    def refuse(self, place: Path) -> None:
        """Raise UsageError if something is at `place` that must not be replaced."""
        if not os.path.lexists(place):
            return
        directory = self.exporter.writes_directory
        if str(place) == "-" or (place.exists() and not _fits(place, directory)):
            kind = "directory" if directory else "file"
            raise UsageError(
                f"this format is a {kind}, and {place} is none",
                hint=f"-o names a {kind}",
            )
        if not self.replace:
            raise UsageError(
                f"{place} exists already",
                hint="-o NAME, or --force-overwrite to replace it",
            )


def _export(desk: Desk, job: _Job, origin: str | None) -> dict[str, Any]:
    """Export one snapshot; return what there is to say of it."""
    from liveheap_client.export.base import publish  # noqa: PLC0415 - numpy is slow

    graph = graph_of(desk, origin)
    stem = _stem(origin) if origin and is_snapshot(origin) else _live_stem(graph)
    began = time.monotonic()
    with bar(desk.terminal) as progress, _writing(job.directory) as part:
        progress.update(f"exporting {stem}")
        written = job.exporter.write(
            graph,
            part,
            lambda text, done, total: progress.update(
                f"{stem}: {text}", done=done, total=total
            ),
        )
        place = job.place_of(stem, written.flags)
        publish(part, place)
    return {
        "path": str(place),
        **asdict(written),
        "seconds": round(time.monotonic() - began, 3),
    }


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[Path]:
    """Lend a place to write to; what the disk refuses becomes an error of ours."""
    from liveheap_client.export.base import unpublished  # noqa: PLC0415 - numpy is slow

    try:
        with unpublished(directory) as part:
            yield part
    except OSError as exc:
        raise ClientError(
            f"cannot write into {directory}: {exc.strerror or exc}",
            hint="another place: -o NAME",
        ) from exc


def _tell(desk: Desk, row: Mapping[str, Any]) -> None:
    desk.terminal.show([row["path"]])
    parts = [f"{human_count(row['nodes'])} objects"]
    if row["edges"] is not None:
        parts.append(f"{human_count(row['edges'])} references")
    if row["bytes"] is not None:
        parts.append(f"{human_bytes(row['bytes'])} of heap")
    desk.terminal.say(", ".join(parts))
    for note in row["notes"]:
        desk.terminal.say(f"note: {note}")


def _stem(place: str) -> str:
    return Path(place).name.removesuffix(SUFFIX)


def _live_stem(graph: "HeapGraph") -> str:
    pid = graph.header.get("pid")
    return default_path(pid if isinstance(pid, int) else 0).stem


def _fits(place: Path, directory: bool) -> bool:
    return place.is_dir() if directory else place.is_file()


def _make_directory(place: Path) -> None:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(
            f"cannot make the directory {place}: {exc.strerror}",
            hint="-o names a directory, for these are several",
        ) from exc


VERB = Verb(
    name="export",
    help=_HELP,
    perform=perform,
    params=(
        click.Option(
            ["format_name", "--format"],
            type=click.Choice(FORMATS),
            required=True,
            help="What to write.",
        ),
        click.Option(
            ["type_name", "--type"],
            metavar="TYPE",
            help="dot: who refers to TYPE (default: the dominator tree).",
        ),
        click.Option(
            ["output", "-o", "--output"],
            metavar="FILE",
            help="Write it here (default: the snapshot's name, here). Of several: DIR.",
        ),
        click.Option(
            ["--force-overwrite"], is_flag=True, help="Replace what has that name."
        ),
        json_option(),
    ),
    target_params=(places_argument("[TARGET|FILE...]"),),
    shell_params=(places_argument("[FILE...]"),),
)
