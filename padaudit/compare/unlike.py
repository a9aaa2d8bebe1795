"""Operators that are one and the same but for their window: another stride, dilation or kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from padaudit.audit.findings import times
from padaudit.compare.align import Alignment, same_channels
from padaudit.compare.copies import COPY, likeness
from padaudit.compare.unit import Unit
from padaudit.ir.site import Window

Pair = tuple[Unit, Unit]


@dataclass(frozen=True, slots=True)
class WindowDifference:
    """A port's operator whose window is another than the original's."""

    original: Unit
    port: Unit

    @property
    def windows(self) -> tuple[Window, Window]:
        """The windows of the original and of the port."""
        nothing = Window((), (), ())
        return self.original.site.window or nothing, self.port.site.window or nothing

    @property
    def note(self) -> str:
        """What differs, one clause."""
        right, wrong = self.windows
        parts = [
            f"{word} {times(theirs)} where {times(ours)} is right"
            for word, ours, theirs in (
                ("kernel", right.kernel_shape, wrong.kernel_shape),
                ("stride", right.strides, wrong.strides),
                ("dilation", right.dilations, wrong.dilations),
            )
            if ours != theirs
        ]
        return f"it has {' and '.join(parts)}"


def pair_unlike(alignment: Alignment) -> tuple[Alignment, tuple[WindowDifference, ...]]:
    """Pair what an alignment has left over, whatever its window.

    Parameters
    ----------
    alignment : Alignment
        Pairs of operators of one form.

    Returns
    -------
    Alignment
        With the pairs whose windows differ in nothing that matters: the stride of a single
        window. The others of ``pairs`` are in neither of its lists.
    tuple of WindowDifference
        Pairs whose windows do differ, in the original's order.
    """
    pairs: list[Pair] = []
    while new := _next(alignment, pairs):
        pairs += new
    pairs.sort(key=lambda pair: pair[0].position)
    alike = [pair for pair in pairs if _act_alike(*pair)]
    units = {unit for pair in pairs for unit in pair}
    merged = sorted([*alignment.pairs, *alike], key=lambda pair: pair[0].position)
    rest = replace(
        alignment,
        pairs=tuple(merged),
        original=tuple(unit for unit in alignment.original if unit not in units),
        port=tuple(unit for unit in alignment.port if unit not in units),
    )
    return rest, tuple(WindowDifference(*pair) for pair in pairs if pair not in alike)


def _next(alignment: Alignment, found: Sequence[Pair]) -> list[Pair]:
    """Return more pairs: copies of one kernel, or else those between the same neighbours."""
    taken = {unit for pair in found for unit in pair}
    ours, theirs = (
        [unit for unit in side if unit not in taken]
        for side in (alignment.original, alignment.port)
    )
    matches = {a.position: b.position for a, b in (*alignment.pairs, *found)}
    candidates = [(a, b) for a in ours for b in theirs if _may_be_one(a, b)]
    copies = [pair for pair in candidates if _is_copy(*pair)]
    return _unique(copies) or _unique([pair for pair in candidates if _between(*pair, matches)])


def _may_be_one(a: Unit, b: Unit) -> bool:
    return a.family is b.family and a.window.rank == b.window.rank and same_channels(a, b)


def _is_copy(a: Unit, b: Unit) -> bool:
    if a.kernel is None or b.kernel is None or a.kernel.shape != b.kernel.shape:
        return False
    return bool(likeness([a], [b])[0, 0] >= COPY)


def _between(a: Unit, b: Unit, matches: dict[int, int]) -> bool:
    """Tell whether all neighbours of two units are paired with each other, and there are any."""
    if not (a.before or a.after):
        return False
    sides = ((a.before, b.before), (a.after, b.after))
    return all({matches.get(place) for place in ours} == theirs for ours, theirs in sides)


def _unique(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs whose units are in no other one."""
    counts: dict[Unit, int] = {}
    for unit in _flat(pairs):
        counts[unit] = counts.get(unit, 0) + 1
    return [(a, b) for a, b in pairs if counts[a] == counts[b] == 1]


def _flat(pairs: Sequence[Pair]) -> Iterator[Unit]:
    return (unit for pair in pairs for unit in pair)


def _act_alike(a: Unit, b: Unit) -> bool:
    """Tell whether windows are the same but for the stride of axes that have just one."""
    ours, theirs = a.window, b.window
    if (ours.kernel_shape, ours.dilations) != (theirs.kernel_shape, theirs.dilations):
        return False
    sizes = zip(_outputs(a), _outputs(b), ours.strides, theirs.strides, strict=True)
    return all(one == other or m == n == 1 for m, n, one, other in sizes)


def _outputs(unit: Unit) -> list[object]:
    return [unit.site.output_size[axis] for axis in unit.axes]
