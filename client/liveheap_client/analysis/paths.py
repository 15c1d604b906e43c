"""Path nodes: all objects of a graph, merged by the path that holds them.

`PathNodes.of(graph)` makes a plan of where to start (plan.py), lets the C side search,
and tells what it found: columns over path nodes, their texts (labels.py says how they
read), and the retaining path of any object. What a path node is stands in
csrc/pathnodes.h, which edges count in csrc/resolve.h.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveheap.snapshot.format import RootKind
from liveheap_client.analysis.graph import HeapGraph, column
from liveheap_client.analysis.labels import (
    ELIDED,
    GROUP_TEXT,
    Group,
    Label,
    c_field_text,
    edge_label,
    label_text,
)
from liveheap_client.analysis.plan import NO_EDGE, Plan
from liveheap_client.analysis.steps import key_text

MAX_DEPTH: Final = 40
# A Celery worker has some 220,000, most of them of its modules.
MAX_NODES: Final = 500_000
MOST_STEPS_ALIKE: Final = 20

_MOST_FIELDS = 64
_MORE_STEPS = "(many more steps like these)"


class PathNodes:
    """The path nodes of one graph, as columns; number i < n_groups is group i."""

    def __init__(self, graph: HeapGraph, plan: Plan, **caps: int) -> None:
        raw = plan.search(**caps)
        self.graph = graph
        self.waiting = plan.waiting
        self.truncated = raw.truncated
        self.parent = column(raw, "parent", np.int32)
        self.label_kind = column(raw, "label_kind", np.uint8)
        self.label_name = column(raw, "label_name", np.uint32)
        self.type = column(raw, "type", np.uint32)
        self.code = column(raw, "code", np.int32)
        self.depth = column(raw, "depth", np.uint16)
        self.group = column(raw, "group", np.uint32)
        self.key = column(raw, "key", np.uint64)
        self.count = column(raw, "count", np.uint64)
        self.bytes = column(raw, "bytes", np.uint64)
        self.length = column(raw, "length", np.uint64)
        self.max_length = column(raw, "max_length", np.uint64)
        self.example = column(raw, "example", np.int32)
        self.node_path = column(raw, "node_path", np.int32)
        self.parent_edge = column(raw, "parent_edge", np.uint32)

    @classmethod
    def of(
        cls,
        graph: HeapGraph,
        *,
        max_depth: int = MAX_DEPTH,
        max_nodes: int = MAX_NODES,
    ) -> PathNodes:
        """Search a graph and merge its paths."""
        return cls(graph, Plan(graph), max_depth=max_depth, max_nodes=max_nodes)

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """Which path nodes are liveheap's own."""
        own: NDArray[np.bool_] = self.label_kind[self.group] == Group.OWN
        return own

    @property
    def garbage(self) -> NDArray[np.bool_]:
        """Which path nodes are cycles that nothing refers to."""
        garbage: NDArray[np.bool_] = self.label_kind[self.group] == Group.UNREACHABLE
        return garbage

    def own_objects(self) -> NDArray[np.bool_] | None:
        """Return a mask of the objects that only liveheap holds; None if none."""
        hidden = self.hidden
        if not (self.count[hidden] > 0).any():
            return None
        own: NDArray[np.bool_] = hidden[self.node_path]
        return own

    def text(self, path: int, *, with_type: bool = True) -> str:
        """Return a path as one line, its type at the end."""
        text = self._group_text(path)
        ends_with_type = False
        for step in self._steps(path):
            piece, ends_with_type = self._piece(step)
            text += piece
        kind = self.graph.type_name(int(self.type[path]))
        named = (
            ends_with_type
            or not with_type
            or self.type[path] == 0
            or self.parent[path] < 0
        )
        return text if named else f"{text} -> {kind}"

    def texts(self) -> list[str]:
        """Return all paths as `text` has them; faster than one by one."""
        bare: list[str] = []
        texts = []
        for path, above in enumerate(self.parent.tolist()):
            ends_with_type = above < 0 or self.type[path] == 0
            if above < 0:
                bare.append(self._group_text(path))
            else:
                piece, named = self._piece(path)
                ends_with_type |= named
                bare.append(bare[above] + piece)
            tail = "" if ends_with_type else f" -> {self._type_at(path)}"
            texts.append(bare[path] + tail)
        return texts

    def step_text(self, path: int) -> str:
        """Return the last step of a path as one line, with what it starts from.

        A frame's line is left out: it is another one in the next snapshot.
        """
        kind = self._type_at(path)
        above = int(self.parent[path])
        if above < 0:
            module = self.label_kind[path] == Group.MODULE
            return f"{'module ' if module else ''}{self._group_text(path)}"
        piece, ends_with_type = self._piece(path)
        frame = self.graph.frames.get(int(self.example[path]))
        if frame is not None:
            piece = piece.removesuffix(f":{frame.line}")
        holder = self._type_at(above)
        frame = self.graph.frames.get(int(self.example[above]))
        if self.parent[above] < 0:
            holder = self._group_text(above)
        elif frame is not None:
            holder = frame.text().removesuffix(f":{frame.line}")
        named = ends_with_type or not kind
        return f"{holder}{piece}" if named else f"{holder}{piece} -> {kind}"

    def retaining_path(self, node: int) -> list[str]:
        """Return how one object is held, from its root down, a line a step.

        Of the many steps that one path node merges (down a long list of links) the
        last ones are told.
        """
        chain = list(self._iter_chain(node))
        if chain:
            last, edge = chain[-1]
            node = last if edge == NO_EDGE else self.graph.source(edge)
        lines = [self._first_line(node)]
        for target, edge in reversed(chain):
            line = _MORE_STEPS if edge == NO_EDGE else self.step_line(target, edge)
            if line:
                lines.append(line)
        return lines

    def _iter_chain(self, node: int) -> Iterator[tuple[int, int]]:
        """Yield the objects that hold `node`, each with the edge to it, upwards.

        A pair without an edge stands for steps left out; it names where to go on: at
        the path node's example, the object of it that is nearest to the root.
        """
        steps_in: Counter[int] = Counter()
        while (edge := int(self.parent_edge[node])) != NO_EDGE:
            source = self.graph.source(edge)
            if self.graph.root_of(source) is not None:
                break
            yield node, edge
            path = int(self.node_path[source])
            steps_in[path] += 1
            node = source
            if steps_in[path] == MOST_STEPS_ALIKE and self.example[path] >= 0:
                node = int(self.example[path])
                yield node, NO_EDGE

    def _steps(self, path: int) -> Iterator[int]:
        """Yield the path nodes from below the group down to `path`."""
        steps = []
        while self.parent[path] >= 0:
            steps.append(path)
            path = int(self.parent[path])
        return reversed(steps)

    def _group_text(self, path: int) -> str:
        group = int(self.group[path])
        kind = int(self.label_kind[group])
        if kind == Group.MODULE:
            return self.graph.name(int(self.label_name[group])) or "(unnamed module)"
        if kind == Label.DEEP:
            return "(beyond the cap)"
        if kind == Group.TASK:
            frames = self.waiting.chain(int(self.example[group]))
            name = self.graph.name(int(self.label_name[group]))
            text = self.waiting.telling(frames).text() if frames else f"{name}()"
            return f"{GROUP_TEXT[Group.TASK]} -> {text}"
        return GROUP_TEXT[Group(kind)]

    def _piece(self, step: int) -> tuple[str, bool]:
        """Return what a step adds to the text, and whether that names its type."""
        label = Label(int(self.label_kind[step]))
        name = self.graph.name(int(self.label_name[step]))
        kind = self.graph.type_name(int(self.type[step]))
        frame = self.graph.frames.get(int(self.example[step]))
        if label is Label.FRAME:
            return f" -> {frame.text() if frame else kind}", True
        if label is Label.ROOT and not name:
            return f" -> {kind}", True
        spaced = self.label_kind[self.parent[step]] in (Label.LOCAL, Label.CELL)
        text = label_text(label, name, spaced=spaced)
        if label is Label.UNNAMED:
            text = c_field_text(self._type_at(int(self.parent[step])), kind)
        if frame is not None and label is not Label.DEEP:
            return f"{text} -> {kind} {frame.text()}", True
        return text, False

    def _type_at(self, path: int) -> str:
        return self.graph.type_name(int(self.type[path]))

    def _first_line(self, node: int) -> str:
        path = int(self.node_path[node])
        group = self._group_text(path)
        if self.parent[path] < 0:
            is_module = self.label_kind[path] == Group.MODULE
            text = f"module {group}" if is_module else group
            return self._labelled(self.waiting.task_of.get(node), text)
        kind = self.graph.type_name(int(self.graph.type[node]))
        frame = self.graph.frames.get(node)
        if frame is not None:
            return f"{self._root_text(node, group)} -> {frame.text()}"
        name = ""
        edge = int(self.parent_edge[node])
        if edge != NO_EDGE:
            name = self.graph.name(int(self.graph.edge_name[edge]))
        return f"{self._root_text(node, group)}{'.' if name else ''}{name} -> {kind}"

    def _root_text(self, node: int, group: str) -> str:
        """Return the group's text with which thread or greenlet it is."""
        edge = int(self.parent_edge[node])
        root = None if edge == NO_EDGE else self.graph.root_of(self.graph.source(edge))
        if root is None or root.kind not in (RootKind.THREAD, RootKind.GREENLET):
            return group
        text = f"{group} {root.number}"
        if root.kind == RootKind.THREAD and root.name:
            text = f'thread "{root.name}"'
        return self._labelled(node, text)

    def _labelled(self, node: int | None, text: str) -> str:
        """Return a text with the task that ran there, if one did."""
        task = self.graph.tasks.of_node(node)
        return text if task is None else f"{task.text()} -> {text}"

    def step_line(self, node: int, edge: int) -> str:
        """Return one step below the root; empty if it is a detail of Python."""
        graph = self.graph
        name = graph.name(int(graph.edge_name[edge]))
        source = graph.source(edge)
        label = edge_label(graph, edge)
        if label is Label.INTERNAL and name in ELIDED:
            if name != "cell_contents":
                return ""
            return f"holds {graph.type_name(int(graph.type[node]))}"
        kind = graph.type_name(int(graph.type[node]))
        text = label_text(label, name).strip()
        if label is Label.UNNAMED:
            text = c_field_text(graph.type_name(int(graph.type[source])), kind)
        if label is Label.CELL:
            text = f"{text} of {_function_name(graph, source, self.parent_edge)}"
        frame = graph.frames.get(node)
        place = "" if frame is None else f" {frame.text()}"
        content = graph.previews.text(node)
        text = key_text(graph, edge) or text
        return f"{text} -> {kind}{place}{content and ' '}{content}"


def _function_name(
    graph: HeapGraph, closure: int, parent_edge: NDArray[np.uint32]
) -> str:
    """Return the name of the function that a closure tuple was reached from."""
    edge = int(parent_edge[closure])
    if edge == NO_EDGE:
        return "a function"
    function = graph.source(edge)
    begin, end = int(graph.row[function]), int(graph.row[function + 1])
    for index in range(begin, min(end, begin + _MOST_FIELDS)):
        code = graph.code_by_node.get(int(graph.target[index]))
        if code is not None:
            return f"{code.qualname}() at {code.short_filename}:{code.first_line}"
    return "a function"
