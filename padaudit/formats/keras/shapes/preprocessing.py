"""Preprocessing layers that change sizes."""

from __future__ import annotations

from padaudit.formats.keras.shapes.rule import LayerCall, channels_first, join, shape_rule, split
from padaudit.ir.dims import Shape


@shape_rule("Resizing", "CenterCrop", "RandomCrop")
def resized(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become what the layer says."""
    first = channels_first(call.config)
    others, _ = split(call.inputs[0], 2, first)
    return (join(others, (int(call.config["height"]), int(call.config["width"])), first),)


@shape_rule("RandomHeight", "RandomWidth")
def random_size(call: LayerCall) -> tuple[Shape, ...]:
    """Sizes change in training only."""
    return call.inputs[:1]


@shape_rule("RandomGrayscale")
def grayscale(call: LayerCall) -> tuple[Shape, ...]:
    """All channels stay."""
    return call.inputs[:1]
