"""Where the boxes of a graph go: layers from right to left, edges that cross little.

The steps are the classical ones. Longest path: a box stands one layer further from the
sinks than the furthest of those it points to. An edge over several layers gets a bend
in each of them, which takes room like a box. Barycentre: each layer is sorted by the
mean place of its neighbours, first from one side, then from the other, a few times. At
last each box moves as near to its neighbours' middle as its order and a gap allow; the
nearest such places, by least squares, are what pooling adjacent violators gives.

Nothing is random and ties keep the order of the input, so equal graphs give equal
pictures. Input must have no cycle. Everything is a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Box:
    """What needs room."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Link:
    """An edge between two boxes, and the width of what is written on it."""

    source: int
    target: int
    label_width: float = 0


@dataclass(frozen=True, slots=True)
class Spacing:
    """Distances: between layers, between boxes of a layer."""

    across: float = 28
    along: float = 12


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer: upper left corners by box, points by link, and the whole size."""

    corners: tuple[tuple[float, float], ...]
    routes: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


@dataclass(slots=True)
class _Places:
    """Boxes and, after them, bends: what stands in the layers."""

    heights: list[float]
    layer: list[int]
    layers: list[list[int]] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)
    after: list[list[int]] = field(default_factory=list)


def arrange(
    boxes: Sequence[Box], links: Sequence[Link], spacing: Spacing | None = None
) -> Placed:
    """Place boxes in layers; sinks stand in the rightmost one."""
    spacing = spacing or Spacing()
    places = _Places([box.height for box in boxes], _longest_paths(len(boxes), links))
    chains = _with_bends(places, links)
    _sort_into_layers(places)
    for _ in range(SWEEPS):
        _sweep(places)
    middle = _middles(places, spacing.along)
    columns = _columns(places, boxes, links, spacing.across)
    halves = [height / 2 for height in places.heights]
    top = min((y - h for y, h in zip(middle, halves, strict=True)), default=0)
    middle = [y - top for y in middle]
    bottom = max((y + h for y, h in zip(middle, halves, strict=True)), default=0)
    corners = tuple(
        (columns.left[places.layer[i]], middle[i] - halves[i])
        for i in range(len(boxes))
    )
    starts = _starts(chains, boxes, middle)
    routes = tuple(
        _route(
            [places.layer[place] for place in chain],
            [start, *(middle[place] for place in chain[1:])],
            columns,
            corners[chain[0]][0] + boxes[chain[0]].width,
        )
        for chain, start in zip(chains, starts, strict=True)
    )
    return Placed(corners, routes, columns.total, bottom)


def _longest_paths(n_boxes: int, links: Sequence[Link]) -> list[int]:
    """Return each box's layer: 0 for sinks, else one more than its furthest target."""
    sources: list[list[int]] = [[] for _ in range(n_boxes)]
    open_targets = [0] * n_boxes
    for link in links:
        sources[link.target].append(link.source)
        open_targets[link.source] += 1
    layer = [0] * n_boxes
    ready = [box for box in range(n_boxes) if not open_targets[box]]
    n_done = 0
    for box in ready:
        n_done += 1
        for source in sources[box]:
            layer[source] = max(layer[source], layer[box] + 1)
            open_targets[source] -= 1
            if not open_targets[source]:
                ready.append(source)
    if n_done < n_boxes:
        raise ValueError("the graph has a cycle")
    return layer


def _with_bends(places: _Places, links: Sequence[Link]) -> list[list[int]]:
    """Add a bend to every layer that a link crosses; return the links' chains."""
    chains = []
    for link in links:
        chain = [link.source]
        for layer in range(
            places.layer[link.source] - 1, places.layer[link.target], -1
        ):
            chain.append(len(places.heights))
            places.heights.append(0)
            places.layer.append(layer)
        chain.append(link.target)
        chains.append(chain)
    n_places = len(places.heights)
    places.before = [[] for _ in range(n_places)]
    places.after = [[] for _ in range(n_places)]
    for chain in chains:
        for left, right in pairwise(chain):
            places.after[left].append(right)
            places.before[right].append(left)
    return chains


def _sort_into_layers(places: _Places) -> None:
    """Fill the layers in the order in which a search from the sinks meets them."""
    places.layers = [[] for _ in range(max(places.layer, default=-1) + 1)]
    met = [False] * len(places.heights)
    for sink in range(len(places.heights)):
        if places.layer[sink] or met[sink]:
            continue
        stack = [sink]
        while stack:
            place = stack.pop()
            if met[place]:
                continue
            met[place] = True
            places.layers[places.layer[place]].append(place)
            stack.extend(reversed(places.before[place]))


