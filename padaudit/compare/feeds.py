"""Inputs for two models whose inputs differ in name, order or layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations, product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.errors import UsageError
from padaudit.verification.inputs import InputSpec, element_type, generate, open_sizes
from padaudit.verification.model_level import KINDS, SEED

Array = NDArray[Any]
Feed = dict[str, Array]
_MAX_WAYS: Final = 9
_MAX_GUESSES: Final = 24
"""How many orders of inputs are tried: all of four inputs."""


@dataclass(frozen=True, slots=True)
class Link:
    """An input of the original, the port's input that is the same, and how axes move."""

    ours: InputSpec
    theirs: InputSpec
    order: tuple[int, ...]

    def narrowed(self) -> InputSpec:
        """Return the original's input, with the sizes that the port's alone states."""
        shape = list(self.ours.shape)
        for place, axis in enumerate(self.order):
            size = self.theirs.shape[place]
            if not isinstance(shape[axis], int) and isinstance(size, int):
                shape[axis] = size
        return replace(self.ours, shape=tuple(shape))

    def moved(self, array: Array) -> Array:
        """Return an input of the original as the port takes it, in its layout and type."""
        return np.ascontiguousarray(array.transpose(self.order), element_type(self.theirs.dtype))


def links(
    ours: Sequence[InputSpec],
    theirs: Sequence[InputSpec],
    words: tuple[str, str] = ("first model", "second"),
) -> list[list[Link]]:
    """Return the ways in which the inputs of two models may belong together.

    Inputs are paired by name, then by place, then by shape. Where shapes do not tell whether
    channels come first or last, there are several ways. ``words`` name the models in errors.

    Raises
    ------
    UsageError
        If they don't fit together at all.
    """
    if len(ours) != len(theirs):
        raise UsageError(
            f"the {words[0]} has {len(ours)} inputs and the {words[1]} {len(theirs)}: "
            "they can't be fed the same"
        )
    free = list(theirs)
    choices: list[list[Link]] = [[] for _ in ours]
    named = {item.name for item in theirs}
    for place, spec in sorted(enumerate(ours), key=lambda item: item[1].name not in named):
        ranked = sorted(free, key=lambda item: (item.name != spec.name, item != theirs[place]))
        found = next((item for item in ranked if _orders(spec, item)), None)
        if found is None:
            shapes = ", ".join(f"'{item.name}' {_text(item)}" for item in free)
            given = f"the {words[0]}'s input '{spec.name}' {_text(spec)}"
            raise UsageError(f"{given} fits none of the {words[1]}'s: {shapes}")
        free.remove(found)
        choices[place] = [Link(spec, found, order) for order in _orders(spec, found)]
    return [list(way) for _, way in zip(range(_MAX_WAYS), product(*choices), strict=False)]


def other_links(way: Sequence[Link]) -> Iterator[list[Link]]:
    """Yield what else inputs may belong to whose names did not tell, by shape alone."""
    places = [place for place, link in enumerate(way) if link.ours.name != link.theirs.name]
    held = [way[place].theirs for place in places]
    for theirs in islice(permutations(held), 1, _MAX_GUESSES):
        found = list(way)
        for place, item in zip(places, theirs, strict=True):
            orders = _orders(way[place].ours, item)
            if not orders:
                break
            found[place] = Link(way[place].ours, item, orders[0])
        else:
            yield found


def feeds(way: Sequence[Link], base: Sequence[int]) -> list[Feed]:
    """Return inputs of every kind for the original, at several sizes where sizes are open."""
    specs = [link.narrowed() for link in way]
    sizes = open_sizes(specs, base)
    return [generate(specs, kind, SEED, assigned) for assigned in sizes for kind in KINDS]


def as_port(way: Sequence[Link], feed: Mapping[str, Array]) -> Feed:
    """Return inputs of the original as the port takes them."""
    return {link.theirs.name: link.moved(feed[link.ours.name]) for link in way}


def _orders(ours: InputSpec, theirs: InputSpec) -> list[tuple[int, ...]]:
    """Return the orders of the original's axes that give the port's shape.

    Of several, those are left in which the most sizes are stated alike.
    """
    rank = len(ours.shape)
    if rank != len(theirs.shape):
        return []
    alike: dict[tuple[int, ...], int] = {}
    for order in layouts(rank):
        pairs = [(ours.shape[axis], theirs.shape[place]) for place, axis in enumerate(order)]
        stated = [(a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
        if all(a == b for a, b in stated):
            alike[order] = len(stated)
    most = max(alike.values(), default=0)
    return [order for order, count in alike.items() if count == most]


def layouts(rank: int) -> Iterator[tuple[int, ...]]:
    """Yield how axes may be reordered: not at all, channels to the front, or to the end."""
    yield tuple(range(rank))
    if rank > 2:
        yield (0, rank - 1, *range(1, rank - 1))
        yield (0, *range(2, rank), 1)


def _text(spec: InputSpec) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in spec.shape)})"
