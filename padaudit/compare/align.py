"""Which padded operator of one model is which of the other.

Four ways, each for what the one before left over:

1. by weights: kernels that are each other's only near copy, whatever their layout, and
   whatever batch normalisation was folded into them;
2. by neighbours: operators of one form that hang on the same inputs and outputs, and on
   operators that are already paired;
3. by surroundings: operators around which the networks look the same further than around any
   other (`padaudit.compare.neighbourhood`);
4. by order: the longest common subsequence of forms, in an order that does not depend on how
   either file lists its branches. After each pair the ways before have their turn again, so
   that of branches that nothing tells apart one is not crossed with another.

Kernels that have copies in the other model are paired with one of these, as long as there are
any: they may be many, where towers share their weights.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from padaudit.compare.copies import COPY, MARGIN, copies_of, copy_bonus, likeness
from padaudit.compare.neighbourhood import Neighbourhoods, ends_of
from padaudit.compare.unit import Unit

Matches = dict[int, int]
"""Position in the port, by position in the original."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Pairs of units that are one operator, and those that have no partner."""

    pairs: tuple[tuple[Unit, Unit], ...]
    original: tuple[Unit, ...]
    port: tuple[Unit, ...]


def align(
    original: Sequence[Unit], port: Sequence[Unit], inputs: Mapping[str, str] | None = None
) -> Alignment:
    """Pair the padded operators of two models.

    Parameters
    ----------
    original, port : sequence of Unit
        All units of either model, in the order of their positions.
    inputs : Mapping, optional
        Which input of the port is which of the original, by the original's name. Others are
        the same if they have one name, or no other partner.
    """
    search = _Search(original, port, inputs)
    search.by_weights()
    search.find_copies()
    for strict in (True, False):
        search.strict = strict
        search.settle()
        while path := search.by_order():
            for a, b in path:
                search.take(a, b)
                search.settle()
    matches = search.matches
    taken = set(matches.values())
    return Alignment(
        tuple((original[a], port[b]) for a, b in sorted(matches.items())),
        tuple(unit for unit in original if unit.position not in matches),
        tuple(unit for unit in port if unit.position not in taken),
    )


