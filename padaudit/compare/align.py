"""Which padded operator of one model is which of the other.

Three ways, each for what the one before left over:

1. by weights: kernels that are each other's only near copy, whatever their layout, and
   whatever batch normalisation was folded into them;
2. by neighbours: operators of one form whose nearest padded operators are already paired;
3. by order: the longest common subsequence of forms, in an order that does not depend on how
   either file lists its branches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.compare.unit import Unit

COPY: Final = 0.98
"""How alike (mean cosine of their rows) two kernels are that are copies; quantised ones too."""
_MARGIN: Final = 0.01
_LONGEST_ROW: Final = 1 << 14
Matches = dict[int, int]
"""Position in the port, by position in the original."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Pairs of units that are one operator, and those that have no partner."""

    pairs: tuple[tuple[Unit, Unit], ...]
    original: tuple[Unit, ...]
    port: tuple[Unit, ...]


def align(original: Sequence[Unit], port: Sequence[Unit]) -> Alignment:
    """Pair the padded operators of two models.

    Parameters
    ----------
    original, port : sequence of Unit
        All units of either model, in the order of their positions.
    """
    search = _Search(original, port)
    search.by_weights()
    while search.by_neighbours() or search.by_order():
        pass
    matches = search.matches
    taken = set(matches.values())
    return Alignment(
        tuple((original[a], port[b]) for a, b in sorted(matches.items())),
        tuple(unit for unit in original if unit.position not in matches),
        tuple(unit for unit in port if unit.position not in taken),
    )


def compatible(a: Unit, b: Unit) -> bool:
    """Tell whether two units have one form and, where they are known, as many channels."""
    return a.form == b.form and same_channels(a, b)


def same_channels(a: Unit, b: Unit) -> bool:
    """Tell whether two units have as many groups and channels, where that is known."""
    pairs = (
        (a.group, b.group),
        (a.channels_in, b.channels_in),
        (a.channels_out, b.channels_out),
    )
    return all(one is None or other is None or one == other for one, other in pairs)


class _Search:
    """The pairs that are found so far."""

    def __init__(self, original: Sequence[Unit], port: Sequence[Unit]) -> None:
        self.sides = (original, port)
        self.matches: Matches = {}
        self.upstream = tuple(_closures(side) for side in self.sides)
        self.ranks = tuple(_ranks(side) for side in self.sides)

    def by_weights(self) -> None:
        """Pair units whose kernels are copies of each other and of no third one."""
        groups: tuple[dict[Hashable, list[Unit]], ...] = (defaultdict(list), defaultdict(list))
        for side, found in zip(self.sides, groups, strict=True):
            for unit in side:
                if unit.kernel is not None:
                    found[unit.form, unit.kernel.shape].append(unit)
        for key, ours in groups[0].items():
            theirs = groups[1].get(key, [])
            if theirs:
                self._pair_copies(ours, theirs)

    def _pair_copies(self, ours: list[Unit], theirs: list[Unit]) -> None:
        alike = likeness(ours, theirs)
        for row, column in zip(*np.nonzero(alike >= COPY), strict=True):
            rivals = np.concatenate(
                [np.delete(alike[row], column), np.delete(alike[:, column], row)]
            )
            unique = rivals.max(initial=0.0) <= alike[row, column] - _MARGIN
            if unique and compatible(ours[row], theirs[column]):
                self.matches[ours[row].position] = theirs[column].position

    def by_neighbours(self) -> bool:
        """Pair units that share more paired neighbours with each other than with any other."""
        found = False
        while True:
            scores = {
                (a.position, b.position): score
                for a, b in self._candidates()
                if (score := self._shared(a, b)) > 0
            }
            new = _mutual_best(scores)
            if not new:
                return found
            self.matches |= new
            found = True

    def by_order(self) -> bool:
        """Pair the longest common subsequence of what is left."""
        left = [self._left(0), self._left(1)]
        table = np.zeros((len(left[0]) + 1, len(left[1]) + 1))
        gains: dict[tuple[int, int], float] = {}
        for i, a in enumerate(left[0], start=1):
            for j, b in enumerate(left[1], start=1):
                best = max(table[i - 1, j], table[i, j - 1])
                if compatible(a, b) and self._consistent(a, b):
                    gains[i, j] = 1 + self._shared(a, b) + _copy_bonus(a, b)
                    best = max(best, table[i - 1, j - 1] + gains[i, j])
                table[i, j] = best
        new = _traced(table, gains)
        self.matches |= {left[0][i - 1].position: left[1][j - 1].position for i, j in new}
        return bool(new)

    def _left(self, side: int) -> list[Unit]:
        taken = set(self.matches if side == 0 else self.matches.values())
        units = [unit for unit in self.sides[side] if unit.position not in taken]
        return sorted(units, key=lambda unit: self.ranks[side][unit.position])

    def _candidates(self) -> list[tuple[Unit, Unit]]:
        by_form: dict[Hashable, list[Unit]] = defaultdict(list)
        for unit in self._left(1):
            by_form[unit.form].append(unit)
        return [
            (a, b)
            for a in self._left(0)
            for b in by_form[a.form]
            if compatible(a, b) and self._consistent(a, b)
        ]

    def _shared(self, a: Unit, b: Unit) -> float:
        """Return which part of two units' neighbours are paired with each other, 0 to 1."""
        total = hits = 0
        for ours, theirs in ((a.before, b.before), (a.after, b.after)):
            paired = {self.matches[place] for place in ours if place in self.matches}
            hits += len(paired & theirs)
            total += max(len(ours), len(theirs))
        return hits / total if total else 0.0

    def _consistent(self, a: Unit, b: Unit) -> bool:
        """Tell whether what is upstream of one unit is nowhere downstream of the other."""
        up = {self.matches[place] for place in self.upstream[0][a.position] & self.matches.keys()}
        if any(b.position in self.upstream[1][place] for place in up):
            return False
        known = {
            theirs for ours, theirs in self.matches.items() if a.position in self.upstream[0][ours]
        }
        return not known & self.upstream[1][b.position]


