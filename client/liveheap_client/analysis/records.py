"""What the stream says of types, code, frames, roots and modules, for people to read.

A graph has some thousands of these, so they may be objects, which its millions of
nodes may not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from liveheap.snapshot.format import RootFlag

_INSTALLED = re.compile(
    r".*[/\\](?:(?:site|dist)-packages|lib(?:64)?[/\\]python[23][^/\\]*)[/\\]"
)


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A type: `class_id` is the first type of that name, `node` the type object."""

    module: str
    qualname: str
    class_id: int
    node: int
    flags: int

    @property
    def name(self) -> str:
        """The name as people write it."""
        if self.module in ("", "builtins"):
            return self.qualname
        return f"{self.module}.{self.qualname}"


@dataclass(frozen=True, slots=True)
class Code:
    """A code object."""

    qualname: str
    filename: str
    class_id: int
    first_line: int
    node: int

    @property
    def basename(self) -> str:
        """The file's name without its directory."""
        return self.filename.rpartition("/")[2]

    @property
    def short_filename(self) -> str:
        """The file's name as its importers know it: no machine's directories.

        Of an installed package that is the part after site-packages, of the
        application's own files the last.
        """
        installed = _INSTALLED.match(self.filename)
        if installed:
            return self.filename[installed.end() :]
        return self.basename


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, generator or coroutine; `code` is None if the stream lacks it."""

    node: int
    code: Code | None
    line: int

    def text(self) -> str:
        """Return `function() at file:line`."""
        if self.code is None:
            return "frame of unknown code"
        return f"{self.code.qualname}() at {self.code.short_filename}:{self.line}"


@dataclass(frozen=True, slots=True)
class Root:
    """Where reachability starts."""

    node: int
    kind: int
    name: str
    number: int
    flags: int

    @property
    def own(self) -> bool:
        """Whether it is liveheap's."""
        return bool(self.flags & RootFlag.OWN)


@dataclass(frozen=True, slots=True)
class Module:
    """A module of sys.modules; `filename` is that of a function made there."""

    node: int
    namespace: int
    name_id: int
    name: str
    filename: str
    native: bool
