"""Which objects a question is about: by type, by the module of the type, by size.

The same three words on every verb that looks into a graph. A name with `*`, `?` or
`[` is a pattern over whole names, case counting, as in a shell; without them it may
also be a type's short name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from liveheap.errors import CommandError
from liveheap_client.analysis.graph import HeapGraph
from liveheap_client.analysis.records import TypeInfo
from liveheap_client.analysis.typenames import close_names


@dataclass(frozen=True, slots=True)
class Filter:
    """What to keep; `min_size` is in bytes, of the retained size, None if not given."""

    type: str | None = None
    module: str | None = None
    min_size: int | None = None

    @property
    def by_type(self) -> bool:
        """Whether it asks for types or modules at all."""
        return self.type is not None or self.module is not None

    @property
    def least(self) -> int:
        """What an object has to retain."""
        return self.min_size or 0

    def nodes(self, graph: HeapGraph) -> NDArray[np.bool_]:
        """Return a mask of the objects whose type is kept; a root never is.

        Raises:
            CommandError: `no-such-type`: no object has such a type.
        """
        kept = np.array([self._keeps(info) for info in graph.types], np.bool_)
        kept[0] = not self.by_type
        mask: NDArray[np.bool_] = kept[graph.type]
        if self.by_type and not mask.any():
            wanted = self.type or self.module or ""
            what = "type" if self.type is not None else "type of a module"
            raise CommandError(
                "no-such-type",
                f"the snapshot has no object of a {what} {wanted!r}",
                hint=close_names(graph, wanted.strip("*")),
            )
        return mask

    def _keeps(self, info: TypeInfo) -> bool:
        if self.module is not None and not _matches(self.module)(info.module):
            return False
        if self.type is None:
            return True
        match = _matches(self.type)
        names = [info.name, f"{info.module}.{info.qualname}"]
        if not _is_pattern(self.type):
            names.append(info.qualname)
        return any(map(match, names))


def _is_pattern(word: str) -> bool:
    return any(mark in word for mark in "*?[")


def _matches(word: str) -> Callable[[str], bool]:
    if _is_pattern(word):
        return lambda name: fnmatchcase(name, word)
    return lambda name: name == word
