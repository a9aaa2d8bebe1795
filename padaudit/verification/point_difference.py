"""Whether what two models give at a point differs, and where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from padaudit.verification.compare import deviation
from padaudit.verification.error_map import ErrorMap, error_map
from padaudit.verification.model_level import Tolerance
from padaudit.verification.outputs import orders
from padaudit.verification.site_points import Point

Array = NDArray[Any]
Order = tuple[tuple[int, int], ...]
"""By enclosing operator, and last by the operator itself: its place, and the pass of a loop."""
Values = tuple[Mapping[str, Array], Mapping[str, Array]]
"""What either model gives, by `padaudit.verification.taps.Tap.name`."""


@dataclass(frozen=True, slots=True)
class DifferingSite:
    """The first padded operator whose output differs.

    Parameters
    ----------
    id, other : str
        Its ids in the first and in the second model; those of the operator that encloses it
        where it could not be looked at itself.
    where : ErrorMap or None
        Where its output differs (of a loop, in the first pass that differs); None where that
        has another shape.
    reason : str
        What differs, one clause.
    scaling : str
        By which factor and offset the second model's output is the first one's, as
        ``times 2 plus 1``; empty if by none.
    """

    id: str
    other: str
    where: ErrorMap | None
    reason: str
    scaling: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A difference, and when the first model comes to it."""

    order: Order
    site: DifferingSite


def point_difference(
    point: Point, values: Values, tolerance: Tolerance, rescaled: bool = True
) -> Found | None:
    """Compare what two models give at a point, pass by pass where loops are around it.

    Parameters
    ----------
    point : Point
        The tensors.
    values : pair of Mapping
        What the models gave.
    tolerance : Tolerance
        How far apart they may be.
    rescaled : bool
        Whether a factor and an offset per channel make no difference, if there is a tolerance.
    """
    pairs = [(values[0][a.name], values[1][b.name]) for a, b in point.taps]
    depth = sum(hop.stacks for hop in point.hops[0])
    passes = pairs[0][0].shape[:depth]
    for ours, theirs in pairs:
        if ours.shape[:depth] == theirs.shape[:depth]:
            stacks = _flat(ours, depth), _flat(theirs, depth)
            order = next(orders(stacks[0][0], stacks[1][0]), None) if len(stacks[0]) else ()
            if order is not None:
                return _in_passes(point, stacks, order, passes, (tolerance, rescaled))
    ours, theirs = pairs[-1]
    reason = f"its output has the shape {ours.shape} in one and {theirs.shape} in the other"
    return _found(point, 0, passes, None, reason)


def _flat(values: Array, depth: int) -> Array:
    """Put the passes of nested loops along one axis; outside of loops there is one pass."""
    count = math.prod(values.shape[:depth])
    return values.reshape(count, *values.shape[depth:])


def _in_passes(
    point: Point,
    stacks: tuple[Array, Array],
    order: Sequence[int],
    passes: tuple[int, ...],
    allowed: tuple[Tolerance, bool],
) -> Found | None:
    tolerance, rescaled = allowed[0], all((allowed[0].scaled, allowed[1]))
    for number, (ours, theirs) in enumerate(zip(*stacks, strict=True)):
        moved = theirs.transpose(order)
        axes = point.axes if max(point.axes, default=0) < ours.ndim else ()
        apart, unequal = deviation(moved, ours, *tolerance.bounds(ours))
        if unequal.any() and not (rescaled and _rescaled(ours, moved, axes, tolerance)):
            where = error_map(apart, unequal, axes)
            scaling = _scaling(ours, moved, tolerance)
            return _found(point, number, passes, where, str(where), scaling)
    return None


def _found(
    point: Point,
    number: int,
    passes: tuple[int, ...],
    where: ErrorMap | None,
    reason: str,
    scaling: str = "",
) -> Found:
    """Name the point; ``number`` counts the passes of all loops around it."""
    places = [int(place) for place in np.unravel_index(number, passes)] if passes else []
    turns, order, told = iter(places), [], []
    for hop in point.hops[0]:
        turn = next(turns, 0) if hop.stacks else 0
        order.append((hop.op.position, turn))
        if hop.stacks:
            told.append(f"in pass {turn + 1} of '{hop.op.name}'")
    if point.holds:
        inside = ", ".join(f"'{name}'" for name in point.holds)
        told.append(f"it holds {inside}, which can't be looked at from outside")
    text = ": ".join((*told, reason))
    site = DifferingSite(point.id, point.other, where, text, scaling)
    return Found((*order, (point.position, 0)), site)


def _rescaled(ours: Array, theirs: Array, axes: Sequence[int], tolerance: Tolerance) -> bool:
    """Tell whether outputs are equal up to a factor and an offset per channel."""
    if ours.dtype.kind != "f" or not axes:
        return False
    channel = next(axis for axis in range(1, ours.ndim) if axis not in axes)
    a, b = (
        np.moveaxis(values, channel, 0).reshape(values.shape[channel], -1).astype(np.float64)
        for values in (ours, theirs)
    )
    middle = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
    spread = ((b - middle[1]) ** 2).sum(1, keepdims=True)
    shared = ((a - middle[0]) * (b - middle[1])).sum(1, keepdims=True)
    factor = np.divide(shared, spread, out=np.zeros_like(shared), where=spread > 0)
    fitted = (middle[0] + factor * (b - middle[1])).astype(ours.dtype)
    return not deviation(fitted, a.astype(ours.dtype), *tolerance.bounds(ours))[1].any()


def _scaling(ours: Array, theirs: Array, tolerance: Tolerance) -> str:
    """Return by which factor and offset one output is the other's; empty if by none."""
    if ours.dtype.kind != "f" or ours.size < 2:
        return ""
    a, b = (values.astype(np.float64).ravel() for values in (ours, theirs))
    spread = float(np.square(a - a.mean()).sum())
    factor = float(((a - a.mean()) * (b - b.mean())).sum() / spread) if spread > 0 else 0.0
    offset = float(b.mean() - factor * a.mean())
    fitted = (factor * a + offset).astype(ours.dtype)
    if not factor or deviation(fitted, b.astype(ours.dtype), *tolerance.bounds(b))[1].any():
        return ""
    small = abs(offset) <= max(tolerance.bounds(b))
    return f"times {factor:.4g}" + ("" if small else f" plus {offset:.4g}")
