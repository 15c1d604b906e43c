"""What a verb is: a name, help, parameters and what it does at a desk."""

from collections.abc import Callable
from dataclasses import dataclass

import click


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
    in_shell: bool = True

    @property
    def summary(self) -> str:
        """Return the first sentence of the help."""
        return self.help.strip().split("\n\n")[0].split(". ")[0].rstrip(".") + "."


def target_argument() -> click.Argument:
    """Return the optional TARGET."""
    return click.Argument(["target"], required=False)


def places_argument() -> click.Argument:
    """Return TARGET, or snapshot files."""
    return click.Argument(
        ["places"], nargs=-1, metavar="[TARGET|FILE...]", type=click.Path()
    )


def json_option() -> click.Option:
    """Return --json, which every verb with a result has."""
    return click.Option(["as_json", "--json"], is_flag=True, help="Print JSON.")
