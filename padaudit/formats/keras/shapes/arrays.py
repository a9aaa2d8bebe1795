"""Shapes of array arithmetic: what reductions, slices, products and the like give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, Final

from padaudit.formats.keras.shapes.rule import ShapeUnknown, Tensor, integer, shown
from padaudit.ir.dims import Dim, Open, Shape, Unknown, known, map_dim

MAX_OUTPUTS: Final = 4096
"""How many outputs one call may have."""
_MAX_RANK: Final = 64


def shape_of(value: Any) -> Shape:
    """Return the shape of an argument: a tensor, a constant list or a number.

    >>> shape_of([[1, 2, 3], [4, 5, 6]]), shape_of(2.5)
    ((2, 3), ())
    """
    value = plain(value)
    if isinstance(value, Tensor):
        return value.shape
    sizes: list[int] = []
    while isinstance(value, list | tuple):
        sizes.append(len(value))
        if len(sizes) > _MAX_RANK:
            raise ShapeUnknown("one of its constants is nested too deeply")
        if not value:
            break
        if isinstance(value[0], Tensor):
            return (*sizes, *value[0].shape)
        value = value[0]
    return tuple(sizes)


def plain(value: Any) -> Any:
    """Return what Keras wraps a constant array or tensor in."""
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        if value.get("class_name") in ("__numpy__", "__tensor__"):
            return value["config"].get("value")
        if value.get("class_name") == "__tuple__":
            return value["config"].get("items")
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        return value["items"]
    return value


def axes_of(value: Any, rank: int) -> tuple[int, ...]:
    """Return axes as positions; None stands for all of them."""
    value = plain(value)
    if value is None:
        return tuple(range(rank))
    given = value if isinstance(value, list | tuple) else [value]
    return tuple(axis_of(item, rank) for item in given)


def axis_of(value: Any, rank: int) -> int:
    """Return one axis as a position.

    Raises
    ------
    ShapeUnknown
        If a tensor of that rank has no such axis.
    """
    axis = integer(plain(value))
    if not -rank <= axis < rank:
        raise ShapeUnknown(f"a tensor of {rank} axes has no axis {shown(axis)}")
    return axis % rank


def reduced(shape: Shape, axis: Any, keepdims: Any = False) -> Shape:
    """Return a shape without some axes (None: all of them), or with 1 in their place."""
    gone = set(axes_of(axis, len(shape)))
    if keepdims:
        return tuple(1 if i in gone else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in gone)


def expanded(shape: Shape, axis: Any) -> Shape:
    """Return a shape with axes of 1 added; positions count in the result."""
    axis = plain(axis)
    given = axis if isinstance(axis, list | tuple) else [axis]
    added = axes_of(given, len(shape) + len(given))
    rest = iter(shape)
    if len(set(added)) != len(added):
        raise ShapeUnknown("it adds an axis twice")
    return tuple(1 if i in added else next(rest) for i in range(len(shape) + len(given)))


def squeezed(shape: Shape, axis: Any) -> Shape:
    """Return a shape without its axes of 1; an open size counts as more than 1."""
    if axis is None or axis == []:
        return tuple(size for size in shape if size != 1)
    return reduced(shape, axis)


def transposed(shape: Shape, axes: Any) -> Shape:
    """Return a shape with its axes reordered (reversed without ``axes``)."""
    axes = plain(axes)
    order = range(len(shape) - 1, -1, -1) if axes is None else axes_of(axes, len(shape))
    if len(set(order)) != len(shape):
        raise ShapeUnknown("it does not name every axis once")
    return tuple(shape[axis] for axis in order)


def moved(shape: Shape, source: Any, destination: Any) -> Shape:
    """Return a shape with some axes moved, the others in their order."""
    origin = axes_of(source, len(shape))
    target = axes_of(destination, len(shape))
    placed = dict(zip(target, origin, strict=True))
    rest = iter(axis for axis in range(len(shape)) if axis not in origin)
    return tuple(shape[placed[i] if i in placed else next(rest)] for i in range(len(shape)))


def swapped(shape: Shape, first: Any, second: Any) -> Shape:
    """Return a shape with two axes exchanged."""
    one, other = axis_of(first, len(shape)), axis_of(second, len(shape))
    sizes = list(shape)
    sizes[one], sizes[other] = sizes[other], sizes[one]
    return tuple(sizes)


def replaced(shape: Shape, axis: Any, size: Dim) -> Shape:
    """Return a shape with another size on one axis."""
    where = axis_of(axis, len(shape))
    return (*shape[:where], size, *shape[where + 1 :])


def scaled(size: Dim, factor: int) -> Dim:
    """Return a size multiplied.

    >>> scaled(Open("H"), 2)
    Open(name='2*H')
    """
    return map_dim(size, lambda n: n * factor, f"{factor}*{{}}" if factor != 1 else "{}")


def grown(size: Dim, amount: int) -> Dim:
    """Return a size with something added, or taken away.

    >>> grown(Open("H"), -2), grown(7, 3)
    (Open(name='H-2'), 10)
    """
    return map_dim(size, lambda n: n + amount, f"{{}}{amount:+d}" if amount else "{}")


def divided(size: Dim, divisor: int) -> Dim:
    """Return a size divided by what divides it.

    Raises
    ------
    ShapeUnknown
        If it does not.
    """
    if divisor < 1 or (isinstance(size, int) and size % divisor):
        raise ShapeUnknown(f"{shown(divisor)} does not divide its size {size}")
    return map_dim(size, lambda n: n // divisor, f"{{}}/{divisor}")


def tiled(shape: Shape, repeats: Any) -> Shape:
    """Return a shape repeated per axis, aligned at the end."""
    repeats = plain(repeats)
    factors = [integer(item) for item in (repeats if isinstance(repeats, list) else [repeats])]
    rank = max(len(shape), len(factors))
    sizes = (1,) * (rank - len(shape)) + shape
    factors = [1] * (rank - len(factors)) + factors
    return tuple(scaled(*pair) for pair in zip(sizes, factors, strict=True))


def padded(shape: Shape, width: Any) -> Shape:
    """Return a shape with (before, after) elements added per axis.

    One amount, or one pair, is for all axes.
    """
    width = plain(width)
    if isinstance(width, int):
        width = [width]
    pairs = [_pair(item) for item in width]
    if len(pairs) == 1:
        pairs *= len(shape)
    return tuple(grown(size, sum(pair)) for size, pair in zip(shape, pairs, strict=True))


def _pair(value: Any) -> tuple[int, int]:
    value = plain(value)
    if not isinstance(value, list | tuple):
        value = [value, value]
    before, after = value if len(value) > 1 else value * 2
    return integer(before), integer(after)


def product(sizes: Sequence[Dim]) -> Dim:
    """Return the number of elements of some axes."""
    if known(tuple(sizes)):
        return math.prod(size for size in sizes if isinstance(size, int))
    lost = next((size for size in sizes if isinstance(size, Unknown)), None)
    return lost or Open()


def total(sizes: Sequence[Dim]) -> Dim:
    """Return the sum of some sizes."""
    if known(tuple(sizes)):
        return sum(size for size in sizes if isinstance(size, int))
    lost = next((size for size in sizes if isinstance(size, Unknown)), None)
    return lost or Open()


def reshaped(shape: Shape, target: Any) -> Shape:
    """Return ``target`` with its -1 filled in from the elements of ``shape``.

    Sizes in ``target`` are integers or dims (None stands for an open one).
    """
    sizes = [_target(item) for item in target]
    if sizes.count(-1) > 1:
        raise ShapeUnknown("its target shape has more than one -1")
    return tuple(_rest(shape, sizes) if size == -1 else size for size in sizes)


def _target(value: Any) -> Dim:
    if isinstance(value, Tensor):
        value = value.value if not isinstance(value.value, tuple) else None
    if value is None:
        return Open()
    return value if isinstance(value, Open | Unknown) else integer(value)


def _rest(shape: Shape, target: Sequence[Dim]) -> Dim:
    """Return the size that -1 stands for; open sizes on both sides cancel."""
    have, others = list(shape), [size for size in target if size != -1]
    for size in list(others):
        named = isinstance(size, Open) and size.name is not None
        if named and size in have:
            have.remove(size)
            others.remove(size)
    if len(have) == 1 and all(size == 1 for size in others):
        return have[0]
    elements, divisor = product(have), product(others)
    if isinstance(elements, Unknown) or isinstance(divisor, Unknown):
        return elements if isinstance(elements, Unknown) else divisor
    if not isinstance(elements, int) or not isinstance(divisor, int):
        return Open()
    if divisor == 0 or elements % divisor:
        raise ShapeUnknown(f"{elements} elements do not fit its target shape")
    return elements // divisor


def broadcast(left: Shape, right: Shape) -> Shape:
    """Return the shape of an elementwise operation of two tensors (aligned at the end)."""
    rank = max(len(left), len(right))
    filled = ((1,) * (rank - len(shape)) + shape for shape in (left, right))
    return tuple(wider(*pair) for pair in zip(*filled, strict=True))


def broadcast_all(shapes: Sequence[Shape]) -> Shape:
    """Return the shape of an elementwise operation of some tensors."""
    return reduce(broadcast, shapes, ())


def wider(left: Dim, right: Dim) -> Dim:
    """Return the size of two broadcast axes."""
    if left == 1:
        return right
    return left if right == 1 else agreed(left, right)


def agreed(left: Dim, right: Dim) -> Dim:
    """Return the better known of two sizes that must be equal when the model runs.

    Raises
    ------
    ShapeUnknown
        If they are known and differ.
    """
    if isinstance(left, int) and isinstance(right, int) and left != right:
        raise ShapeUnknown(f"sizes {left} and {right} do not fit together")
    order = (int, Open, Unknown)
    ranks = {kind: rank for rank, kind in enumerate(order)}
    return min(left, right, key=lambda size: ranks[type(size)])


def joined(shapes: Sequence[Shape], axis: Any) -> Shape:
    """Return the shape of a concatenation."""
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes):
        raise ShapeUnknown("it joins tensors of different rank")
    where = axis_of(axis, rank)
    sizes = (
        total(column) if i == where else reduce(agreed, column)
        for i, column in enumerate(zip(*shapes, strict=True))
    )
    return tuple(sizes)


def stacked(shapes: Sequence[Shape], axis: Any) -> Shape:
    """Return the shape of tensors of one shape stacked along a new axis."""
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes):
        raise ShapeUnknown("it stacks tensors of different rank")
    where = axis_of(axis, rank + 1)
    common = tuple(reduce(agreed, column) for column in zip(*shapes, strict=True))
    return (*common[:where], len(shapes), *common[where:])


def diagonal(shape: Shape, offset: Any, first: Any, second: Any) -> Shape:
    """Return a shape with two axes replaced by their diagonal, which goes last."""
    one, other = axis_of(first, len(shape)), axis_of(second, len(shape))
    rows, columns, shift = shape[one], shape[other], integer(offset)
    rest = tuple(size for i, size in enumerate(shape) if i not in (one, other))
    if not isinstance(rows, int) or not isinstance(columns, int):
        return (*rest, Open())
    left = columns - shift if shift > 0 else rows + shift
    return (*rest, max(0, min(left, rows, columns)))
