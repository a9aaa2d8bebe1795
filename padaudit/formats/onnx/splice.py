"""Changing an ONNX file at the wire level: what is not changed stays byte for byte.

A `Splice` replaces a range of the file by new bytes. The lengths of the messages around it
are written anew; everything else is copied as a range, never decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from padaudit.formats.onnx.wire import encode_varint


@dataclass(frozen=True, slots=True)
class Place:
    """A message as it stands in a file.

    Parameters
    ----------
    length_at : int
        Where the varint of its length begins.
    payload, end : int
        Where its content begins and ends.
    around : Place or None
        The message that holds it; None if that is the model itself.
    """

    length_at: int
    payload: int
    end: int
    around: Place | None = None

    def chain(self) -> Iterator[Place]:
        """Yield this message and those around it, innermost first."""
        place: Place | None = self
        while place is not None:
            yield place
            place = place.around


@dataclass(frozen=True, slots=True)
class Span:
    """A range of the original file."""

    start: int
    end: int


Content = tuple[bytes | Span, ...]
EMPTY: Final[Content] = ()


@dataclass(frozen=True, slots=True)
class Splice:
    """A range of the file and what takes its place.

    Parameters
    ----------
    start, end : int
        The range; empty for an insertion. Ranges of different splices don't overlap, and
        insertions at one place keep their order.
    content : tuple of (bytes or Span)
        What stands there afterwards.
    inside : Place or None
        The innermost message that holds the range; None for the model itself.
    """

    start: int
    end: int
    content: Content
    inside: Place | None

    @property
    def growth(self) -> int:
        """How many bytes longer the content is than the range."""
        return size_of(self.content) - (self.end - self.start)


def spliced(start: int, end: int, splices: Iterable[Splice]) -> Content:
    """Return the range of a file with all splices made, as bytes and ranges of the file.

    The lengths of messages that begin before the range are left to the caller.
    """
    given = list(splices)
    pieces: list[bytes | Span] = []
    at = start
    ordered = sorted((*given, *_lengths(given)), key=_order)
    for splice in ordered:
        if splice.start < start:
            continue
        if splice.start > at:
            pieces.append(Span(at, splice.start))
        pieces.extend(splice.content)
        at = splice.end
    if at < end:
        pieces.append(Span(at, end))
    return tuple(pieces)


def _order(splice: Splice) -> tuple[int, int, int]:
    """Sort by place; what is appended to an inner message stands before what follows it."""
    depth = sum(1 for _ in splice.inside.chain()) if splice.inside else 0
    return splice.start, splice.end, -depth


def _lengths(splices: Iterable[Splice]) -> Iterator[Splice]:
    """Yield the splices that write the lengths of the messages around others anew."""
    growth: dict[Place, int] = {}
    for splice in splices:
        for place in splice.inside.chain() if splice.inside else ():
            growth[place] = growth.get(place, 0) + splice.growth
    for place in sorted(growth, key=lambda item: item.payload, reverse=True):
        length = encode_varint(place.end - place.payload + growth[place])
        splice = Splice(place.length_at, place.payload, (length,), place.around)
        for outer in place.around.chain() if place.around else ():
            growth[outer] += splice.growth
        yield splice


def size_of(content: Content) -> int:
    """Return how many bytes a content has."""
    return sum(
        piece.end - piece.start if isinstance(piece, Span) else len(piece) for piece in content
    )
