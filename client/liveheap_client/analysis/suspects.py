"""A suspect: a path that gained something in every interval, and who holds it.

`holder` is what a person would change: the container or variable that the objects pile
up in, so the nearest thing above them that does not multiply itself. Suspects that one
holder keeps are one (clusters.py); the first speaks for all, `also` names the others'
types and `echoes` the paths that only go along.

`contents` is what the objects consist of, by type: what one gains with each of them.
`waits_in` is where they are suspended, if they are greenlets, threads, tasks or
coroutines; `code` which function it is, if one is a function or calls one.

`task` is the name of the task that does it, as far as that is known, and `task_why` how
we know: they wait in it, or it left about as many memory blocks (tasks.py).

`fingerprint` names the same leak in another worker, host or deploy: SHA-1 of the path
as text, which has no addresses, values or directories, and here no line numbers either.

`levels_off` says that it dies down, as a cache does that fills, or that it is a small
lru_cache with a bound; `bound` is `bounded` or `unbounded` where an lru_cache keeps it.
`example` is the address of one of the objects in the last round.

`garbage` says that only the collector would free it, and that is switched off. `orphan`
says that nothing holds it: its reference count is higher than the references to it that
we know, by `excess_references`; then only C can be keeping it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from liveheap_client.analysis import examples
from liveheap_client.analysis.clusters import (
    ROUNDS_TO_COMPARE_STEPS,
    Cluster,
    bursts,
    clusters,
)
from liveheap_client.analysis.kinds import says_what
from liveheap_client.analysis.labels import Group, Label
from liveheap_client.analysis.leakshare import MOST_SHARES, leak_shares
from liveheap_client.analysis.paths import PathNodes
from liveheap_client.analysis.pathtable import Growth, Matrix, PathTable
from liveheap_client.analysis.tasks import Leaver
from liveheap_client.analysis.trend import levels_off, mann_kendall_p, theil_sen

MOST_SUSPECTS = 200
MOST_ALSO = 5
MOST_ECHOES = 20
MOST_CONTENTS = 6
MOST_HEAVY = 3
LOOKED_INTO = 20
STEPS_TO_CACHE = 3
MOST_LABELLED = 1000

_TELLING = frozenset({"frame", "traceback", "coroutine", "generator"})
_WEAK = frozenset({"weakref.ReferenceType", "weakref.KeyedRef", "weakref.WeakMethod"})
_WRAPPER = "functools._lru_cache_wrapper"
_LINE = re.compile(r"(?<=\.py):\d+")


@dataclass(frozen=True, slots=True)
class Content:
    """A type among what a suspect holds; gained over all rounds."""

    type: str
    gained: int
    gained_bytes: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """A path that gained objects, items or bytes in every interval, or in `intervals`.

    `counts` are its objects in each round (its items, if `grows` is `length`), `bytes`
    theirs and of all that is reached through them first. `leak_share` is what they
    alone keep in the last round, parts that other suspects share divided among them;
    `retaining_path` is how one of them is held then. Slopes are per hour where the
    rounds say when they were taken.
    """

    path: str
    type: str
    holder: str | None
    holder_type: str | None
    orphan: bool
    excess_references: int
    garbage: bool
    grows: str
    intervals: int
    counts: tuple[int, ...]
    bytes: tuple[int, ...]
    leak_share: int | None
    slope: float
    slope_low: float
    slope_high: float
    bytes_slope: float
    p: float
    growth_per_round: float
    bytes_per_round: float
    levels_off: bool
    bound: str | None
    example: str
    waits_in: str | None
    code: str | None
    contents: tuple[Content, ...]
    retaining_path: tuple[str, ...]
    fingerprint: str
    fingerprint_text: str
    also: tuple[str, ...] = ()
    echoes: tuple[str, ...] = ()
    n_echoes: int = 0
    alloc: None = None
    task: str | None = None
    task_why: str | None = None

    @property
    def gained(self) -> int:
        """Objects or items gained from the first round to the last."""
        return self.counts[-1] - self.counts[0]

    @property
    def gained_bytes(self) -> int:
        """Bytes gained from the first round to the last."""
        return self.bytes[-1] - self.bytes[0]


class Describer:
    """Says what rises, by its examples in the newest round."""

    def __init__(
        self,
        matrix: Matrix,
        table: PathTable,
        paths: PathNodes,
        at: Sequence[float],
        leaver: Leaver | None,
    ) -> None:
        self._leaver = leaver
        self._matrix = matrix
        self._table = table
        self._paths = paths
        self._at = at
        self._masks: dict[tuple[int, ...], NDArray[np.bool_]] = {}

    def suspects(self) -> tuple[list[Suspect], int]:
        """Return the first suspects, and how many there are in all."""
        found = clusters(self._matrix, self)
        self._weigh(found[:MOST_SHARES])
        found.sort(key=lambda cluster: (cluster.is_single, -cluster.gained_share))
        if len(self._at) >= ROUNDS_TO_COMPARE_STEPS:
            found += bursts(self._matrix, self, found)
        described = [
            self._suspect(cluster, look_into=place < LOOKED_INTO)
            for place, cluster in enumerate(found[:MOST_SUSPECTS])
        ]
        return described, len(found)

    def _weigh(self, found: Sequence[Cluster]) -> None:
        """Find what each of some clusters alone keeps, with what goes along with it."""
        members = [
            [
                path
                for path in map(self._path, [*cluster.tops, *cluster.echoes])
                if path >= 0
            ]
            for cluster in found
        ]
        if members:
            shares = leak_shares(self._paths, members)
            for cluster, share in zip(found, shares, strict=True):
                cluster.share = round(share)

    def row_of_task(self, row: int) -> int:
        """Return the row of the tasks whose coroutines a row stands for, or -1."""
        paths = self._paths
        path = self._path(row)
        task = None if path < 0 else paths.waiting.task_of.get(int(paths.example[path]))
        if task is None:
            return -1
        return self._matrix.row_of(int(paths.key[paths.node_path[task]]))

    def is_telling(self, row: int) -> bool:
        """Tell whether a row is of the frames that a group of stacks is named after."""
        paths = self._paths
        path = self._path(row)
        frame = paths.graph.frames.get(int(paths.example[path]))
        if frame is None or frame.code is None:
            return False
        named = int(paths.label_name[paths.group[path]])
        return frame.code.qualname == paths.graph.name(named)

    def is_named(self, row: int) -> bool:
        """Tell whether a row is of a class that no library of Python's own defines."""
        path = self._path(row)
        return path >= 0 and says_what(
            self._paths.graph.type_name(int(self._paths.type[path]))
        )

    def refers(self, rows: Sequence[int], tops: Sequence[int]) -> bool:
        """Tell whether objects of some rows have to do with what is below others.

        As many do among examples as were gained among all, at least by half: in two
        references of any kind, or referred to from there. What a weak reference refers
        to, a snapshot does not say; it keeps nothing, so it may go along with anything.
        """
        paths, below = self._paths, self._below(tops)
        for row in rows:
            path = self._path(row)
            if paths.graph.type_name(int(paths.type[path])) in _WEAK:
                return True
            members = np.flatnonzero(paths.node_path == path)
            some = members[:: max(len(members) // examples.EXAMPLES_COMPARED, 1)]
            counts = self._matrix.count[row]
            gained = float(counts[-1] - counts[0]) / max(int(counts[-1]), 1)
            related = sum(examples.touches(paths, int(node), below) for node in some)
            if related >= 0.5 * gained * len(some) > 0:
                return True
        return False

    def _below(self, tops: Sequence[int]) -> NDArray[np.bool_]:
        """Return a mask of the path nodes at or below some rows."""
        key = tuple(tops)
        if key not in self._masks:
            rows = self._matrix.subtree(tops)
            self._masks[key] = np.isin(self._paths.key, self._matrix.key[rows])
        return self._masks[key]

    def _suspect(self, cluster: Cluster, *, look_into: bool) -> Suspect:
        paths, at = self._paths, self._at
        head = cluster.rows[0] if cluster.stack is None else cluster.stack
        path = self._path(head)
        example = int(paths.example[path])
        counts, size = cluster.counts.tolist(), cluster.bytes.tolist()
        judged = size if cluster.growth is Growth.SIZE else counts
        intervals = sum(b > a for a, b in pairwise(judged))
        # A buffer that stands still has room: that says nothing about its end.
        leaps = cluster.growth is Growth.SIZE and intervals < len(judged) - 1
        slope = theil_sen(counts, at)
        orphan = (
            int(paths.label_kind[paths.group[path]]) == Group.UNEXPLAINED
            and int(paths.depth[path]) == 1
        )
        holder, holder_type = (None, None) if orphan else self._holder(cluster, path)
        heaviest = self._path(cluster.rows[0])
        lineless = _LINE.sub("", self._text(head))
        bound = self._bound(cluster)
        task, task_why = self._task(cluster, head) or (None, None)
        return Suspect(
            path=self._text(cluster.rows[0]),
            type=self._type(cluster, example),
            holder=holder,
            holder_type=holder_type,
            orphan=orphan,
            excess_references=examples.excess_references(paths.graph, example)
            if orphan
            else 0,
            garbage=bool(paths.garbage[path]),
            grows=cluster.growth.name.lower(),
            intervals=intervals,
            counts=tuple(counts),
            bytes=tuple(size),
            leak_share=cluster.share,
            slope=slope.value,
            slope_low=slope.low,
            slope_high=slope.high,
            bytes_slope=theil_sen(size, at).value,
            p=mann_kendall_p(judged),
            growth_per_round=theil_sen(counts).value,
            bytes_per_round=theil_sen(size).value,
            levels_off=(levels_off(judged, at) and not leaps)
            or (bound == "bounded" and examples.is_small_cache(counts[-1], size[-1])),
            bound=bound,
            example=f"0x{int(paths.graph.address[example]) * 8:x}",
            waits_in=examples.waits_in(paths, example),
            code=examples.commonest_code(paths, heaviest) if look_into else None,
            contents=self._contents(cluster) if look_into else (),
            retaining_path=tuple(examples.retaining_path(paths, heaviest)),
            fingerprint=hashlib.sha1(
                lineless.encode("utf-8", "surrogatepass"), usedforsecurity=False
            ).hexdigest(),
            fingerprint_text=lineless,
            also=self._also(cluster.rows[1:], except_for=head),
            echoes=self._texts(cluster.echoes[:MOST_ECHOES]),
            n_echoes=len(cluster.echoes),
            task=task,
            task_why=task_why,
        )

    def _path(self, row: int) -> int:
        row = self._matrix.example_of.get(row, row)
        return self._table.path_of(int(self._matrix.key[row]))

    def _text(self, row: int) -> str:
        """Return a row's path; of many names made at run time as `.*`."""
        paths, path = self._paths, self._path(row)
        if row not in self._matrix.example_of:
            return paths.text(path)
        kind = paths.graph.type_name(int(paths.graph.type[paths.example[path]]))
        label = paths.label_kind[path]
        if label == Group.MODULE:
            return f"sys.modules[*] -> {kind}"
        above = paths.text(int(paths.parent[path]), with_type=False)
        return f"{above}{'.*' if label == Label.ATTRIBUTE else '[*]'} -> {kind}"

    def _type(self, cluster: Cluster, example: int) -> str:
        """Return the type of a suspect; of frames, what runs them."""
        if cluster.stack is not None:
            return examples.runner_type(self._paths, example)
        graph = self._paths.graph
        return graph.type_name(int(graph.type[example]))

    def _holder(self, cluster: Cluster, path: int) -> tuple[str | None, str | None]:
        """Return what holds a suspect, and its type."""
        paths = self._paths
        graph = paths.graph
        holder = self._path(cluster.holder) if cluster.holder >= 0 else -1
        is_stack = cluster.stack is not None and paths.parent[path] >= 0
        if paths.label_kind[path] == Group.MODULE and holder < 0:
            return "sys.modules", "dict"
        if holder < 0 or is_stack:
            return None, None
        if paths.label_kind[path] == Label.ROOT and paths.parent[holder] < 0:
            # The interpreter's own list of them: `interpreter.atexit`.
            return paths.text(path, with_type=False), None
        kind = int(paths.type[holder])
        name = graph.type_name(kind) if kind else None
        return paths.text(holder, with_type=False), name

    def _bound(self, cluster: Cluster) -> str | None:
        """Say whether the lru_cache that keeps a suspect has a bound; None: none does.

        The graph tells it by `cache_parameters`, a closure over what was asked for.
        """
        paths, place = self._paths, cluster.holder
        for _ in range(STEPS_TO_CACHE):
            if place < 0:
                return None
            path = self._path(place)
            if path < 0:
                return None
            if paths.graph.type_name(int(paths.type[path])) == _WRAPPER:
                limit = examples.maxsize_type(paths.graph, int(paths.example[path]))
                return {"int": "bounded", "NoneType": "unbounded"}.get(limit)
            place = int(self._matrix.parent[place])
        return None

    def _task(self, cluster: Cluster, head: int) -> tuple[str, str] | None:
        """Return the name of the task that a suspect belongs to, and why."""
        paths, tasks = self._paths, self._paths.graph.tasks
        if tasks.by_node:
            members = np.flatnonzero(paths.node_path == self._path(head))
            some = members[:: len(members) // MOST_LABELLED + 1]
            found = tasks.commonest(examples.begins_at(paths, int(n)) for n in some)
            if found is not None:
                return found
        rows = self._matrix.subtree(cluster.tops)
        gains = self._matrix.count[rows, -1] - self._matrix.count[rows, 0]
        leaver = self._leaver
        if leaver is None or not leaver.explains(int(np.maximum(gains, 0).sum())):
            return None
        return leaver.name, leaver.text()

    def _contents(self, cluster: Cluster) -> tuple[Content, ...]:
        """Return what a suspect gained, by type, the most bytes first."""
        matrix, table, paths = self._matrix, self._table, self._paths
        gained: dict[str, tuple[int, int]] = {}
        rows = matrix.subtree(cluster.tops)
        counts = matrix.count[rows, -1] - matrix.count[rows, 0]
        sizes = matrix.size[rows, -1] - matrix.size[rows, 0]
        for row, count, size in zip(
            rows.tolist(), counts.tolist(), sizes.tolist(), strict=True
        ):
            path = table.path_of(int(matrix.key[row]))
            if path < 0 or (count <= 0 and size <= 0):
                continue
            kind = paths.graph.type_name(int(paths.type[path])) or "frame"
            before = gained.get(kind, (0, 0))
            gained[kind] = (before[0] + count, before[1] + size)
        ranked = sorted(gained.items(), key=lambda item: -item[1][1])
        # The built-in types weigh most and tell least.
        named = [i for i in ranked[MOST_HEAVY:] if "." in i[0] or i[0] in _TELLING]
        named.sort(key=lambda item: item[0] not in _TELLING)
        shown = dict([*ranked[:MOST_HEAVY], *named, *ranked])
        return tuple(
            Content(kind, *sums) for kind, sums in list(shown.items())[:MOST_CONTENTS]
        )

    def _also(self, rows: Sequence[int], *, except_for: int) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for row in rows:
            path = self._path(row)
            if row != except_for and path >= 0:
                kind = self._paths.graph.type_name(int(self._paths.type[path]))
                found[kind] = None
        return tuple(found)[:MOST_ALSO]

    def _texts(self, rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._text(row) for row in rows if self._path(row) >= 0)
