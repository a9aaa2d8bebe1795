"""Shapes of matrix products and contractions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from padaudit.formats.keras.shapes.arrays import agreed, axes_of, broadcast, plain, wider
from padaudit.formats.keras.shapes.rule import ShapeUnknown, integer, shown
from padaudit.ir.dims import Dim, Shape


def matmul(left: Shape, right: Shape) -> Shape:
    """Return the shape of a matrix product with broadcast batch axes."""
    if not left or not right:
        raise ShapeUnknown("it multiplies matrices with a number")
    first = (1, *left) if len(left) == 1 else left
    second = (*right, 1) if len(right) == 1 else right
    agreed(first[-1], second[-2])
    shape = (*broadcast(first[:-2], second[:-2]), first[-2], second[-1])
    if len(left) == 1:
        shape = (*shape[:-2], shape[-1])
    return shape[:-1] if len(right) == 1 else shape


def dot(left: Shape, right: Shape) -> Shape:
    """Return the shape of numpy's ``dot``."""
    if not left or not right:
        return left or right
    if len(right) == 1:
        agreed(left[-1], right[0])
        return left[:-1]
    agreed(left[-1], right[-2])
    return (*left[:-1], *right[:-2], right[-1])


def tensordot(left: Shape, right: Shape, axes: Any) -> Shape:
    """Return the shape of numpy's ``tensordot``."""
    axes = plain(axes)
    if not isinstance(axes, list | tuple):
        count = integer(axes)
        if not 0 <= count <= min(len(left), len(right)):
            raise ShapeUnknown(f"it contracts {shown(count)} axes")
        axes = [list(range(len(left) - count, len(left))), list(range(count))]
    first, second = axes_of(axes[0], len(left)), axes_of(axes[1], len(right))
    kept = [size for i, size in enumerate(left) if i not in first]
    return (*kept, *(size for i, size in enumerate(right) if i not in second))


def einsum(equation: Any, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of ``einsum``; ``...`` stands for broadcast axes."""
    text = str(equation).replace(" ", "").replace("...", ".")
    sources, arrow, target = text.partition("->")
    terms = sources.split(",")
    if len(terms) != len(shapes):
        raise ShapeUnknown("its equation does not fit its inputs")
    sizes: dict[str, Dim] = {}
    ahead: Shape = ()
    for term, shape in zip(terms, shapes, strict=True):
        named, free = _named_axes(term, shape)
        ahead = broadcast(ahead, free)
        for letter, size in named:
            sizes[letter] = wider(sizes.get(letter, 1), size)
    if not arrow:
        letters = sources.replace(",", "").replace(".", "")
        once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        target = "".join(["." if "." in sources else "", *once])
    sizes_of = {**{letter: (size,) for letter, size in sizes.items()}, ".": ahead}
    return tuple(size for letter in target for size in sizes_of[letter])


def _named_axes(term: str, shape: Shape) -> tuple[list[tuple[str, Dim]], Shape]:
    """Return the sizes of a term's letters, and those that its ellipsis stands for."""
    before, dots, after = term.partition(".")
    free = len(shape) - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise ShapeUnknown("its equation does not fit its inputs")
    tail = shape[len(before) + free :]
    named = [*zip(before, shape, strict=False), *zip(after, tail, strict=True)]
    return named, shape[len(before) : len(before) + free]
