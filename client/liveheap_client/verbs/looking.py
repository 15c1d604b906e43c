"""What the verbs that look into a graph share: their filters, sizes and notes."""

import re
from typing import TYPE_CHECKING

import click

from liveheap_client.desk import Desk
from liveheap_client.verbs.base import Count

if TYPE_CHECKING:
    from liveheap_client.analysis.filters import Filter
    from liveheap_client.analysis.graph import HeapGraph

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE)
_STEPS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}

NOTHING_LEFT = "nothing is left: --type, --module and --min-size leave out all of it"
LIVE_HELP = """Reads a snapshot file, or takes a snapshot of TARGET first, which stops
the worker as long as one fork takes. In a shell the newest snapshot is used."""


def _size(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> int | None:
    """Return bytes as people write them: 4096, 10K, 1.5 MiB."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no size; write 4096, 10K or 1.5MiB")
    return int(float(match[1]) * 1024 ** _STEPS[match[2].upper()])


def filter_options() -> tuple[click.Option, ...]:
    """Return --type, --module and --min-size."""
    return (
        click.Option(
            ["kept_type", "--type"],
            metavar="GLOB",
            help="Only objects of such a type: app.Row, 'app.*'.",
        ),
        click.Option(
            ["kept_module", "--module"],
            metavar="GLOB",
            help="Only objects whose type is from such a module.",
        ),
        size_option("Only what retains at least this much: 4096, 10K, 1.5MiB."),
    )


def size_option(text: str) -> click.Option:
    """Return --min-size."""
    return click.Option(
        ["min_size", "--min-size"], callback=_size, metavar="SIZE", help=text
    )


def filter_of(
    kept_type: str | None, kept_module: str | None, min_size: int | None
) -> "Filter":
    """Return what the options ask for."""
    from liveheap_client.analysis.filters import Filter  # noqa: PLC0415 - numpy is slow

    return Filter(kept_type, kept_module, min_size)


def number_option(flag: str, default: int, most: int, text: str) -> click.Option:
    """Return an option that says how many or how deep."""
    return click.Option(
        [flag],
        type=Count(1, most),
        default=default,
        show_default=True,
        metavar="N",
        help=text,
    )


def say_if_truncated(desk: Desk, graph: "HeapGraph") -> None:
    """Say on stderr what weakens an answer from this graph."""
    if graph.truncated:
        desk.terminal.say("note: the snapshot is not complete; sizes are too small")
