"""What a verb is: a name, help, parameters and what it does at a desk."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from liveheap.protocol.auth import Scope
from liveheap_client import workers
from liveheap_client.commands.fetch import SUFFIX


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the command line and, mostly, of the shell.

    `perform` gets the desk and the parameters by name, and returns an exit code.
    `target_params` exist on the command line only, `shell_params` in the shell only;
    what both have is in `params`.
    """

    name: str
    help: str
    perform: Callable[..., int]
    params: tuple[click.Parameter, ...] = ()
    target_params: tuple[click.Parameter, ...] = ()
    shell_params: tuple[click.Parameter, ...] = ()
    connects: bool = True
    scope: Scope = Scope.GRAPH
    """What it takes, where it asks a worker."""
    in_shell: bool = True

    @property
    def whole_help(self) -> str:
        """Return the help, and the scope that it takes."""
        if not self.connects:
            return self.help
        of_owner = ""
        if self.scope > Scope.GRAPH:
            of_owner = (
                f"; the worker's owner allows it: LIVEHEAP_ALLOW={self.scope.label}"
            )
        return f"{self.help.rstrip()}\n\nScope: {self.scope.label}{of_owner}."

    @property
    def summary(self) -> str:
        """Return the first sentence of the help."""
        return self.help.strip().split("\n\n")[0].split(". ")[0].rstrip(".") + "."


class Amount(click.FloatRange):
    """A number in a range; `nan` is none, although it compares with nothing."""

    name = "number"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not an amount.", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number in a range."""

    name = "whole number"


def target_argument() -> click.Argument:
    """Return the optional TARGET."""
    return click.Argument(["target"], required=False, shell_complete=_complete_target)


def places_argument(metavar: str) -> click.Argument:
    """Return snapshot files, or where a target is possible, one of those."""
    return click.Argument(
        ["places"],
        nargs=-1,
        metavar=metavar,
        type=click.Path(readable=False),
        shell_complete=_complete_place,
    )


def place_argument(metavar: str) -> click.Argument:
    """Return one snapshot file, or a target."""
    return click.Argument(
        ["place"],
        required=False,
        metavar=metavar,
        type=click.Path(readable=False),
        shell_complete=_complete_place,
    )


def _complete_place(
    context: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Return workers and snapshots; the shell's own files where neither fits."""
    snapshots = [
        CompletionItem(path.name)
        for path in sorted(Path().glob(f"*{SUFFIX}"))
        if path.name.startswith(typed)
    ]
    found = [*_complete_target(context, parameter, typed), *snapshots]
    return found or [CompletionItem(typed, type="file")]


def _complete_target(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Return the workers here whose pid begins with what was typed."""
    return [
        CompletionItem(str(worker.pid), help=worker.title)
        for worker in workers.local(os.environ)
        if str(worker.pid).startswith(typed)
    ]


def json_option() -> click.Option:
    """Return --json, which every verb with a result has."""
    return click.Option(["as_json", "--json"], is_flag=True, help="Print JSON.")
