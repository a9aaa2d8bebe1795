"""Shapes of slices, splits and gathered elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from padaudit.formats.keras.shapes.arrays import (
    MAX_OUTPUTS,
    axis_of,
    divided,
    grown,
    plain,
    reduced,
    replaced,
)
from padaudit.formats.keras.shapes.rule import ShapeUnknown, Tensor, integer, shown
from padaudit.ir.dims import Dim, Open, Shape, Unknown, map_dim


def split(shape: Shape, sections: Any, axis: Any) -> tuple[Shape, ...]:
    """Return the parts of a split: a number of equal ones, or the indices between them."""
    where, sections = axis_of(axis, len(shape)), plain(sections)
    if not isinstance(sections, list | tuple):
        count = _count(sections)
        return (replaced(shape, where, divided(shape[where], count)),) * count
    size = shape[where]
    bounds = [integer(item) for item in sections]
    if len(bounds) >= MAX_OUTPUTS:
        raise ShapeUnknown(f"it makes {len(bounds)} parts")
    starts: list[int] = [0, *bounds]
    ends: list[int | None] = [*bounds, None]
    return tuple(
        replaced(shape, where, sliced_size(size, slice(start, end)))
        for start, end in zip(starts, ends, strict=True)
    )


def parted(shape: Shape, sizes: Sequence[Any], axis: Any) -> tuple[Shape, ...]:
    """Return the parts of a split whose sizes are given; one -1 takes what is left."""
    where = axis_of(axis, len(shape))
    given = [integer(item) for item in sizes]
    if len(given) > MAX_OUTPUTS:
        raise ShapeUnknown(f"it makes {len(given)} parts")
    rest = grown(shape[where], -sum(size for size in given if size >= 0))
    return tuple(replaced(shape, where, rest if size < 0 else size) for size in given)


def unequal_parts(shape: Shape, count: Any, axis: Any) -> tuple[Shape, ...]:
    """Return the parts of a split in which the first ones may be one longer."""
    where, parts = axis_of(axis, len(shape)), _count(count)
    size = shape[where]
    if not isinstance(size, int):
        return (replaced(shape, where, Open()),) * parts
    each, longer = divmod(size, parts)
    return tuple(replaced(shape, where, each + (part < longer)) for part in range(parts))


def unstacked(shape: Shape, count: Any, axis: Any) -> tuple[Shape, ...]:
    """Return the slices of a tensor along an axis."""
    where = axis_of(axis, len(shape))
    size = shape[where] if count is None else integer(plain(count))
    if not isinstance(size, int):
        raise ShapeUnknown("the size of the axis that it takes apart is open")
    return (reduced(shape, where),) * _count(size)


def _count(value: Any) -> int:
    count = integer(plain(value))
    if not 0 < count <= MAX_OUTPUTS:
        raise ShapeUnknown(f"it makes {shown(count)} parts")
    return count


def sliced_size(size: Dim, part: slice) -> Dim:
    """Return a size after a slice.

    An open size keeps its name through a full slice, and loses constant amounts at its ends.

    >>> sliced_size(Open("H"), slice(1, -1)), sliced_size(9, slice(None, None, 2))
    (Open(name='H-2'), 5)
    """
    step = 1 if part.step is None else part.step
    if isinstance(size, int):
        return len(range(*part.indices(size)))
    start, stop = part.start or 0, part.stop
    if isinstance(size, Unknown) or step < 1 or start < 0 or (stop is not None and stop >= 0):
        return size if isinstance(size, Unknown) else Open()
    inner = grown(size, (stop or 0) - start)
    if step == 1:
        return inner
    return map_dim(inner, lambda n: -(-n // step), f"ceil(({{}})/{step})")


def indexed(shape: Shape, key: Sequence[Any]) -> Shape:
    """Return the shape of ``tensor[key]``.

    Parameters
    ----------
    shape : Shape
        The tensor's shape.
    key : sequence of (int, slice, None, Ellipsis, Shape)
        One item per axis; a shape stands for an array of indices.
    """
    axes = sum(item is not None and item is not Ellipsis for item in key)
    if axes > len(shape):
        raise ShapeUnknown(f"it takes {axes} axes of a tensor of {len(shape)}")
    full = [slice(None)] * (len(shape) - axes)
    if Ellipsis not in key:
        key = [*key, Ellipsis]
    if sum(item is Ellipsis for item in key) > 1:
        raise ShapeUnknown("it has more than one ellipsis")
    where = next(i for i, item in enumerate(key) if item is Ellipsis)
    items = [*key[:where], *full, *key[where + 1 :]]
    arrays = [item for item in items if isinstance(item, tuple)]
    if len(arrays) > 1 or (arrays and any(isinstance(item, int) for item in items)):
        raise ShapeUnknown("it is indexed by several arrays")
    return tuple(_indexed(shape, items))


def _indexed(shape: Shape, items: Sequence[Any]) -> Iterator[Dim]:
    sizes = iter(shape)
    for item in items:
        if item is None:
            yield 1
            continue
        size = next(sizes)
        if isinstance(item, slice):
            yield sliced_size(size, item)
        elif isinstance(item, tuple):
            yield from item


def taken(shape: Shape, indices: Shape, axis: Any) -> Shape:
    """Return the shape of ``take``: the axis becomes the axes of the indices."""
    if axis is None:
        return indices
    where = axis_of(axis, len(shape))
    return (*shape[:where], *indices, *shape[where + 1 :])


def block(shape: Shape, starts: Any, sizes: Sequence[Any]) -> Iterator[Dim]:
    """Yield the sizes of a block of a tensor; -1 goes from the start to the end."""
    first = starts if isinstance(starts, list | tuple) else [None] * len(shape)
    for size, start, wanted in zip(shape, first, sizes, strict=True):
        if isinstance(plain(wanted), Tensor):
            yield Open()
        elif integer(plain(wanted)) != -1:
            yield integer(plain(wanted))
        elif isinstance(start, int) and isinstance(size, int):
            yield size - start
        else:
            yield size if start == 0 else Open()