def readers(original: Sequence[Unit], port: Sequence[Unit]) -> Counter[tuple[str, str]]:
    """Return how many pairs of operators read either input of two, by the inputs' names.

    Pairs count that weights or surroundings tell, whatever inputs are called.
    """
    search = _Search(original, port, None)
    search.by_weights()
    search.find_copies()
    search.settle()
    found: Counter[tuple[str, str]] = Counter()
    for a, b in search.matches.items():
        names = original[a].reads, port[b].reads
        if len(names[0]) == len(names[1]) == 1:
            found[min(names[0]).split(":")[0], min(names[1]).split(":")[0]] += 1
    return found


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

    def __init__(
        self, original: Sequence[Unit], port: Sequence[Unit], inputs: Mapping[str, str] | None
    ) -> None:
        self.sides = (original, port)
        self.matches: Matches = {}
        self.taken: set[int] = set()
        self.strict = True
        self.ends = ends_of(self.sides, inputs)
        self.copies: tuple[Mapping[int, int], Mapping[int, int]] = ({}, {})
        self.upstream = tuple(_closures(side) for side in self.sides)
        self.ranks = tuple(_ranks(side) for side in self.sides)

    def take(self, a: Unit, b: Unit) -> None:
        """Pair two units, if either is still free and that contradicts no other pair."""
        free = a.position not in self.matches and b.position not in self.taken
        if free and self._consistent(a, b):
            self._add({a.position: b.position})

    def settle(self) -> None:
        """Pair what neighbours and surroundings tell."""
        while self.by_neighbours() or self.by_surroundings():
            pass

    def _add(self, new: Matches) -> None:
        self.matches |= new
        self.taken |= set(new.values())

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
            unique = rivals.max(initial=0.0) <= alike[row, column] - MARGIN
            if unique and compatible(ours[row], theirs[column]):
                self._add({ours[row].position: theirs[column].position})

    def find_copies(self) -> None:
        """Note which units that are left have copies in the other model."""
        self.copies = copies_of((self._left(0), self._left(1)))

    def by_neighbours(self) -> bool:
        """Pair units that share more paired neighbours with each other than with any other.

        Of those that share as many, the ones whose surroundings look more alike.
        """
        found = False
        while True:
            candidates = [pair for pair in self._frontier() if self._may_pair(*pair)]
            new = self._best(candidates)
            if not new:
                return found
            self._add(new)
            found = True

    def by_surroundings(self) -> bool:
        """Pair units whose surroundings look more alike than those of any other two."""
        candidates = [
            (a, b) for a, b in self._of_one_form() if self._may_pair(a, b) and self._is_copy(a, b)
        ]
        new = self._best(candidates)
        self._add(new)
        return bool(new)

    def _best(self, candidates: Sequence[tuple[Unit, Unit]]) -> Matches:
        shared = {(a.position, b.position): (self._shared(a, b),) for a, b in candidates}
        new = _mutual_best(shared)
        if new or not candidates:
            return new
        around = Neighbourhoods(self.sides, self._label, self.ends)
        return _mutual_best(
            {
                (a.position, b.position): (
                    *shared[a.position, b.position],
                    around.agreement(a, b),
                    _sizes_alike(a, b),
                )
                for a, b in candidates
            }
        )

    def _label(self, side: int, unit: Unit) -> Hashable:
        """Return what is known of a unit without its neighbours."""
        if side == 0 and unit.position in self.matches:
            return self.matches[unit.position]
        if side == 1 and unit.position in self.taken:
            return unit.position
        return unit.form, self.copies[side].get(unit.position)

    def by_order(self) -> list[tuple[Unit, Unit]]:
        """Return the longest common subsequence of what is left."""
        left = [self._left(0), self._left(1)]
        table = np.zeros((len(left[0]) + 1, len(left[1]) + 1))
        gains: dict[tuple[int, int], float] = {}
        for i, a in enumerate(left[0], start=1):
            for j, b in enumerate(left[1], start=1):
                best = max(table[i - 1, j], table[i, j - 1])
                if self._may_pair(a, b):
                    gains[i, j] = 1 + self._shared(a, b) + copy_bonus(a, b)
                    best = max(best, table[i - 1, j - 1] + gains[i, j])
                table[i, j] = best
        return [(left[0][i - 1], left[1][j - 1]) for i, j in reversed(_traced(table, gains))]

    def _left(self, side: int) -> list[Unit]:
        taken = self.taken if side else self.matches
        units = [unit for unit in self.sides[side] if unit.position not in taken]
        return sorted(units, key=lambda unit: self.ranks[side][unit.position])

    def _of_one_form(self) -> Iterator[tuple[Unit, Unit]]:
        by_form: dict[Hashable, list[Unit]] = defaultdict(list)
        for unit in self._left(1):
            by_form[unit.form].append(unit)
        return ((a, b) for a in self._left(0) for b in by_form[a.form])

    def _frontier(self) -> list[tuple[Unit, Unit]]:
        """Return free units that are next to the same pair, or to the same input or output."""
        found: set[tuple[int, int]] = set()
        for ours, theirs in self.matches.items():
            a, b = self.sides[0][ours], self.sides[1][theirs]
            found |= self._free(a.before, b.before) | self._free(a.after, b.after)
        for ends, what in ((self.ends.inputs, "reads"), (self.ends.outputs, "gives")):
            for names in ends.items():
                found |= self._free(
                    *(
                        {unit.position for unit in side if name in getattr(unit, what)}
                        for side, name in zip(self.sides, names, strict=True)
                    )
                )
        return [(self.sides[0][a], self.sides[1][b]) for a, b in sorted(found)]

    def _free(self, ours: set[int], theirs: set[int]) -> set[tuple[int, int]]:
        return set(product(ours - self.matches.keys(), theirs - self.taken))

    def _may_pair(self, a: Unit, b: Unit) -> bool:
        if not compatible(a, b) or (self.strict and not self._is_copy(a, b)):
            return False
        return self._consistent(a, b)

    def _is_copy(self, a: Unit, b: Unit) -> bool:
        return self.copies[0].get(a.position) == self.copies[1].get(b.position)

    def _shared(self, a: Unit, b: Unit) -> float:
        """Return which part of two units' neighbours are paired with each other, 0 to 1."""
        total = hits = 0
        for ours, theirs in ((a.before, b.before), (a.after, b.after)):
            paired = {self.matches[place] for place in ours if place in self.matches}
            hits += len(paired & theirs)
            total += max(len(ours), len(theirs))
        ends = ((self.ends.inputs, a.reads, b.reads), (self.ends.outputs, a.gives, b.gives))
        for same, mine, others in ends:
            hits += len({same.get(name) for name in mine} & others)
            total += max(len(mine), len(others))
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


def _sizes_alike(a: Unit, b: Unit) -> int:
    """Return how many axes of two units are known to have one size."""
    sizes = ((a.size(axis), b.size(axis)) for axis in range(a.window.rank))
    return sum(isinstance(one, int) and one == other for one, other in sizes)


def _mutual_best(scores: Mapping[tuple[int, int], tuple[float, ...]]) -> Matches:
    """Return the pairs of which either is the other's single best."""
    best: tuple[dict[int, list[tuple[Any, int]]], ...] = (defaultdict(list), defaultdict(list))
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
