"""Texts that a verb writes into a file which the person named.

Whether the name is free is asked before the work, for that may stop a worker or take a
minute; the text appears under its name at once and whole, or not at all.
"""

import contextlib
import os
from pathlib import Path

from liveheap_client.errors import ClientError, UsageError


def refuse(path: Path, *, option: str, replace: bool) -> None:
    """Raise UsageError if a text cannot go to `path`, or would destroy what is there.

    With `replace` an ordinary file may be there; a device or a pipe never.
    """
    if str(path) == "-" or (path.exists() and not path.is_file()):
        raise UsageError(
            f"it is written into a file, and {path} is none",
            hint=f"{option} names a file",
        )
    if os.path.lexists(path) and not replace:
        raise UsageError(
            f"{path} exists already",
            hint=f"{option} NAME, or --force-overwrite to replace it",
        )


def write(path: Path, text: str, *, option: str) -> None:
    """Write a text beside its place and move it there."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ClientError(
            f"cannot write {path}: {exc.strerror or exc}",
            hint=f"another place: {option} FILE",
        ) from exc
