"""How far around two padded operators their networks look the same.

Colours are refined as by Weisfeiler and Leman: an operator's first colour is its form and its
weights, each further one adds the colours of its neighbours. Two operators agree as far as their
colours do. Inputs and outputs that are known to be the same have colours of their own, and so
have operators that are paired already.

References
----------
B. Weisfeiler, A. Leman: The reduction of a graph to canonical form and the algebra which appears
therein. Nauchno-Technicheskaya Informatsia 2(9), 1968.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from padaudit.compare.unit import Unit

RADIUS: Final = 12
"""How many operators far one looks."""
_WAYS: Final = ((True, False), (False, True), (True, True))
"""Upstream, downstream, and both."""
Colours = list[int]
"""By position."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Which inputs and outputs of two models are the same, by their names in the original."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def ends_of(
    sides: tuple[Sequence[Unit], Sequence[Unit]], inputs: Mapping[str, str] | None = None
) -> Ends:
    """Return which inputs and outputs of two models are the same.

    Those of one name are, and a last one without a partner on either side.

    Parameters
    ----------
    sides : pair of sequences of Unit
        The operators of either model.
    inputs : Mapping, optional
        Inputs that are known to be the same.
    """
    known = {a.split(":")[0]: b.split(":")[0] for a, b in (inputs or {}).items()}
    reads = tuple(_plain(name for unit in side for name in unit.reads) for side in sides)
    gives = tuple(_plain(name for unit in side for name in unit.gives) for side in sides)
    return Ends(_paired(reads[0], reads[1], known), _paired(gives[0], gives[1], {}))


def _plain(names: Iterable[str]) -> dict[str, str]:
    """Return names by what is in front of their colon, where that is unique."""
    found: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        found.setdefault(name.split(":")[0], []).append(name)
    short = {key: held[0] for key, held in found.items() if len(held) == 1}
    return short | {name: name for held in found.values() if len(held) > 1 for name in held}


def _paired(
    ours: Mapping[str, str], theirs: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, str]:
    pairs = {name: known.get(name, name) for name in ours}
    found = {name: other for name, other in pairs.items() if other in theirs}
    left = [name for name in ours if name not in found]
    free = [name for name in theirs if name not in found.values()]
    if len(left) == len(free) == 1:
        found[left[0]] = free[0]
    return {ours[name]: theirs[other] for name, other in found.items()}


class Neighbourhoods:
    """The colours of two models' operators.

    Parameters
    ----------
    sides : pair of sequences of Unit
        The operators, by position.
    labels : callable
        Return the first colour of an operator.
    ends : Ends
        The inputs and outputs that are the same.
    """

    def __init__(
        self,
        sides: tuple[Sequence[Unit], Sequence[Unit]],
        labels: Callable[[int, Unit], Hashable],
        ends: Ends,
    ) -> None:
        self._numbers: dict[Hashable, int] = {}
        names = (
            (_named(ends.inputs, 0), _named(ends.outputs, 0)),
            (_named(ends.inputs, 1), _named(ends.outputs, 1)),
        )
        self._rounds = [
            [
                list(self._refined(side, [labels(place, unit) for unit in side], names[place], way))
                for place, side in enumerate(sides)
            ]
            for way in _WAYS
        ]

    def agreement(self, a: Unit, b: Unit) -> int:
        """Return how far two operators agree upstream, downstream and in both, summed."""
        return sum(
            sum(
                ours[a.position] == theirs[b.position] for ours, theirs in zip(*rounds, strict=True)
            )
            for rounds in self._rounds
        )

    def _refined(
        self,
        units: Sequence[Unit],
        labels: Sequence[Hashable],
        names: tuple[Mapping[str, int], Mapping[str, int]],
        way: tuple[bool, bool],
    ) -> list[Colours]:
        colours = [self._number(label) for label in labels]
        found = [colours]
        for _ in range(RADIUS):
            last = colours
            colours = [
                self._number(
                    (
                        last[unit.position],
                        _seen(unit.before, unit.reads, names[0], last) if way[0] else (),
                        _seen(unit.after, unit.gives, names[1], last) if way[1] else (),
                    )
                )
                for unit in units
            ]
            found.append(colours)
        return found

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


def _named(ends: Mapping[str, str], side: int) -> dict[str, int]:
    """Return a number for each end, the same for both of its names."""
    return {pair[side]: number for number, pair in enumerate(sorted(ends.items()))}


def _seen(
    places: set[int], ends: set[str], numbers: Mapping[str, int], colours: Colours
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    units = tuple(sorted(colours[place] for place in places))
    return units, tuple(sorted(numbers.get(name, -1) for name in ends))
