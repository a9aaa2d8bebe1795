"""Which operators of two models have the same weights, whatever they are scaled by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from padaudit.compare.unit import Unit

COPY: Final = 0.98
"""How alike (mean cosine of their rows) two kernels are that are copies; quantised ones too."""
MARGIN: Final = 0.01
"""How much less alike others have to be, for a copy to be the only one."""
_LONGEST_ROW: Final = 1 << 14
Numbers = dict[int, int]
"""By position."""


def likeness(ours: Sequence[Unit], theirs: Sequence[Unit]) -> NDArray[Any]:
    """Return how alike kernels of one shape are: the mean |cosine| of their rows."""
    first, second = (
        np.stack([_thinned(unit.kernel) for unit in side if unit.kernel is not None])
        for side in (ours, theirs)
    )
    cosines = np.einsum("aok,bok->abo", first, second, optimize=True)
    return np.asarray(np.abs(cosines).mean(axis=2))


def copy_bonus(a: Unit, b: Unit) -> float:
    """Return how alike the kernels of two units are; 0 where that is not known."""
    if a.kernel is None or b.kernel is None or a.kernel.shape != b.kernel.shape:
        return 0.0
    return float(likeness([a], [b])[0, 0])


def copies_of(
    sides: tuple[Sequence[Unit], Sequence[Unit]],
) -> tuple[dict[int, int], dict[int, int]]:
    """Return a number for each unit, by position: the same for near copies.

    Units of which the other model has no copy are in none of the two.

    Parameters
    ----------
    sides : pair of sequences of Unit
        Units of two models.
    """
    numbers: tuple[Numbers, Numbers] = ({}, {})
    groups: dict[Hashable, list[tuple[int, Unit]]] = defaultdict(list)
    for place, side in enumerate(sides):
        for unit in side:
            if unit.kernel is not None:
                groups[unit.form, unit.kernel.shape].append((place, unit))
    for count, group in enumerate(_clusters(groups.values())):
        if len({place for place, _ in group}) == 2:
            for place, unit in group:
                numbers[place][unit.position] = count
    return numbers


def _clusters(groups: Iterable[list[tuple[int, Unit]]]) -> Iterator[list[tuple[int, Unit]]]:
    for group in groups:
        units = [unit for _, unit in group]
        graph: nx.Graph[int] = nx.from_numpy_array(likeness(units, units) >= COPY)
        for held in nx.connected_components(graph):
            yield [group[index] for index in held]


def _thinned(kernel: NDArray[Any]) -> NDArray[Any]:
    """Return a kernel's first rows where it has very many: they are telling enough."""
    return kernel[: max(_LONGEST_ROW * 16 // max(kernel.shape[1], 1), 1)]
