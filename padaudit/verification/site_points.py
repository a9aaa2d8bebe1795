"""Where two models are compared: the tensors of a padded operator, wherever it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from padaudit.ir.walk import graph_of_op
from padaudit.verification.taps import Hop, Tap, hops_of

if TYPE_CHECKING:
    from padaudit.ir.graph import Graph
    from padaudit.ir.site import PaddingSite
    from padaudit.rewriting.run import Loaded
    from padaudit.verification.value_points import Names

_BYTES: Final = 4
_SHARE: Final = 8
"""What is not known to be small is taken for this part of the budget."""


@dataclass(frozen=True, slots=True)
class SiteMatch:
    """A padded operator of the first model, as it stands in either model that is run.

    Parameters
    ----------
    id, other : str
        Its ids in the two models.
    ours, theirs : PaddingSite
        What it is in the models that are run.
    tensors : tuple of pairs of str
        What to compare: the first pair whose shapes fit.
    """

    id: str
    other: str
    ours: PaddingSite
    theirs: PaddingSite
    tensors: tuple[Names, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """Tensors of the two models that should be equal.

    Parameters
    ----------
    id, other : str
        Of the operator in the two models.
    taps : tuple of pairs of Tap
        The tensors; the first pair counts whose shapes fit.
    axes : tuple of int
        The spatial ones among their axes, in one pass of a loop.
    hops : pair of tuples of Hop
        What encloses them in either model.
    position : int
        Place of the operator in its graph.
    size : int
        Bytes of the first model's tensor, or what stands for them.
    holds : tuple of str
        The padded operators that it encloses and that can't be compared themselves.
    """

    id: str
    other: str
    taps: tuple[tuple[Tap, Tap], ...]
    axes: tuple[int, ...]
    hops: tuple[tuple[Hop, ...], tuple[Hop, ...]]
    position: int
    size: int
    holds: tuple[str, ...] = ()

    @property
    def loop(self) -> int | None:
        """Identity of the outermost loop around it; None where there is none."""
        return next((id(hop.op) for hop in self.hops[0] if hop.stacks), None)

    @property
    def reachable(self) -> bool:
        """Whether its tensors can be handed outwards, as stacks of one depth."""
        depths = [[hop.stacks for hop in hops].count(True) for hops in self.hops]
        return depths[0] == depths[1] and all(hop.opens for hops in self.hops for hop in hops)


def points_of(
    matches: Iterable[SiteMatch], models: tuple[Loaded, Loaded], budget: int
) -> list[Point]:
    """Return where to compare matched operators, in their order.

    Parameters
    ----------
    matches : iterable of SiteMatch
        The operators.
    models : tuple of Loaded
        The models that hold them.
    budget : int
        Bytes that may be held at a time.
    """
    around = hops_of(models[0].graph), hops_of(models[1].graph)
    holders = graph_of_op(models[0].graph), graph_of_op(models[1].graph)
    points = []
    for match in matches:
        sites = match.ours, match.theirs
        hops = around[0][id(match.ours.op)], around[1][id(match.theirs.op)]
        graphs = holders[0][id(match.ours.op)], holders[1][id(match.theirs.op)]
        pairs = [
            (_tap(graphs[0], sites[0], a, hops[0]), _tap(graphs[1], sites[1], b, hops[1]))
            for a, b in match.tensors
        ]
        looped = any(hop.stacks for hop in hops[0])
        size = None if looped else _bytes(graphs[0], match.tensors[0][0])
        points.append(
            Point(
                match.id,
                match.other,
                tuple(pairs),
                match.ours.spatial_axes,
                hops,
                match.ours.op.position,
                size or budget // _SHARE,
            )
        )
    return points


def lifted(points: Sequence[Point], chosen: Callable[[Point], bool]) -> list[Point]:
    """Replace chosen points by those of what encloses them in the model's own graph."""
    found: list[Point] = []
    for point in points:
        if not any(point.hops) or not chosen(point):
            found.append(point)
            continue
        around = _outermost(point)
        inside = [item.id for item in points if chosen(item) and _outermost(item) == around]
        if point.id == inside[0]:
            found += _enclosing(point, tuple(inside))
    return found


def _outermost(point: Point) -> list[int]:
    return [id(hops[0].op) if hops else 0 for hops in point.hops]


def _enclosing(point: Point, inside: tuple[str, ...]) -> Iterator[Point]:
    """Yield a point for each output of what encloses a point."""
    if not all(point.hops):
        return
    ours, theirs = point.hops[0][0].op, point.hops[1][0].op
    for a, b in zip(ours.outputs, theirs.outputs, strict=False):
        if a and b:
            taps = ((Tap(a), Tap(b)),)
            yield Point(
                ours.name,
                theirs.name,
                taps,
                point.axes,
                ((), ()),
                ours.position,
                point.size,
                inside,
            )


def _tap(graph: Graph, site: PaddingSite, tensor: str, hops: tuple[Hop, ...]) -> Tap:
    dtype = graph.tensor(tensor).dtype or site.dtype or "float32"
    return Tap(tensor, hops, dtype)


def _bytes(graph: Graph, tensor: str) -> int | None:
    shape = graph.tensor(tensor).shape
    known = [size for size in shape or () if isinstance(size, int)]
    if shape is None or len(known) < len(shape) - 1:
        return None
    return math.prod(known) * _BYTES
