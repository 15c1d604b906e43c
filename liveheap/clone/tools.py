"""heapy and objgraph in the copy: loaded when first named, and made to stay in it.

`h` is `hp.heap()`, computed at its first use, since it takes seconds in a large worker.
objgraph's pictures come out as DOT text, whatever file was asked for, and have a bound;
the objects that exist only because we look are left out of them.

Both would run code of the worker's for the keys of its dicts: objgraph calls `items` of
a dict's heir, heapy the `__repr__`, `__eq__` and `__lt__` of keys. Those places are
ours here. What stays is in heapy's C: `byvia` asks keys for `__hash__` and `__eq__`.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

from liveheap.clone import frames, showing
from liveheap.clone.expressions import PLAIN

NAMES = ("h", "hp", "objgraph")
MOST_EDGES = 200
MOST_PICTURES = 10
LARGEST_PICTURE = 256 * 1024
NS_PER_OBJECT = 2_000
WORTH_A_NOTE_S = 1.0


class Missing(Exception):
    """A package is not there, or not for this Python."""


class Tools:
    """What `h`, `hp` and `objgraph` are, once somebody wants them."""

    def __init__(
        self,
        threads: Mapping[int, FrameType],
        own_threads: frozenset[int],
        note: Callable[[str], object],
        ours: set[int],
    ) -> None:
        self.pictures: list[str] = []
        self.ready: dict[str, Any] = {}
        self._threads = threads
        self._own_threads = own_threads
        self._note = note
        self._ours = ours
        self._exposed = False

    def __call__(self, name: str) -> Any:
        """Return one of NAMES, made at its first use."""
        if name not in self.ready:
            if not self._exposed:
                self._exposed = True
                frames.expose(self._threads, self._own_threads)
            self.ready[name] = getattr(self, f"_{name}")()
        return self.ready[name]

    def _objgraph(self) -> Any:
        try:
            import objgraph  # noqa: PLC0415 -- in the copy only
        except ImportError as exc:
            raise Missing(absent("objgraph")) from exc
        objgraph.IS_INTERACTIVE = False
        objgraph._short_repr = showing.label
        objgraph._edge_label = edge_label_for(objgraph)
        show = objgraph._show_graph

        def draw(
            objs: Any, edge_func: Any, swap_source_target: Any, **options: Any
        ) -> None:
            output = Text()
            for name in ("filename", "output"):
                options.pop(name, None)
            options["filter"] = self._without_ours(options.get("filter"))
            with suppress(TypeError):
                options["max_depth"] = min(options.get("max_depth", 3), 20)
            edges = bounded(edge_func)
            show(objs, edges, swap_source_target, output=output, **options)
            self._keep("".join(output.pieces))

        objgraph._show_graph = draw
        return objgraph

    def _keep(self, dot: str) -> None:
        if len(self.pictures) < MOST_PICTURES and len(dot) <= LARGEST_PICTURE:
            self.pictures.append(dot)

    def _without_ours(self, given: Any) -> Callable[[Any], bool]:
        def keep(value: Any) -> bool:
            if id(value) in self._ours or type(value) is FrameType:
                return False
            return given is None or bool(given(value))

        return keep

    def _hp(self) -> Any:
        try:
            import guppy  # noqa: PLC0415 -- in the copy only
        except ImportError as exc:
            raise Missing(absent("guppy3")) from exc
        import reprlib  # noqa: PLC0415

        from guppy.heapy import Path  # noqa: PLC0415

        Path.R_INDEXVAL.stra = stra
        Path.RelationBase.__eq__ = are_equal
        Path.RelationBase.__lt__ = is_less
        shown: Any = lambda _self, value, _level: showing.brief(value)  # noqa: E731
        reprlib.Repr.repr_instance = shown  # type: ignore[method-assign]
        return guppy.hpy()

    def _h(self) -> Any:
        session = self("hp")
        expected_s = len(gc.get_objects()) * NS_PER_OBJECT / 1e9
        if expected_s > WORTH_A_NOTE_S:
            self._note(f"h = hp.heap() takes about {expected_s:.0f} s")
        began = time.monotonic()
        heap = session.heap()
        took = time.monotonic() - began
        if took > WORTH_A_NOTE_S:
            self._note(f"h = hp.heap() took {took:.1f} s")
        return heap


def edge_label_for(objgraph: Any) -> Callable[..., str]:
    """Return objgraph's function that labels a reference, with our way with dicts."""
    otherwise = objgraph._edge_label

    def label(source: Any, target: Any, shortnames: bool = True) -> str:
        if type(source) is dict or not issubclass(type(source), dict):
            return str(otherwise(source, target, shortnames))
        for key, value in dict.items(source):
            if value is target:
                text = key if type(key) is str else showing.brief(key)
                return f' [label="{objgraph._quote(text[: showing.LONGEST])}",weight=2]'
        return ""

    return label


# heapy's relation between a container and what it holds under a key, which is `r`.


def stra(relation: Any, before: str, safe: bool = True) -> str:
    """Return the relation as text."""
    return f"{before}[{showing.brief(relation.r)}]"


def are_equal(one: Any, other: Any) -> bool:
    """Whether two relations are the same; keys of the worker's own only by identity."""
    if getattr(one, "code", None) != getattr(other, "code", other):
        return False
    plain = type(one.r) in PLAIN and type(other.r) in PLAIN
    return bool(one.r == other.r) if plain else one.r is other.r


def is_less(one: Any, other: Any) -> bool:
    """Put relations in an order."""
    return order_of(one) < order_of(other)


def order_of(relation: Any) -> tuple[int, str]:
    """Return by what a relation is sorted."""
    return getattr(relation, "code", -1), showing.brief(getattr(relation, "r", None))


class Text:
    """As much of a file as objgraph writes to; it belongs to nobody."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, text: str) -> None:
        """Keep it."""
        self.pieces.append(text)


def bounded(edge_func: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function, for a picture of a bounded size."""
    left = MOST_EDGES

    def edges(value: Any) -> Any:
        nonlocal left
        if left <= 0:
            return []
        found = edge_func(value)
        left -= min(len(found), 10)
        return found

    return edges


def absent(package: str) -> str:
    """Say that a package is not there, and what is."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if package == "guppy3" and sys.version_info >= (3, 15):
        return (
            f"heapy (guppy3) does not exist for CPython {version} yet; objgraph does: "
            "objgraph.show_most_common_types(), "
            "objgraph.show_backrefs(objgraph.by_type('NAME')[:3])"
        )
    return (
        f"{package} is not installed in the worker's Python: pip install {package} "
        "there. What needs nothing there: liveheap backrefs TYPE, liveheap top"
    )
