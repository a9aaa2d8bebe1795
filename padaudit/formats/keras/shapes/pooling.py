"""Pools, windowed, global and adaptive."""

from __future__ import annotations

from padaudit.formats.keras.shapes.convolution import rank_of, windowed_sizes
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    channels_first,
    join,
    per_axis,
    shape_rule,
    split,
)
from padaudit.ir.dims import Shape

_RANKS = (1, 2, 3)


@shape_rule(*(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in _RANKS))
def pool(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes shrink by the window; the stride defaults to the pool size."""
    first = channels_first(call.config)
    others, spatial = split(call.inputs[0], rank_of(call.class_name), first)
    size = call.config.get("pool_size", 2)
    return (join(others, windowed_sizes(call.config, size, spatial, size), first),)


@shape_rule(*(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in _RANKS))
def global_pool(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes vanish, or become 1 with ``keepdims``."""
    first, rank = channels_first(call.config), rank_of(call.class_name)
    others, _ = split(call.inputs[0], rank, first)
    if call.config.get("keepdims"):
        return (join(others, (1,) * rank, first),)
    return (others,)


@shape_rule(*(f"Adaptive{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in _RANKS))
def adaptive_pool(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes become ``output_size``."""
    first, rank = channels_first(call.config), rank_of(call.class_name)
    others, _ = split(call.inputs[0], rank, first)
    return (join(others, per_axis(call.config["output_size"], rank), first),)