def _sweep(places: _Places) -> None:
    """Sort every layer by the mean place of its neighbours, there and back."""
    order = [0.0] * len(places.heights)
    for layer in places.layers:
        for position, place in enumerate(layer):
            order[place] = position
    ways = ((places.layers[1:], places.after), (places.layers[-2::-1], places.before))
    for layers, neighbours in ways:
        for layer in layers:
            layer.sort(key=lambda p: _mean([order[q] for q in neighbours[p]], order[p]))
            for position, place in enumerate(layer):
                order[place] = position


def _middles(places: _Places, gap: float) -> list[float]:
    """Return the places' middles, near to their neighbours' and in order."""
    middle = [0.0] * len(places.heights)
    for layer in places.layers:
        for place, y in zip(layer, _stacked(layer, places.heights, gap), strict=True):
            middle[place] = y
    for number in range(SWEEPS):
        backwards = number % 2
        layers = places.layers[::-1] if backwards else places.layers
        for layer in layers:
            wanted = [
                _mean(
                    [middle[q] for q in places.before[p] + places.after[p]], middle[p]
                )
                for p in layer
            ]
            offsets = _stacked(layer, places.heights, gap)
            for place, y in zip(layer, _apart(wanted, offsets), strict=True):
                middle[place] = y
    return middle


def _stacked(layer: Sequence[int], heights: Sequence[float], gap: float) -> list[float]:
    """Return the middles of a layer whose places stand as close as they may."""
    middles = []
    edge = 0.0
    for place in layer:
        middles.append(edge + heights[place] / 2)
        edge += heights[place] + gap
    return middles


def _apart(wanted: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Return what is nearest to `wanted` and at least as far apart as `offsets` are."""
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, size = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / size:
            more, count = pools.pop()
            total, size = total + more, size + count
        pools.append((total, size))
    flat = [total / size for total, size in pools for _ in range(size)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the layers stand: left edges and widths by layer, and the width of all."""

    left: Sequence[float]
    width: Sequence[float]
    total: float


def _columns(
    places: _Places, boxes: Sequence[Box], links: Sequence[Link], across: float
) -> _Columns:
    n_layers = len(places.layers)
    widths = [0.0] * n_layers
    gaps = [across] * n_layers
    for index, box in enumerate(boxes):
        layer = places.layer[index]
        widths[layer] = max(widths[layer], box.width)
    for link in links:
        layer = places.layer[link.source]
        gaps[layer] = max(gaps[layer], across + link.label_width)
    left = [0.0] * n_layers
    edge = 0.0
    for layer in range(n_layers - 1, -1, -1):
        left[layer] = edge
        edge += widths[layer] + gaps[layer]
    return _Columns(left, widths, edge - gaps[0] if n_layers else 0.0)


def _starts(
    chains: Sequence[Sequence[int]], boxes: Sequence[Box], middle: Sequence[float]
) -> list[float]:
    """Return the height at which each link leaves its box: several in a column."""
    leaving: list[list[int]] = [[] for _ in boxes]
    for number, chain in enumerate(chains):
        leaving[chain[0]].append(number)
    starts = [0.0] * len(chains)
    for box, numbers in enumerate(leaving):
        numbers.sort(key=lambda number: middle[chains[number][1]])
        step = boxes[box].height / max(len(numbers), 1)
        first = middle[box] - step * (len(numbers) - 1) / 2
        for place, number in enumerate(numbers):
            starts[number] = first + step * place
    return starts


def _route(
    layers: Sequence[int], heights: Sequence[float], columns: _Columns, begin: float
) -> tuple[tuple[float, float], ...]:
    """Return the points of a link: out of its box at `begin`, out of its column,
    straight through the columns between, and in.
    """
    edge = columns.left[layers[0]] + columns.width[layers[0]]
    points = [(begin, heights[0]), (edge, heights[0])]
    for layer, height in zip(layers[1:-1], heights[1:-1], strict=True):
        points.append((columns.left[layer], height))
        points.append((columns.left[layer] + columns.width[layer], height))
    points.append((columns.left[layers[-1]], heights[-1]))
    return tuple(points)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
