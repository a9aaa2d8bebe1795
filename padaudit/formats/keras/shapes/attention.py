"""Attention layers."""

from __future__ import annotations

from padaudit.formats.keras.shapes.rule import LayerCall, shape_rule
from padaudit.ir.dims import Shape


@shape_rule("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention")
def multi_head(call: LayerCall) -> tuple[Shape, ...]:
    """The query's shape, its last axis replaced by ``output_shape`` where that is given."""
    wanted = call.config.get("output_shape")
    if not wanted:
        return call.inputs[:1]
    last = (wanted,) if isinstance(wanted, int) else tuple(wanted)
    return ((*call.inputs[0][:-1], *last),)


@shape_rule("Attention", "AdditiveAttention")
def attention(call: LayerCall) -> tuple[Shape, ...]:
    """The query's shape with the value's last axis."""
    query, value = call.inputs[:2]
    return ((*query[:-1], value[-1]),)
