"""The outputs of two models, matched by name, by order or by shape, in either layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from padaudit.compare.feeds import layouts
from padaudit.verification.compare import Difference, compare_arrays, merge
from padaudit.verification.model_level import Tolerance

Array = NDArray[Any]
Outputs = Sequence[Sequence[Array]]
"""Per set of inputs, the outputs of a model."""


@dataclass(frozen=True, slots=True)
class OutputMatch:
    """Which output of the second model is one of the first, and how axes move.

    Parameters
    ----------
    ours, theirs : int
        Positions.
    order : tuple of int or None
        The order of the second one's axes that gives the first one's shape; None if no
        layout does.
    found : tuple of Difference
        How far apart they are, per set of inputs.
    """

    ours: int
    theirs: int
    order: tuple[int, ...] | None
    found: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether they are, on all inputs."""
        return all(item.equal for item in self.found)


def matched(
    names: tuple[Sequence[str], Sequence[str]], ours: Outputs, theirs: Outputs, tolerance: Tolerance
) -> list[OutputMatch] | str:
    """Match the outputs of two models; return why if they have not equally many.

    Outputs of one name belong together where all names are shared; else those of one
    place, and where their shapes do not fit, the nearest one whose shape does. Where names
    do not tell, and these differ, those belong together that are equal, if each is to one.
    """
    counts = len(ours[0]), len(theirs[0])
    if counts[0] != counts[1]:
        plural = "" if counts[0] == 1 else "s"
        return f"the first model has {counts[0]} output{plural}, the second {counts[1]}"
    free = list(range(counts[1]))
    pairs: list[OutputMatch] = []
    by_name = sorted(names[0]) == sorted(names[1]) and len(set(names[0])) == counts[0]
    for place in range(counts[0]):
        first = list(names[1]).index(names[0][place]) if by_name else place
        mine = [values[place] for values in ours]
        ranked = sorted(free, key=lambda item, first=first: item != first)  # type: ignore[misc]
        candidates = [
            _match(place, item, mine, [values[item] for values in theirs], tolerance)
            for item in (ranked[:1] if by_name else ranked)
        ]
        best = min(candidates, key=_rank)
        if candidates[0].order is not None and candidates[0].theirs == first:
            best = candidates[0]
        free.remove(best.theirs)
        pairs.append(best)
    if by_name or all(item.equal for item in pairs):
        return pairs
    return _by_agreement(ours, theirs, tolerance) or pairs


def _by_agreement(ours: Outputs, theirs: Outputs, tolerance: Tolerance) -> list[OutputMatch] | None:
    """Match each output with one that is equal; None where one has none."""
    free = list(range(len(theirs[0])))
    pairs: list[OutputMatch] = []
    for place in range(len(ours[0])):
        mine = [values[place] for values in ours]
        candidates = (
            _match(place, item, mine, [values[item] for values in theirs], tolerance)
            for item in free
        )
        found = next((item for item in candidates if item.equal), None)
        if found is None:
            return None
        free.remove(found.theirs)
        pairs.append(found)
    return pairs


def orders(mine: Array, other: Array) -> Iterator[tuple[int, ...]]:
    """Yield the orders of an array's axes that give another's shape, the plain one first."""
    if mine.ndim == other.ndim:
        for order in dict.fromkeys(layouts(mine.ndim)):
            if tuple(other.shape[axis] for axis in order) == mine.shape:
                yield order


def _match(
    ours: int, theirs: int, mine: Sequence[Array], others: Sequence[Array], tolerance: Tolerance
) -> OutputMatch:
    found = [
        OutputMatch(ours, theirs, order, _apart(mine, others, order, tolerance))
        for order in orders(mine[0], others[0])
    ]
    if found:
        return min(found, key=_rank)
    return OutputMatch(ours, theirs, None, (compare_arrays(mine[0], others[0]),))


def _apart(
    mine: Sequence[Array], others: Sequence[Array], order: Sequence[int], tolerance: Tolerance
) -> tuple[Difference, ...]:
    return tuple(
        compare_arrays(b.transpose(order) if b.ndim == len(order) else b, a, *tolerance.bounds(a))
        for a, b in zip(mine, others, strict=True)
    )


def _rank(match: OutputMatch) -> tuple[bool, bool, float]:
    return match.order is None, not match.equal, merge(match.found).max_abs
