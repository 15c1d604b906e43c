"""What a verb works with: a worker to ask, a terminal, and what was found so far.

The command line makes a desk for one verb; the shell keeps one for all of its verbs.
A verb never knows which.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from liveheap_client.caller import Caller
from liveheap_client.dial import DialOptions
from liveheap_client.errors import ClientError, UsageError
from liveheap_client.terminal import Terminal


@dataclass(slots=True)
class Desk:
    """One verb's surroundings, or a shell's."""

    terminal: Terminal
    call: Callable[[str | None], Caller]
    """Make the caller to a target; the target is ignored in a shell."""
    in_shell: bool = False
    newest: Path | None = None
    names: set[str] = field(default_factory=set)
    """Type names that were seen; the shell completes them."""
    shell_commands: Callable[["Desk"], Mapping[str, click.Command]] | None = None
    """Make the verbs of a shell for its desk; `attach` needs it."""
    directory: Path | None = None
    """Where a shell puts the snapshots that nobody named, until it ends."""
    options: DialOptions = field(default_factory=DialOptions)
    """How to connect, for verbs that list workers themselves."""
    later: list[Callable[[], None]] = field(default_factory=list)
    """What can wait until the answer is on the screen; `finish` does it."""

    def finish(self) -> None:
        """Do what has waited for the end of the verb."""
        while self.later:
            self.later.pop()()

    @contextlib.contextmanager
    def caller(self, target: str | None = None) -> Iterator[Caller]:
        """Lend the caller to the worker; the shell's stays open."""
        if self.in_shell and target is not None:
            raise UsageError(
                f"{target!r} is no snapshot file, and this shell asks one worker",
                hint="leave it with Ctrl-D to ask another",
            )
        caller = self.call(target)
        try:
            yield caller
        finally:
            if not self.in_shell:
                caller.hang_up()

    @contextlib.contextmanager
    def scratch(self, keep: Path | None = None) -> Iterator[Path]:
        """Lend a directory for snapshots: one to keep, or one that goes away."""
        if keep is not None:
            try:
                keep.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as exc:
                raise ClientError(
                    f"cannot keep files in {keep}: {exc.strerror}",
                    hint="--keep names a directory",
                ) from exc
            yield keep
            return
        if self.directory is not None:
            yield self.directory
            return
        # A thread that asks one of several hosts may still write when Ctrl-C ends us.
        with tempfile.TemporaryDirectory(
            prefix="liveheap-", ignore_cleanup_errors=True
        ) as name:
            yield Path(name)
