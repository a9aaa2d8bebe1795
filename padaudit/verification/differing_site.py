"""Which padded operator of two models is the first whose output differs, and where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.verification.compare import deviation
from padaudit.verification.error_map import ErrorMap, error_map
from padaudit.verification.model_level import FeedPair, Tolerance
from padaudit.verification.outputs import orders
from padaudit.verification.runner import Job, run
from padaudit.verification.taps import tapped

if TYPE_CHECKING:
    from padaudit.ir.site import PaddingSite
    from padaudit.rewriting.run import Loaded

Array = NDArray[Any]
DEFAULT_BUDGET: Final = 256 << 20
"""Bytes of intermediate outputs that are held at a time."""
_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class SiteMatch:
    """A padded operator of the first model, as it stands in either model that is run."""

    id: str
    other: str
    ours: PaddingSite
    theirs: PaddingSite


@dataclass(frozen=True, slots=True)
class DifferingSite:
    """The first padded operator whose output differs.

    Parameters
    ----------
    id, other : str
        Its ids in the first and in the second model.
    where : ErrorMap or None
        Where its output differs; None where that has another shape.
    reason : str
        What differs, one clause.
    """

    id: str
    other: str
    where: ErrorMap | None
    reason: str


def first_differing(
    matches: Sequence[SiteMatch],
    models: tuple[Loaded, Loaded],
    feed: FeedPair,
    tolerance: Tolerance,
    *,
    timeout: float,
    memory_mb: int | None = None,
    budget: int = DEFAULT_BUDGET,
) -> DifferingSite | None:
    """Run two ONNX models and compare what their padded operators give, in order.

    As many outputs are fetched at a time as the budget holds, and no more than up to the
    first difference; the two models run one after the other. With a tolerance (two
    frameworks), outputs that differ by a factor and an offset per channel count as equal:
    a normalisation was folded into one of them.

    Parameters
    ----------
    matches : sequence of SiteMatch
        Operators that should be the same, in the order of the first model. Those in bodies
        of control flow and in functions are passed over: their outputs can't be fetched.
    models : tuple of Loaded
        The two models.
    feed : tuple of Mapping
        The inputs on which they differ.
    tolerance : Tolerance
        How far apart outputs may be.
    timeout : float
        Seconds for one run.
    memory_mb : int, optional
        Address space of a run in MiB.
    budget : int
        Bytes of intermediate outputs that are held at a time.

    Returns
    -------
    DifferingSite or None
        None if no output differs, or the models do not run with these outputs.
    """
    reachable = [item for item in matches if not item.ours.scope and not item.theirs.scope]
    for batch in _batches(reachable, models[0], budget):
        names = ([item.ours for item in batch], [item.theirs for item in batch])
        results = []
        for model, sites, inputs in zip(models, names, feed, strict=True):
            values = _fetched(model, sites, inputs, timeout, memory_mb)
            if values is None:
                return None
            results.append(values)
        for item in batch:
            ours = results[0][item.ours.op.outputs[0]]
            found = _difference(item, ours, results[1][item.theirs.op.outputs[0]], tolerance)
            if found is not None:
                return found
    return None


def same_sites(models: tuple[Loaded, Loaded]) -> list[SiteMatch]:
    """Match the operators of two models that have the same ids.

    Those whose outputs have other names (a Slice behind a pool gives its results) are left out.
    """
    theirs = {site.id: site for site in models[1].sites}
    return [
        SiteMatch(site.id, site.id, site, theirs[site.id])
        for site in models[0].sites
        if site.id in theirs and theirs[site.id].op.outputs == site.op.outputs
    ]


def _batches(matches: Sequence[SiteMatch], model: Loaded, budget: int) -> Iterator[list[SiteMatch]]:
    batch: list[SiteMatch] = []
    held = 0
    for item in matches:
        size = _output_bytes(model, item.ours) or budget // 8
        if batch and held + size > budget:
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size
    if batch:
        yield batch


def _output_bytes(model: Loaded, site: PaddingSite) -> int | None:
    shape = model.graph.tensor(site.op.outputs[0]).shape
    known = [size for size in shape or () if isinstance(size, int)]
    if shape is None or len(known) < len(shape) - 1:
        return None
    return math.prod(known) * _BYTES


def _fetched(
    model: Loaded,
    sites: Sequence[PaddingSite],
    feed: Mapping[str, Array],
    timeout: float,
    memory_mb: int | None,
) -> dict[str, Array] | None:
    names = tuple(dict.fromkeys(site.op.outputs[0] for site in sites))
    document: Any = model.document
    with tapped(document, names) as path:
        job = Job(path, (feed,), names)
        outcome = run([job], timeout=timeout, memory_mb=memory_mb)[0]
    if outcome.outputs is None:
        return None
    return dict(zip(outcome.output_names, outcome.outputs[0], strict=True))


def _difference(
    item: SiteMatch, ours: Array, theirs: Array, tolerance: Tolerance
) -> DifferingSite | None:
    order = next(orders(ours, theirs), None)
    if order is None:
        reason = f"its output has the shape {ours.shape} in one and {theirs.shape} in the other"
        return DifferingSite(item.id, item.other, None, reason)
    theirs = theirs.transpose(order)
    apart, unequal = deviation(theirs, ours, *tolerance.bounds(ours))
    axes = item.ours.spatial_axes
    if not unequal.any() or (tolerance.scaled and _rescaled(ours, theirs, axes, tolerance)):
        return None
    where = error_map(apart, unequal, axes)
    return DifferingSite(item.id, item.other, where, str(where))


def _rescaled(ours: Array, theirs: Array, axes: Sequence[int], tolerance: Tolerance) -> bool:
    """Tell whether outputs are equal up to a factor and an offset per channel."""
    if ours.dtype.kind != "f":
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
