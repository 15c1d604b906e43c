"""`report`: one page that shows what snapshots hold, and what grew between them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liveheap import __version__
from liveheap_client.analysis.sentence import Places
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.progress import bar
from liveheap_client.render.units import human_bytes
from liveheap_client.verbs.base import Verb, places_argument
from liveheap_client.verbs.load import load, series
from liveheap_client.verbs.order import in_order
from liveheap_client.verbs.output import refuse, write

if TYPE_CHECKING:
    from liveheap_client.analysis.growth import Series
    from liveheap_client.report.page import Material

DEFAULT_OUTPUT = "liveheap-report.html"
_HELP = """Write what snapshots hold, and what grew between them, as one page.

The page is a single HTML file that asks no network for anything: a verdict, charts,
sortable tables, what the heap consists of, and who refers to what grows. One snapshot
shows what holds most; growth takes two or more, a verdict four. Oldest first.
"""


def perform(
    desk: Desk, *, places: Sequence[str], output: str, force_overwrite: bool
) -> int:
    """Read the files, write the page, say where it is."""
    from liveheap_client.report.page import page  # noqa: PLC0415 - numpy is slow

    paths = [Path(place) for place in places]
    if not paths and desk.newest is not None:
        paths = [desk.newest]
    if not paths:
        raise UsageError(
            "a report needs a snapshot file", hint="liveheap report A.liveheap ..."
        )
    paths = in_order(desk, paths)
    out = Path(output)
    refuse(out, option="-o", replace=force_overwrite)
    text = page(gather(desk, paths))
    write(out, text, option="-o")
    desk.terminal.show([str(out)])
    desk.terminal.say(f"{human_bytes(len(text.encode()))}; open it in any browser")
    return 0


def gather(desk: Desk, paths: Sequence[Path]) -> "Material":
    """Read the files, one graph at a time, and describe the newest in depth."""
    from liveheap_client.analysis import portrait  # noqa: PLC0415 - numpy is slow
    from liveheap_client.analysis.paths import PathNodes  # noqa: PLC0415
    from liveheap_client.report.page import Material  # noqa: PLC0415
    from liveheap_client.report.suspects import carded  # noqa: PLC0415

    rounds: list[dict[str, Any]] = []
    found = series()
    with bar(desk.terminal) as progress:
        for number, path in enumerate(paths, 1):
            progress.update(f"reading {path.name}", done=number, total=len(paths))
            graph = load(path)
            rounds.append(portrait.round_of(graph, path.name))
            nodes = PathNodes.of(graph)
            if len(paths) > 1:
                found.add(graph, nodes)
            if number < len(paths):
                del graph, nodes  # or they would stay while the next one is read
        progress.update(f"describing {paths[-1].name}")
        growth = conclusion(found, paths[-1]) if len(paths) > 1 else None
        shown = [suspect for _, suspect in carded(growth)] if growth else []
        newest = portrait.of(nodes, [suspect["path"] for suspect in shown])
    return Material(
        rounds=rounds,
        growth=growth,
        types=newest.types,
        holdings=newest.holdings,
        retained=newest.retained,
        backrefs=newest.backrefs,
        tool=f"liveheap {__version__}",
    )


def conclusion(found: "Series", newest: Path) -> dict[str, Any]:
    """Return what the rounds tell, and what to type next: for a file, or a target."""
    return found.report().to_json(Places("TARGET", newest.name, None))


VERB = Verb(
    name="report",
    help=_HELP,
    perform=perform,
    params=(
        click.Option(
            ["output", "-o", "--output"],
            default=DEFAULT_OUTPUT,
            show_default=True,
            metavar="FILE",
            help="Write the page here.",
        ),
        click.Option(
            ["--force-overwrite"], is_flag=True, help="Replace a file of that name."
        ),
        places_argument("FILE..."),
    ),
    connects=False,
)
