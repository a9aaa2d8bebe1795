"""Attention layers."""

from __future__ import annotations

from padaudit.formats.keras.shapes.arrays import plain, shape_of
from padaudit.formats.keras.shapes.rule import LayerCall, integer, shape_rule
from padaudit.ir.dims import Shape


def _arguments(call: LayerCall) -> tuple[Shape, Shape, Shape]:
    """Return the shapes of query, value and key, however they are given."""
    query = call.setting("query", 0)
    if query is None or isinstance(query, list):
        shapes = [*call.inputs, call.inputs[-1]]
        return shapes[0], shapes[1], shapes[2]
    value = call.setting("value", 1)
    key = call.setting("key", 2)
    return shape_of(query), shape_of(value), shape_of(value if key is None else key)


@shape_rule("MultiHeadAttention")
def multi_head(call: LayerCall) -> tuple[Shape, ...]:
    """The query's shape, its last axis replaced by ``output_shape`` where that is given."""
    query, _, key = _arguments(call)
    wanted = plain(call.config.get("output_shape"))
    last = () if not wanted else wanted if isinstance(wanted, list | tuple) else (wanted,)
    result = (*query[:-1], *map(integer, last)) if last else query
    heads = integer(call.config.get("num_heads", 1))
    return _with_scores(call, result, (query[0], heads, query[1], key[1]))


@shape_rule("GroupedQueryAttention", "GroupQueryAttention")
def grouped_query(call: LayerCall) -> tuple[Shape, ...]:
    """The query's shape."""
    query, _, key = _arguments(call)
    heads = integer(call.config.get("num_query_heads", 1))
    return _with_scores(call, query, (query[0], heads, query[1], key[1]))


@shape_rule("Attention", "AdditiveAttention")
def attention(call: LayerCall) -> tuple[Shape, ...]:
    """The query's shape with the value's last axis."""
    query, value, key = _arguments(call)
    return _with_scores(call, (*query[:-1], value[-1]), (*query[:-1], key[-2]))


def _with_scores(call: LayerCall, result: Shape, scores: Shape) -> tuple[Shape, ...]:
    return (result, scores) if call.arguments.get("return_attention_scores") else (result,)
