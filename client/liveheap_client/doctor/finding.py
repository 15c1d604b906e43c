"""What a check found: fine, worth knowing, or in the way; and what to type then."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class State(Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one thing; a problem has a hint with what to do about it."""

    check: str
    state: State
    said: str
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "state": self.state.value,
            "said": self.said,
            "hint": self.hint,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Finding":
        """Read what another liveheap has printed; what it may not be is a note."""
        known = {state.value: state for state in State}
        hint = fields.get("hint")
        return cls(
            str(fields.get("check", "?")),
            known.get(str(fields.get("state")), State.NOTE),
            str(fields.get("said", "")),
            None if hint is None else str(hint),
        )


def ok(check: str, said: str, hint: str | None = None) -> Finding:
    """Return that nothing is in the way; a hint says what can be done now."""
    return Finding(check, State.OK, said, hint)


def note(check: str, said: str, hint: str | None = None) -> Finding:
    """Return what is worth knowing and hinders nothing, or only something."""
    return Finding(check, State.NOTE, said, hint)


def problem(check: str, said: str, hint: str) -> Finding:
    """Return what hinders."""
    return Finding(check, State.PROBLEM, said, hint)
