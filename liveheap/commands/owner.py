"""What a worker's owner allows, held against what a client asks for."""

from __future__ import annotations

from liveheap.commands.context import Context
from liveheap.errors import CommandError


def refuse_above_owners(ctx: Context, what: str, expected_ms: float) -> None:
    """Raise CommandError("refused") if that is a longer stop than any may be."""
    if expected_ms > ctx.rails.max_pause:
        raise CommandError(
            "refused",
            f"{what} would stop the worker for about {expected_ms:.0f} ms, and its "
            f"owner allows {ctx.rails.max_pause:g} ms at most",
            hint="LIVEHEAP_MAX_PAUSE of the worker says so; no client can raise it",
            detail={"cause": "pause"},
        )


def refuse_force(ctx: Context, force: bool) -> None:
    """Raise CommandError("refused") if a client forces what its owner lets nobody."""
    if force and not ctx.rails.force:
        raise CommandError(
            "refused",
            "the worker's owner lets nobody force anything",
            hint="LIVEHEAP_FORCE=0 of the worker says so; try without --force",
        )
