"""The stop that a command is foretold to cause, held against what the owner allows."""

from __future__ import annotations

from liveheap.commands.context import Context
from liveheap.errors import CommandError


def refuse_above_owners(ctx: Context, what: str, expected_ms: float) -> None:
    """Raise CommandError("refused") if that is more than any client can be allowed."""
    if expected_ms > ctx.rails.max_pause:
        raise CommandError(
            "refused",
            f"{what} would stop the worker for about {expected_ms:.0f} ms, and its "
            f"owner allows {ctx.rails.max_pause:g} ms at most",
            hint="LIVEHEAP_MAX_PAUSE of the worker says so; no client can raise it",
            detail={"cause": "pause"},
        )
