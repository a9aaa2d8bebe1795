"""Which padded operator of two models is the first whose output differs, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from padaudit.ir.walk import graph_of_op
from padaudit.verification.model_level import FeedPair, Tolerance
from padaudit.verification.point_difference import (
    DifferingSite,
    Found,
    Values,
    point_difference,
)
from padaudit.verification.runner import Job, run
from padaudit.verification.site_points import Point, SiteMatch, lifted, points_of
from padaudit.verification.taps import Tap, tapped

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded

Array = NDArray[Any]
DEFAULT_BUDGET: Final = 256 << 20
"""Bytes of intermediate outputs that are held at a time."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a search for a difference found.

    Parameters
    ----------
    site : DifferingSite or None
        The first padded operator whose output differs.
    compared : int
        How many padded operators were compared.
    """

    site: DifferingSite | None
    compared: int


def same_sites(models: tuple[Loaded, Loaded]) -> list[SiteMatch]:
    """Match the operators of two models that have the same ids.

    The tensor that an operator of the first model gives may come from another one in the
    second, such as the Slice behind a pool.
    """
    theirs = {site.id: site for site in models[1].sites}
    holders = graph_of_op(models[1].graph)
    found = []
    for site in models[0].sites:
        other = theirs.get(site.id)
        if other is not None:
            name = site.op.outputs[0]
            kept = holders[id(other.op)].producer(name) is not None
            names = name, name if kept else other.op.outputs[0]
            found.append(SiteMatch(site.id, site.id, site, other, (names,)))
    return found


def search(
    matches: Sequence[SiteMatch],
    models: tuple[Loaded, Loaded],
    feed: FeedPair,
    tolerance: Tolerance,
    *,
    rescaled: bool = True,
    timeout: float,
    memory_mb: int | None = None,
    budget: int = DEFAULT_BUDGET,
) -> Result:
    """Run two ONNX models and compare what their padded operators give, in order.

    As many outputs are fetched at a time as the budget holds, and no more than up to the
    first difference; the two models run one after the other. What stands in branches, loops
    and functions is handed outwards; where that can't be done, the operator that encloses it
    is compared in its place. Operators of one loop are compared pass by pass.

    With a tolerance (two frameworks), outputs that differ by a factor and an offset per
    channel count as equal: a normalisation was folded into one of them.

    Parameters
    ----------
    matches : sequence of SiteMatch
        Operators that should be the same, in the order of the first model.
    models : tuple of Loaded
        The two models.
    feed : tuple of Mapping
        The inputs on which they differ.
    tolerance : Tolerance
        How far apart outputs may be.
    rescaled : bool
        Whether a factor and an offset per channel may make no difference.
    timeout : float
        Seconds for one run.
    memory_mb : int, optional
        Address space of a run in MiB.
    budget : int
        Bytes of intermediate outputs that are held at a time.

    Returns
    -------
    Result
        Its site is None if no output differs, or the models do not run with these outputs.
    """
    runs = _Search(models, feed, timeout, memory_mb)
    found: list[Found] = []
    loop: int | None = None
    compared = 0
    for batch in _batches(points_of(matches, models, budget), budget):
        # Within a loop a later operator may differ in an earlier pass.
        left = [point for point in batch if not found or point.loop == loop]
        ran = runs.values(left)
        if ran is None:
            break
        compared += len(left)
        for point in ran[0]:
            difference = point_difference(point, ran[1], tolerance, rescaled)
            if difference is None or (found and point.loop != loop):
                continue
            if point.loop is None:
                return Result(difference.site, compared)
            found.append(difference)
            loop = point.loop
    first = min(found, key=lambda item: item.order).site if found else None
    return Result(first, compared)


@dataclass(frozen=True, slots=True)
class _Search:
    """Two models, and how they are run."""

    models: tuple[Loaded, Loaded]
    feed: FeedPair
    timeout: float
    memory_mb: int | None

    def values(self, points: Sequence[Point]) -> tuple[Sequence[Point], Values] | None:
        """Return points with what the models give there; None if they do not run so.

        What can't be handed outwards is looked at through what encloses it.
        """
        kept = lifted(points, lambda point: not point.reachable)
        values = self._run(kept)
        if values is None and any(any(point.hops) for point in kept):
            kept = lifted(points, lambda point: any(point.hops))
            values = self._run(kept)
        return None if values is None else (kept, values)

    def _run(self, points: Sequence[Point]) -> Values | None:
        """Run the models one after the other."""
        pairs = [pair for point in points for pair in point.taps]
        ours = self._fetched(0, [a for a, _ in pairs])
        theirs = self._fetched(1, [b for _, b in pairs]) if ours is not None else None
        return None if ours is None or theirs is None else (ours, theirs)

    def _fetched(self, side: int, taps: Sequence[Tap]) -> Mapping[str, Array] | None:
        document: Any = self.models[side].document
        names = tuple(dict.fromkeys(tap.name for tap in taps))
        with tapped(document, taps) as path:
            job = Job(path, (self.feed[side],), names)
            outcome = run([job], timeout=self.timeout, memory_mb=self.memory_mb)[0]
        if outcome.outputs is None:
            return None
        return dict(zip(outcome.output_names, outcome.outputs[0], strict=True))


def _batches(points: Sequence[Point], budget: int) -> Iterator[list[Point]]:
    batch: list[Point] = []
    held = 0
    for point in points:
        if batch and held + point.size > budget:
            yield batch
            batch, held = [], 0
        batch.append(point)
        held += point.size
    if batch:
        yield batch
