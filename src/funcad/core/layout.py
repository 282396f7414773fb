"""Layers of boxes with curves between them: where to draw the nodes of a graph.

The steps are those of K. Sugiyama, S. Tagawa and M. Toda, *Methods for visual
understanding of hierarchical system structures*, IEEE Trans. SMC 11 (1981): every box
goes to the layer below those it depends on, an edge over several layers gets a *bend*
in each, the order within a layer is that of the means of the neighbours, and places are
as near to these means as boxes without overlap can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]

_GAP, _LAYER_GAP, _BEND = 22.0, 40.0, 6.0
_SWEEPS = 6
_STRAIGHT = 0.95


class Layout(NamedTuple):
    """Where boxes and edges are."""

    centres: list[Point]
    """Of the boxes."""
    paths: list[list[Point]]
    """Points that each edge goes through, from box to box; verticals at each."""
    width: float
    height: float


def layered(sizes: Sequence[Point], edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay out boxes of these widths and heights.

    Parameters
    ----------
    sizes : sequence of (float, float)
        Width and height of each box.
    edges : sequence of (int, int)
        Pairs of boxes, from a lower number to a higher one.

    Returns
    -------
    Layout
    """
    layer = layers(len(sizes), edges)
    nodes = _Nodes(sizes, layer)
    chains = [nodes.chain(a, b) for a, b in edges]
    nodes.put_in_order()
    nodes.place()
    tops, heights, total = nodes.vertical()
    paths = []
    ports = nodes.ports(chains)
    for chain, (start, end) in zip(chains, ports):
        a, b = chain[0], chain[-1]
        points = [(start, _middle(tops, heights, nodes, a) + sizes[a][1] / 2)]
        for bend in chain[1:-1]:
            k = nodes.layer[bend]
            points += [(nodes.x[bend], tops[k]), (nodes.x[bend], tops[k] + heights[k])]
        points.append((end, _middle(tops, heights, nodes, b) - sizes[b][1] / 2))
        paths.append(points)
    centres = [
        (nodes.x[i], _middle(tops, heights, nodes, i)) for i in range(len(sizes))
    ]
    return Layout(centres, paths, nodes.width(), total)


def _middle(
    tops: Sequence[float], heights: Sequence[float], nodes: _Nodes, i: int
) -> float:
    return tops[nodes.layer[i]] + heights[nodes.layer[i]] / 2


def layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Each box below those it depends on, and next to those that depend on it.

    A box with no more edges above than below moves down as far as it can, which makes
    no edges longer on the whole.
    """
    layer = [0] * count
    above = [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in sorted(edges):
        layer[b] = max(layer[b], layer[a] + 1)
        above[b] += 1
        after[a].append(b)
    for i in reversed(range(count)):
        if after[i] and above[i] <= len(after[i]):
            layer[i] = min(layer[j] for j in after[i]) - 1
    return layer


class _Nodes:
    """Boxes and bends, layer by layer."""

    def __init__(self, sizes: Sequence[Point], layer: Sequence[int]) -> None:
        self.layer = list(layer)
        self.widths = [w for w, _ in sizes]
        self.heights = [h for _, h in sizes]
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.boxes = len(sizes)
        self.layers: list[list[int]] = []
        self.x: list[float] = []

    def chain(self, a: int, b: int) -> list[int]:
        """The nodes that an edge goes through, its bends made."""
        chain = [a]
        for k in range(self.layer[a] + 1, self.layer[b]):
            self.layer.append(k)
            self.widths.append(_BEND)
            self.heights.append(0.0)
            self.above.append([])
            self.below.append([])
            chain.append(len(self.layer) - 1)
        chain.append(b)
        for upper, lower in zip(chain, chain[1:]):
            self.below[upper].append(lower)
            self.above[lower].append(upper)
        return chain

    def put_in_order(self) -> None:
        """Sort each layer by the means of the neighbours in the next, to and fro."""
        self.layers = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for node in range(len(self.layer)):
            self.layers[self.layer[node]].append(node)
        place = [0.0] * len(self.layer)
        for nodes in self.layers:
            _number(nodes, place)
        best, least = [list(nodes) for nodes in self.layers], self._crossings(place)
        for sweep in range(2 * _SWEEPS):
            down = sweep % 2 == 0
            near = self.above if down else self.below
            for nodes in self.layers if down else reversed(self.layers):
                mean = {
                    n: sum(place[m] for m in near[n]) / len(near[n])
                    if near[n]
                    else place[n]
                    for n in nodes
                }
                nodes.sort(key=mean.__getitem__)
                _number(nodes, place)
            count = self._crossings(place)
            if count < least:
                best, least = [list(nodes) for nodes in self.layers], count
        self.layers = best

    def _crossings(self, place: Sequence[float]) -> int:
        """How many pairs of edges cross between neighbouring layers."""
        total = 0
        for nodes in self.layers:
            ends: list[float] = []
            for n in sorted(nodes, key=place.__getitem__):
                ends += sorted(place[m] for m in self.below[n])
            total += _inversions(ends)
        return total

    def place(self) -> None:
        """Horizontal places, as near to those of the neighbours as boxes allow."""
        self.x = [0.0] * len(self.layer)
        for nodes in self.layers:
            self._arrange(nodes, [0.0] * len(nodes))
        for sweep in range(2 * _SWEEPS + 1):
            down = sweep % 2 == 0
            for nodes in self.layers if down else reversed(self.layers):
                near = self.above if down else self.below
                self._arrange(nodes, [self._mean(n, near[n]) for n in nodes])
        for nodes in self.layers:  # ends to where their neighbours have come to stand
            self._arrange(nodes, [self._mean(n, []) for n in nodes])
        left = min((self.x[n] - w / 2 for n, w in enumerate(self.widths)), default=0)
        self.x = [x - left for x in self.x]

    def _mean(self, n: int, near: list[int]) -> float:
        """Where a node is best in the middle of its neighbours on one side."""
        if self._is_end(n):
            near = self.above[n] + self.below[n]
        else:
            # what ends there makes way for what goes on
            near = [m for m in near if not self._is_end(m)] or near
        if not near:
            return self.x[n]
        # drawn to the axis a little, a long graph does not drift away to one side
        pull = _STRAIGHT if n < self.boxes and not self._is_end(n) else 1.0
        return pull * sum(self.x[m] for m in near) / len(near)

    def _arrange(self, nodes: Sequence[int], wanted: Sequence[float]) -> None:
        """The nearest places in this order without overlap, in the mean square."""
        offsets = [0.0]
        for a, b in zip(nodes, nodes[1:]):
            gap = _GAP if max(a, b) < self.boxes else _GAP / 2
            offsets.append(offsets[-1] + (self.widths[a] + self.widths[b]) / 2 + gap)
        # neighbours that are too near form a block, which stands at its mean
        blocks: list[tuple[float, float, int]] = []
        for n, x, offset in zip(nodes, wanted, offsets):
            # edges that are straight matter more than boxes under the middle
            weight = 4.0 if n >= self.boxes else 0.1 if self._is_end(n) else 1.0
            total, mass, count = weight * (x - offset), weight, 1
            while blocks and blocks[-1][0] / blocks[-1][1] > total / mass:
                before = blocks.pop()
                total, mass = total + before[0], mass + before[1]
                count += before[2]
            blocks.append((total, mass, count))
        start = 0
        for total, mass, count in blocks:
            for i in range(start, start + count):
                self.x[nodes[i]] = total / mass + offsets[i]
            start += count

    def _is_end(self, n: int) -> bool:
        return len(self.above[n]) + len(self.below[n]) < 2

    def vertical(self) -> tuple[list[float], list[float], float]:
        """Tops and heights of the layers, and the height of all."""
        tops, heights = [], []
        y = 0.0
        for nodes in self.layers:
            height = max(self.heights[n] for n in nodes)
            tops.append(y)
            heights.append(height)
            y += height + _LAYER_GAP
        return tops, heights, max(y - _LAYER_GAP, 0.0)

    def width(self) -> float:
        """Width of all."""
        return max((x + w / 2 for x, w in zip(self.x, self.widths)), default=0.0)

    def ports(self, chains: Sequence[list[int]]) -> list[tuple[float, float]]:
        """Where along its boxes' edges each edge starts and ends: side by side."""
        starts: dict[int, list[tuple[float, int]]] = {}
        ends: dict[int, list[tuple[float, int]]] = {}
        for i, chain in enumerate(chains):
            starts.setdefault(chain[0], []).append((self.x[chain[1]], i))
            ends.setdefault(chain[-1], []).append((self.x[chain[-2]], i))
        out = [[0.0, 0.0] for _ in chains]
        for side, groups in enumerate((starts, ends)):
            for box, group in groups.items():
                step = min(self.widths[box] / (len(group) + 1), 2 * _GAP)
                for k, (_, i) in enumerate(sorted(group)):
                    out[i][side] = self.x[box] + step * (k - (len(group) - 1) / 2)
        return [(start, end) for start, end in out]


def _number(nodes: Sequence[int], place: list[float]) -> None:
    for i, n in enumerate(nodes):
        place[n] = i / max(len(nodes) - 1, 1)


def _inversions(values: list[float]) -> int:
    """Pairs out of order, counted while merging sorted halves."""
    if len(values) < 2:
        return 0
    half = len(values) // 2
    left, right = values[:half], values[half:]
    count = _inversions(left) + _inversions(right)
    i = j = 0
    for k in range(len(values)):
        if j >= len(right) or (i < len(left) and left[i] <= right[j]):
            values[k] = left[i]
            i += 1
        else:
            values[k] = right[j]
            j += 1
            count += len(left) - i
    return count
