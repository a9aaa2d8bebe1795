"""Output shapes of Keras layers, from their configs, without Keras."""

from __future__ import annotations

from padaudit.formats.keras.shapes import (
    attention,
    convolution,
    core,
    elementwise,
    merging,
    operations,
    pooling,
    preprocessing,
    recurrent,
    reshaping,
)
from padaudit.formats.keras.shapes.rule import SHAPE_RULES, LayerCall, ShapeUnknown
from padaudit.ir.dims import Shape

__all__ = [
    "attention",
    "convolution",
    "core",
    "elementwise",
    "infer_shapes",
    "merging",
    "operations",
    "pooling",
    "preprocessing",
    "recurrent",
    "reshaping",
]


def infer_shapes(call: LayerCall) -> tuple[Shape, ...]:
    """Return the shape of every output of a layer call.

    Raises
    ------
    ShapeUnknown
        If the class has no rule, or its config is not what Keras writes.
    """
    rule = SHAPE_RULES.get(call.class_name)
    if rule is None:
        raise ShapeUnknown(f"layer class {call.class_name} has no shape rule")
    try:
        return rule(call)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ShapeUnknown(f"its config is not what Keras writes ({error!r})") from error
