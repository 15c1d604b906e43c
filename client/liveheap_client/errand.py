"""What a bridge is sent to do: list the workers of its machine, or lead to one of them.

`liveheap bridge` is told in words of its command line, the relay that stands in for it
(transport/relay.py) in one map: it is sent along with the program.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from liveheap.protocol.auth import MIN_VERSION, VERSION, Scope
from liveheap.protocol.exchange import MEANS, REFUSALS
from liveheap_client.target import Target

_OWN_WORDS = {"--pid": "pid", "--name": "name", "--port": "port"}


@dataclass(frozen=True, slots=True)
class Errand:
    """Which worker, and for what; without a scope: all of them, as a list."""

    scope: Scope | None = None
    is_raw: bool = False
    """Whoever sends it holds a key of his own, and shakes hands himself."""
    pid: int | None = None
    name: str | None = None
    port: int | None = None

    @classmethod
    def to(cls, target: Target, scope: Scope, *, is_raw: bool = False) -> "Errand":
        """Return what leads to a target."""
        if target.port is not None:  # a gateway is asked for the worker, from here
            return cls(scope, is_raw, port=target.port)
        return cls(scope, is_raw, target.pid, target.name)

    def as_told(self, words: Sequence[str]) -> "Errand":
        """Return this errand with the worker that a person told a bridge already."""
        told: dict[str, Any] = {}
        for option, value in pairwise(words):
            if option in _OWN_WORDS:
                is_number = option != "--name" and value.isascii() and value.isdigit()
                told[_OWN_WORDS[option]] = int(value) if is_number else value
        return replace(self, **told)

    def words(self) -> list[str]:
        """Return the arguments of `liveheap bridge`."""
        if self.scope is None:
            return ["--list"]
        words = ["--scope", self.scope.label, "--protocol", str(VERSION)]
        words = ["--raw"] if self.is_raw else words
        for option, name in _OWN_WORDS.items():
            value = getattr(self, name)
            words += [] if value is None else [option, str(value)]
        return words

    def fields(self, timeout_s: float) -> dict[str, Any]:
        """Return what the relay is told; the words of refusals are ours, not its."""
        if self.scope is None:
            return {"listing": True}
        words = {
            "agent": "{agent}",
            "client": VERSION,
            "scope": self.scope.label,
            "means": MEANS[self.scope],
        }
        return {
            "listing": False,
            "raw": self.is_raw,
            "scope": int(self.scope),
            "protocols": [MIN_VERSION, VERSION],
            "pid": self.pid,
            "name": self.name,
            "port": self.port,
            "timeout_s": max(1, round(timeout_s)),
            "refusals": {
                int(status): [
                    code,
                    message.format_map(words),
                    hint and hint.format_map(words),
                ]
                for status, (code, message, hint) in REFUSALS.items()
            },
        }
