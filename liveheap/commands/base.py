"""What a command is: a name, parameters, and a generator that answers.

A command is described once, here in data, and everything else is derived: the verb
of the client, its help and completion, the checks of arguments on both sides, the
scope that the agent asks for. So this room is importable on a laptop that has no
engine and no worker, and must stay so: it knows the protocol's shapes and nothing
of sockets, threads or the heap.

`run` is a generator. It yields a `Step` (something to show while one waits) or a
`Piece` (a range of a stream), and returns a result shape. Between two yields the
session looks at its socket; so a command yields often, at least ten times a second
while it waits. What a command holds it holds in a `with` or `try`: the session ends
a generator by `throw` (the client cancelled) or `close` (the client is gone), and
both run the cleanup.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope

if TYPE_CHECKING:
    from liveheap.protocol.results import Blob, Record, Table, Tree

    Shape = Record | Table | Tree | Blob

KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
LONGEST_TEXT = 1024


@dataclass(frozen=True, slots=True)
class Step:
    """Something to show: how far a command is."""

    phase: str
    done: int = 0
    total: int | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a stream: `raw_length` bytes from `offset`, packed by `codec`."""

    offset: int
    raw_length: int
    codec: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Param:
    """One argument of a command.

    `minimum` and `maximum` bound a number, `longest` a text's characters. Giving it a
    value other than the default may take a higher `scope` than the command.
    """

    name: str
    type: type
    default: object
    help: str
    metavar: str = ""
    minimum: float | None = None
    maximum: float | None = None
    scope: Scope = Scope.READ
    longest: int = LONGEST_TEXT

    def check(self, value: object) -> object:
        """Return the value as the command will see it; refuse what does not fit."""
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise self._refusal(f"must be {KINDS[self.type]}")
        if isinstance(value, (int, float)) and not self._in_bounds(value):
            raise self._refusal(f"must lie between {self.minimum} and {self.maximum}")
        if isinstance(value, str) and len(value) > self.longest:
            raise self._refusal(f"must not be longer than {self.longest} characters")
        return value

    def _in_bounds(self, value: float) -> bool:
        low = float("-inf") if self.minimum is None else self.minimum
        high = float("inf") if self.maximum is None else self.maximum
        return low <= value <= high

    def _refusal(self, what: str) -> CommandError:
        return CommandError("bad-argument", f"{self.name} {what}")


def max_pause(refusal: str = "refuse if the predicted stop is longer") -> Param:
    """Return the bound that a client sets on a stop; its owner's holds besides."""
    return Param("max_pause_ms", float, 100.0, refusal, "MS", minimum=0, maximum=60_000)


Run = Callable[..., "Generator[Step | Piece, None, Shape]"]


@dataclass(frozen=True, slots=True)
class Command:
    """One question an agent answers.

    A heavy command is one that stops the worker for more than a moment or needs
    memory; one of them runs at a time in a worker. One that is no verb is asked by a
    verb of another name alone.
    """

    name: str
    scope: Scope
    heavy: bool
    help: str
    params: tuple[Param, ...]
    run: Run
    is_verb: bool = True

    @property
    def summary(self) -> str:
        """The first line of the help."""
        return self.help.strip().partition("\n")[0]

    def scope_of(self, args: Mapping[str, Any]) -> Scope:
        """Return the scope that the command takes with these arguments."""
        given = (p for p in self.params if args.get(p.name, p.default) != p.default)
        return max((self.scope, *(param.scope for param in given)))

    def check(self, args: Mapping[str, Any]) -> dict[str, object]:
        """Return all arguments of `run`, defaults filled in.

        Raises:
            CommandError: `bad-argument`, for an unknown name or a value that does
                not fit.
        """
        known = {param.name: param for param in self.params}
        unknown = sorted(str(name)[:64] for name in args if name not in known)
        if unknown:
            raise CommandError(
                "bad-argument",
                f"{self.name} has no argument {unknown[0]!r}",
                hint=f"it has: {', '.join(known) or 'none'}",
            )
        return {
            name: param.check(args[name]) if name in args else param.default
            for name, param in known.items()
        }
