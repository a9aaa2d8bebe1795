"""Layers that combine several tensors."""

from __future__ import annotations

from typing import Any

from padaudit.formats.keras.shapes.arrays import axis_of, broadcast_all, joined
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, shape_rule, shown
from padaudit.ir.dims import Shape

_KERAS1_MODES = frozenset({"sum", "mul", "ave", "max", "min"})


@shape_rule("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def merge(call: LayerCall) -> tuple[Shape, ...]:
    """Inputs are broadcast together behind the batch; missing axes are added after it."""
    rank = max(len(shape) for shape in call.inputs)
    shapes = [(*shape[:1], *(1,) * (rank - len(shape)), *shape[1:]) for shape in call.inputs]
    return (broadcast_all(shapes),)


@shape_rule("Concatenate")
def concatenate(call: LayerCall) -> tuple[Shape, ...]:
    """One axis is summed."""
    return (joined(call.inputs, call.config.get("axis", -1)),)


@shape_rule("Dot")
def dot(call: LayerCall) -> tuple[Shape, ...]:
    """The contracted axes vanish."""
    return (_contracted(call, call.config["axes"]),)


def _contracted(call: LayerCall, axes: Any) -> Shape:
    left, right = call.inputs
    first, second = (axes, axes) if isinstance(axes, int) else axes
    gone, other = axis_of(first, len(left)), axis_of(second, len(right))
    kept = [size for axis, size in enumerate(left) if axis != gone]
    added = [size for axis, size in enumerate(right) if axis not in (0, other)]
    shape = (*kept, *added)
    return shape if len(shape) > 1 else (*shape, 1)


@shape_rule("Merge")
def keras1_merge(call: LayerCall) -> tuple[Shape, ...]:
    """Keras 1 has one layer for all of them, told apart by ``mode``."""
    mode = call.config.get("mode")
    if mode == "concat":
        return (joined(call.inputs, call.config.get("concat_axis", -1)),)
    if mode in _KERAS1_MODES:
        return merge(call)
    if mode in ("dot", "cos"):
        return (_contracted(call, call.config.get("dot_axes", -1)),)
    raise ShapeUnknown(f"merge mode {shown(mode)} has no shape rule")
