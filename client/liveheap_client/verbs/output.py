"""Texts that a verb writes into a file which the person named.

Whether the name is free is asked before the work, for that may stop a worker or take a
minute; the text appears under its name at once and whole, or not at all. Only its owner
may read it, as with a snapshot: it says the same, values of the worker's among it.
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
    """Write a text beside its place and move it there.

    In a folder of everybody's somebody may have put a link where it is written first.
    """
    part = path.with_name(f"{path.name}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        part.unlink(missing_ok=True)
        with open(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ClientError(
            f"cannot write {path}: {exc.strerror or exc}",
            hint=f"another place: {option} FILE",
        ) from exc
