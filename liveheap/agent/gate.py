"""What a session may ask: the one place where that is decided.

Asked for each request, before its command is looked up among all there are: a session
has a table of the commands of its scope, and what is not in it cannot be run, whatever
its arguments. The words differ for a command that a higher scope has, since which
commands there are is no secret of the worker's (they stand in liveheap.commands), and
who asks must learn what to ask for.

A session that has lost its right, because its key's time is over, the token was
replaced or the kill switch is thrown, is told so and ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from liveheap.commands import COMMANDS, Command
from liveheap.errors import CommandError
from liveheap.protocol.auth import Agreed, Scope

ALLOWED: Mapping[Scope, Mapping[str, Command]] = {
    scope: {command.name: command for command in COMMANDS if command.scope <= scope}
    for scope in Scope
}


def never() -> bool:
    """The token of a session that no token opened."""
    return False


def offered(ceiling: Scope) -> list[dict[str, object]]:
    """Return the scopes, what each adds to those below it, and which are open."""
    return [
        {
            "scope": scope.label,
            "open": scope <= ceiling,
            "commands": [*_added_by(scope)],
        }
        for scope in Scope
    ]


def _added_by(scope: Scope) -> Iterator[str]:
    """Yield the verbs that take a scope, and the arguments that do."""
    for command in COMMANDS:
        if command.is_verb and command.scope == scope:
            yield command.name
        for param in command.params:
            if scope == param.scope > command.scope:
                yield f"{command.name} --{param.name.replace('_', '-')}"


class Gate:
    """What one session may ask, and for how long."""

    __slots__ = ("_agreed", "_allowed", "_is_stale", "_is_switched_off")

    def __init__(
        self,
        agreed: Agreed,
        is_stale: Callable[[], bool],
        is_switched_off: Callable[[], bool],
    ) -> None:
        self._agreed = agreed
        self._allowed = ALLOWED[agreed.scope]
        self._is_stale = is_stale
        self._is_switched_off = is_switched_off

    def why_over(self) -> str | None:
        """Why this session may ask nothing any more; None if it may."""
        expiry = self._agreed.expiry
        if expiry and time.time() >= expiry:
            return "the key of this session has expired"
        if self._is_stale():
            return "the token was replaced since this session began"
        if self._is_switched_off():
            return "liveheap is switched off here: a file `disabled` says so"
        return None

    def admit(self, name: str) -> Command:
        """Return the command that a request names.

        Raises:
            CommandError: there is none of that name in this session's scope.
        """
        command = self._allowed.get(name)
        if command is not None:
            return command
        for scope in Scope:
            if name in ALLOWED[scope]:
                raise self._too_low(name, scope)
        raise CommandError(
            "unknown-command",
            f"this agent has no command {name[:64]!r}",
            hint=f"in scope {self._agreed.scope.label} it has: "
            + ", ".join(self._allowed),
        )

    def check(self, command: Command, args: Mapping[str, Any]) -> dict[str, object]:
        """Return a command's arguments, defaults filled in.

        Raises:
            CommandError: one does not fit, or takes a higher scope.
        """
        checked = command.check(args)
        needed = command.scope_of(checked)
        if needed > self._agreed.scope:
            raise self._too_low(f"{command.name} with these arguments", needed)
        return checked

    def _too_low(self, what: str, needed: Scope) -> CommandError:
        return CommandError(
            "scope",
            f"{what} needs scope {needed.label}, "
            f"this session has {self._agreed.scope.label}",
            hint=f"open a session of scope {needed.label}",
        )
