"""Layers that combine several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, shape_rule
from padaudit.ir.dims import Dim, Open, Shape, Unknown

_KERAS1_MODES = frozenset({"sum", "mul", "ave", "max", "min"})


@shape_rule(
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Maximum",
    "Minimum",
    "Divide",
    "TrueDivide",
    "Power",
    "FloorDivide",
    "Where",
    "Greater",
    "Less",
    "Equal",
    "LogicalAnd",
    "LogicalOr",
)
def broadcast_all(call: LayerCall) -> tuple[Shape, ...]:
    """Inputs (an operation's plain numbers aside) are broadcast together."""
    return (reduce(broadcast, call.inputs),)


@shape_rule("Concatenate")
def concatenate(call: LayerCall) -> tuple[Shape, ...]:
    """One axis is summed."""
    axis = call.config.get("axis", call.arguments.get("axis", call.arguments.get("1", -1)))
    return (joined(call.inputs, int(axis)),)


@shape_rule("Dot")
def dot(call: LayerCall) -> tuple[Shape, ...]:
    """The contracted axes vanish."""
    left, right = call.inputs
    axes = call.config["axes"]
    first, second = (axes, axes) if isinstance(axes, int) else axes
    kept = [size for axis, size in enumerate(left) if axis != first % len(left)]
    added = [size for axis, size in enumerate(right) if axis not in (0, second % len(right))]
    shape = (*kept, *added)
    return (shape if len(shape) > 1 else (*shape, 1),)


@shape_rule("Merge")
def keras1_merge(call: LayerCall) -> tuple[Shape, ...]:
    """Keras 1 has one layer for all of them, told apart by ``mode``."""
    mode = call.config.get("mode")
    if mode == "concat":
        return (joined(call.inputs, int(call.config.get("concat_axis", -1))),)
    if mode in _KERAS1_MODES:
        return broadcast_all(call)
    raise ShapeUnknown(f"merge mode {mode!r} has no shape rule")


def broadcast(left: Shape, right: Shape) -> Shape:
    """Return the shape of an elementwise operation of two tensors (aligned at the end)."""
    rank = max(len(left), len(right))
    padded = ((1,) * (rank - len(shape)) + shape for shape in (left, right))
    return tuple(_wider(*pair) for pair in zip(*padded, strict=True))


def joined(shapes: Sequence[Shape], axis: int) -> Shape:
    """Return the shape of a concatenation."""
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes):
        raise ShapeUnknown("it joins tensors of different rank")
    where = axis % rank
    agreed = (reduce(_same, sizes) for sizes in zip(*shapes, strict=True))
    total = reduce(_sum, (shape[where] for shape in shapes))
    return tuple(total if i == where else size for i, size in enumerate(agreed))


def _wider(left: Dim, right: Dim) -> Dim:
    if left == 1:
        return right
    return left if right == 1 else _same(left, right)


def _same(left: Dim, right: Dim) -> Dim:
    """Two sizes that must be equal when the model runs: the better known one."""
    order = (int, Open, Unknown)
    return min(
        left, right, key=lambda size: next(i for i, t in enumerate(order) if isinstance(size, t))
    )


def _sum(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return next((size for size in (left, right) if isinstance(size, Unknown)), Open())
