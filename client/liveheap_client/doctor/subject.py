"""Who is looked at, and what the families share of what they know of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from liveheap_client import inside
from liveheap_client.doctor.agent import AgentFacts
from liveheap_client.doctor.process import ProcessFacts


@dataclass(frozen=True, slots=True)
class Subject:
    """A process of this machine, or, without one, the machine as a whole."""

    environ: Mapping[str, str]
    """Ours: where we look, and with which token."""
    process: ProcessFacts | None = None
    agent: AgentFacts | None = None
    settings: Mapping[str, str] | None = None
    """The environment that the process was started with; None if it may not be read."""

    @property
    def pid(self) -> int | None:
        return None if self.process is None else self.process.pid

    @property
    def uid(self) -> int:
        """Whose directories count: the worker's, or ours."""
        if self.process is None or self.process.uid is None:
            return os.geteuid()
        return self.process.uid

    @property
    def root(self) -> str:
        """Where the process sees its `/`."""
        if self.process is None or not self.sees_other_files:
            return ""
        return f"/proc/{self.process.pid}/root"

    @property
    def who(self) -> str:
        """What its folder below /proc is called."""
        return "self" if self.process is None else str(self.process.pid)

    @property
    def sees_other_files(self) -> bool:
        """Whether the same path is another file to the process than to us."""
        if self.process is None:
            return False
        return inside.sees_other_files(self.process.pid)


def settings_of(pid: int) -> dict[str, str] | None:
    """Return the environment that a process was started with."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    pairs = (os.fsdecode(each).partition("=") for each in raw.split(b"\0"))
    return {name: value for name, _, value in pairs if name}
