"""Layers that move, add or drop elements."""

from __future__ import annotations

from typing import Any

from padaudit.formats.keras.shapes.arrays import grown, product, reshaped, scaled, transposed
from padaudit.formats.keras.shapes.convolution import rank_of
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    channels_first,
    integer,
    join,
    per_axis,
    shape_rule,
    shown,
    split,
)
from padaudit.ir.dims import Dim, Shape, map_dim
from padaudit.padding.amounts import same_total


@shape_rule("Reshape")
def reshape(call: LayerCall) -> tuple[Shape, ...]:
    """The batch axis stays; one -1 takes what is left."""
    batch, *rest = call.inputs[0]
    return ((batch, *reshaped(tuple(rest), call.config["target_shape"])),)


@shape_rule("Flatten")
def flatten(call: LayerCall) -> tuple[Shape, ...]:
    """All axes but the batch become one."""
    batch, *rest = call.inputs[0]
    return ((batch, product(tuple(rest)) if rest else 1),)


@shape_rule("Permute")
def permute(call: LayerCall) -> tuple[Shape, ...]:
    """Axes are reordered; ``dims`` counts from 1 behind the batch."""
    return (transposed(call.inputs[0], [0, *call.config["dims"]]),)


@shape_rule("RepeatVector")
def repeat_vector(call: LayerCall) -> tuple[Shape, ...]:
    """A time axis of ``n`` steps is added."""
    batch, features = call.inputs[0]
    return ((batch, integer(call.config["n"]), features),)


@shape_rule("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes grow by what is padded."""
    return (_resized(call, call.config.get("padding", 1), 1),)


@shape_rule("SamePadding")
def same_padding(call: LayerCall) -> tuple[Shape, ...]:
    """`padaudit.keras.SamePadding`: spatial axes grow by what "same" adds to them."""
    keys = ("kernel_size", "strides", "dilation_rate")
    windows = [tuple(map(integer, call.config[key])) for key in keys]
    if min(min(values) for values in windows) < 1:
        raise ShapeUnknown(f"its window {shown(windows)} makes no sense")
    first = channels_first(call.config)
    others, spatial = split(call.inputs[0], len(windows[0]), first)
    pairs = zip(spatial, zip(*windows, strict=True), strict=True)
    sizes = tuple(_same_padded(size, *axis) for size, axis in pairs)
    return (join(others, sizes, first),)


@shape_rule("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes shrink by what is cropped."""
    return (_resized(call, call.config.get("cropping", 1), -1),)


@shape_rule("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes are multiplied by ``size``."""
    first, rank = channels_first(call.config), rank_of(call.class_name)
    others, spatial = split(call.inputs[0], rank, first)
    factors = per_axis(call.config.get("size", call.config.get("length", 2)), rank)
    sizes = tuple(scaled(*pair) for pair in zip(spatial, factors, strict=True))
    return (join(others, sizes, first),)


def _resized(call: LayerCall, amounts: Any, sign: int) -> Shape:
    first, rank = channels_first(call.config), rank_of(call.class_name)
    others, spatial = split(call.inputs[0], rank, first)
    totals = [sign * sum(pair) for pair in axis_pairs(amounts, rank)]
    sizes = tuple(grown(*pair) for pair in zip(spatial, totals, strict=True))
    return join(others, sizes, first)


def axis_pairs(amounts: Any, rank: int) -> list[tuple[int, int]]:
    """Read every way in which versions of Keras write (before, after) amounts."""
    if isinstance(amounts, dict):
        amounts = list(amounts.values())
    if isinstance(amounts, int):
        return [(amounts, amounts)] * rank
    if len(amounts) == 2 * rank and all(isinstance(item, int) for item in amounts):
        return [(amounts[2 * axis], amounts[2 * axis + 1]) for axis in range(rank)]
    if len(amounts) != rank:
        raise ShapeUnknown(f"{shown(amounts)} are not amounts for {rank} axes")
    pairs = [(item, item) if isinstance(item, int) else (item[0], item[1]) for item in amounts]
    return [(integer(before), integer(after)) for before, after in pairs]


def _same_padded(size: Dim, kernel: int, stride: int, dilation: int) -> Dim:
    added = f"same({kernel},{stride},{dilation})"
    return map_dim(size, lambda n: n + same_total(n, kernel, stride, dilation), f"{{}}+{added}")
