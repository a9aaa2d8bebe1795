"""An original and its port, read at the sizes that either of them states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from padaudit.compare.engine import specs_of
from padaudit.compare.feeds import Feed, Link, as_port, feeds, links, other_links
from padaudit.compare.seen import Seen, observe, unsettled
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import Loaded, load, loaded
from padaudit.verification.inputs import OTHER_SIZES, USUAL_SIZES
from padaudit.verification.runner import Limits
from padaudit.verification.samples import from_file

_SEEN_AT: Final = OTHER_SIZES[1:]
"""Sizes to look at one run at, one of them for all axes: what a file states may be square."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both models, and the ways in which their inputs may belong together.

    ``bases`` are the sizes that open ones are tried at, ``own`` the user's inputs, if any.
    """

    original: Loaded
    port: Loaded
    ways: list[list[Link]]
    bases: Sequence[Sequence[int]] = (USUAL_SIZES, *OTHER_SIZES)
    note: str = ""
    own: Sequence[Feed] = ()

    def tries(self, bases: Sequence[Sequence[int]]) -> list[Sequence[Feed]]:
        """Return sets of inputs for the original, in the order in which they are to be tried."""
        return [self.own] if self.own else [feeds(self.ways[0], base) for base in bases]


def load_pair(
    original: Path, port: Path, input_shapes: InputShapes, inputs: Path | None = None
) -> Pair:
    """Read both models, with the sizes that either states or the user gives, and their inputs."""
    ours, theirs = load(original, input_shapes), load(port, InputShapes())
    specs = specs_of(ours, input_shapes), specs_of(theirs, InputShapes())
    ways = links(*specs, ("original", "port"))
    own = from_file(inputs, [link.narrowed() for link in ways[0]]).feeds if inputs else ()
    if len(ways) > 1:
        return Pair(ours, theirs, ways, own=own)
    narrowed = {link.ours.name: link.narrowed().shape for link in ways[0]}
    fixed = {name: _sizes(shape) for name, shape in narrowed.items()}
    moved = {
        link.theirs.name: tuple(fixed[link.ours.name][axis] for axis in link.order)
        for link in ways[0]
    }
    if any(_sizes(spec.shape) != fixed[spec.name] for spec in specs[0]):
        ours = load(original, InputShapes(fixed))
    if any(_sizes(spec.shape) != moved[spec.name] for spec in specs[1]):
        theirs = load(port, InputShapes(moved))
    return Pair(ours, theirs, ways, own=own)


def relinked(pair: Pair, readers: Counter[tuple[str, str]]) -> Pair:
    """Return a pair whose inputs belong together by what reads them, if names do not tell.

    Parameters
    ----------
    pair : Pair
        Both models; inputs of other names were paired by their places.
    readers : Counter
        How many operators that are one and the same read an input of the original and one of
        the port, by the names of these two.
    """
    way = pair.ways[0]
    if len(pair.ways) > 1:
        return pair
    sizes = [link.narrowed().shape for link in way]
    others = (item for item in other_links(way) if [i.narrowed().shape for i in item] == sizes)
    best = max(
        (way, *others),
        key=lambda item: sum(readers[link.ours.name, link.theirs.name] for link in item),
    )
    if best is way:
        return pair
    told = ", ".join(f"'{link.theirs.name}' is '{link.ours.name}'" for link in best)
    note = f"the port's inputs were told by what reads them: {told}"
    return replace(pair, ways=[best], note="; ".join(filter(None, (pair.note, note))))


def settled(pair: Pair, scratch: Path, limits: Limits) -> tuple[Pair, tuple[Seen, Seen]]:
    """Look at one run of each model whose Pads have amounts that the file does not state.

    Where sizes are open, both models are compared at the sizes of that run alone.
    """
    if len(pair.ways) > 1 or not (unsettled(pair.original) or unsettled(pair.port)):
        return pair, (Seen(), Seen())
    tries = (_seen_at(pair, base, scratch, limits) for base in _SEEN_AT)
    return next(filter(None, tries), (pair, (Seen(), Seen())))


def _seen_at(
    pair: Pair, base: Sequence[int], scratch: Path, limits: Limits
) -> tuple[Pair, tuple[Seen, Seen]] | None:
    """Look at one run of each model, with open sizes from a base; None if one does not run."""
    way = pair.ways[0]
    feed = pair.tries([base])[0][0]
    given = as_port(way, feed)
    fixed = [
        Link(
            replace(link.ours, shape=feed[link.ours.name].shape),
            replace(link.theirs, shape=given[link.theirs.name].shape),
            link.order,
        )
        for link in way
    ]
    sides = []
    for model, values in ((pair.original, feed), (pair.port, given)):
        shapes = InputShapes({name: array.shape for name, array in values.items()})
        sized = loaded(model.document, shapes)
        amounts = unsettled(sized)
        seen = observe(sized, values, scratch, limits) if amounts else Seen()
        if amounts and not seen.values:
            return None
        sides.append((loaded(model.document, shapes, seen.shapes) if seen.shapes else sized, seen))
    opened = any(not isinstance(size, int) for link in way for size in link.narrowed().shape[1:])
    size = ", ".join(map(str, base))
    note = f"amounts are computed from sizes that are open: compared at {size} only"
    (ours, first), (theirs, second) = sides
    sized_pair = Pair(ours, theirs, [fixed], [base], note if opened else "", pair.own)
    return sized_pair, (first, second)


def _sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)
