"""Which modules and frames are the application's, which a library's, which ours.

Retaining paths prefer roots that a person can do something about: the application's
module globals and class attributes, then its frames, then everybody else's. Where a
file lies on the worker decides, as its code objects say; nothing is configured:

- ours: the modules `liveheap` and `liveheap_client`;
- the application's: `__main__`, whatever its file;
- a library's: a package of the standard library (by name, as this client's Python
  knows it); a package with a function from site-packages, dist-packages or Python's
  own directory; a module without Python functions but with functions in C;
- everything else is the application's. A package counts as one: what one of its
  modules shows holds for all.

An application installed into site-packages is taken for a library: its paths come
after those through frames, and are still found.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Sequence
from enum import Enum

from liveheap_client.analysis.records import Module

_OWN = frozenset({"liveheap", "liveheap_client"})
_STDLIB = sys.stdlib_module_names | {"builtins"}
_LIBRARY_FILE = re.compile(
    r"<frozen |(^|[/\\])"
    r"(site-packages|dist-packages|lib(64)?[/\\]python[23][^/\\]*)[/\\]"
)


class Party(Enum):
    """Whose a module or frame is."""

    APPLICATION = "application"
    LIBRARY = "library"
    OWN = "liveheap"


def is_library_file(filename: str) -> bool:
    """Tell whether a code object's file belongs to Python or an installed package."""
    return bool(_LIBRARY_FILE.search(filename))


def parties(modules: Sequence[Module]) -> list[Party]:
    """Say whose each module is, in their order."""
    libraries = {_package(module) for module in modules if _shows_library(module)} - {
        "__main__"
    }
    return [_party(_package(module), libraries) for module in modules]


def application_files(modules: Sequence[Module]) -> frozenset[str]:
    """Return the files known to be the application's, wherever they lie."""
    return frozenset(
        module.filename
        for module, party in zip(modules, parties(modules), strict=True)
        if party is Party.APPLICATION and module.filename
    )


def _party(package: str, libraries: Collection[str]) -> Party:
    if package in _OWN:
        return Party.OWN
    return Party.LIBRARY if package in libraries else Party.APPLICATION


def _shows_library(module: Module) -> bool:
    if _package(module) in _STDLIB:
        return True
    if module.filename:
        return is_library_file(module.filename)
    return module.native


def _package(module: Module) -> str:
    return module.name.partition(".")[0]