def likeness(ours: Sequence[Unit], theirs: Sequence[Unit]) -> NDArray[Any]:
    """Return how alike kernels of one shape are: the mean |cosine| of their rows."""
    first, second = (
        np.stack([_thinned(unit.kernel) for unit in side if unit.kernel is not None])
        for side in (ours, theirs)
    )
    cosines = np.einsum("aok,bok->abo", first, second, optimize=True)
    return np.asarray(np.abs(cosines).mean(axis=2))


def _thinned(kernel: NDArray[Any]) -> NDArray[Any]:
    """Return a kernel's first rows where it has very many: they are telling enough."""
    return kernel[: max(_LONGEST_ROW * 16 // max(kernel.shape[1], 1), 1)]


def _copy_bonus(a: Unit, b: Unit) -> float:
    if a.kernel is None or b.kernel is None or a.kernel.shape != b.kernel.shape:
        return 0.0
    return float(likeness([a], [b])[0, 0])


def _mutual_best(scores: dict[tuple[int, int], float]) -> Matches:
    """Return the pairs of which either is the other's single best."""
    best: tuple[dict[int, list[tuple[float, int]]], ...] = (defaultdict(list), defaultdict(list))
    for (a, b), score in scores.items():
        best[0][a].append((score, b))
        best[1][b].append((score, a))
    chosen = tuple(
        {
            place: max(found)[1]
            for place, found in side.items()
            if sum(score == max(found)[0] for score, _ in found) == 1
        }
        for side in best
    )
    return {a: b for a, b in chosen[0].items() if chosen[1].get(b) == a}


def _traced(table: NDArray[Any], gains: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Return the cells of the best path through a table of scores."""
    i, j = table.shape[0] - 1, table.shape[1] - 1
    found = []
    while i and j:
        gain = gains.get((i, j))
        if gain is not None and table[i, j] == table[i - 1, j - 1] + gain:
            found.append((i, j))
            i, j = i - 1, j - 1
        elif table[i, j] == table[i - 1, j]:
            i -= 1
        else:
            j -= 1
    return found


def _closures(units: Sequence[Unit]) -> list[set[int]]:
    """Return, for every unit, the positions of all that are upstream of it."""
    found: list[set[int]] = []
    for unit in units:
        above: set[int] = set(unit.before)
        for place in unit.before:
            above |= found[place]
        found.append(above)
    return found


def _ranks(units: Sequence[Unit]) -> list[tuple[int, int, str, int]]:
    """Return sort keys that are the same however a file lists its branches."""
    depth = [0] * len(units)
    height = [0] * len(units)
    for unit in units:
        depth[unit.position] = 1 + max((depth[place] for place in unit.before), default=0)
    for unit in reversed(units):
        height[unit.position] = 1 + max((height[place] for place in unit.after), default=0)
    return [
        (depth[unit.position], -height[unit.position], str(unit.form), unit.position)
        for unit in units
    ]
