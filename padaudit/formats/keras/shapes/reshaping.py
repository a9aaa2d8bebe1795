"""Layers that move, add or drop elements."""

from __future__ import annotations

import math
from typing import Any

from padaudit.formats.keras.shapes.convolution import rank_of
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    channels_first,
    join,
    per_axis,
    shape_rule,
    split,
)
from padaudit.ir.dims import Dim, Open, Shape, Unknown, known, map_dim
from padaudit.padding.amounts import same_total


@shape_rule("Reshape")
def reshape(call: LayerCall) -> tuple[Shape, ...]:
    """The batch axis stays; one -1 takes what is left."""
    batch, *rest = call.inputs[0]
    return ((batch, *reshaped(tuple(rest), call.config["target_shape"])),)


def reshaped(shape: Shape, target: Any) -> Shape:
    """Return ``target`` with its -1 filled in from the elements of ``shape``."""
    sizes = [int(size) for size in target]
    if -1 not in sizes:
        return tuple(sizes)
    others = math.prod(size for size in sizes if size != -1)
    return tuple(_rest(shape, others) if size == -1 else size for size in sizes)


def product(shape: Shape) -> Dim:
    """Return the number of elements of some axes."""
    if known(shape):
        return math.prod(size for size in shape if isinstance(size, int))
    lost = next((size for size in shape if isinstance(size, Unknown)), None)
    return lost or Open()


@shape_rule("Flatten")
def flatten(call: LayerCall) -> tuple[Shape, ...]:
    """All axes but the batch become one."""
    batch, *rest = call.inputs[0]
    return ((batch, product(tuple(rest)) if rest else 1),)


@shape_rule("Permute")
def permute(call: LayerCall) -> tuple[Shape, ...]:
    """Axes are reordered; ``dims`` counts from 1 behind the batch."""
    shape = call.inputs[0]
    return ((shape[0], *(shape[axis] for axis in call.config["dims"])),)


@shape_rule("RepeatVector")
def repeat_vector(call: LayerCall) -> tuple[Shape, ...]:
    """A time axis of ``n`` steps is added."""
    batch, features = call.inputs[0]
    return ((batch, int(call.config["n"]), features),)


@shape_rule("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes grow by what is padded."""
    return (_resized(call, call.config.get("padding", 1), 1),)


@shape_rule("SamePadding")
def same_padding(call: LayerCall) -> tuple[Shape, ...]:
    """`padaudit.keras.SamePadding`: spatial axes grow by what "same" adds to them."""
    windows = [tuple(call.config[key]) for key in ("kernel_size", "strides", "dilation_rate")]
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


def scaled(size: Dim, factor: int) -> Dim:
    """Return a size multiplied.

    >>> scaled(Open("H"), 2)
    Open(name='2*H')
    """
    return map_dim(size, lambda n: n * factor, f"{factor}*{{}}")


def grown(size: Dim, amount: int) -> Dim:
    """Return a size with something added, or taken away.

    >>> grown(Open("H"), -2), grown(7, 3)
    (Open(name='H-2'), 10)
    """
    return map_dim(size, lambda n: n + amount, f"{{}}{amount:+d}" if amount else "{}")


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
        raise ShapeUnknown(f"{amounts!r} are not amounts for {rank} axes")
    return [(item, item) if isinstance(item, int) else (item[0], item[1]) for item in amounts]


def _same_padded(size: Dim, kernel: int, stride: int, dilation: int) -> Dim:
    added = f"same({kernel},{stride},{dilation})"
    return map_dim(size, lambda n: n + same_total(n, kernel, stride, dilation), f"{{}}+{added}")


def _rest(shape: Shape, others: int) -> Dim:
    elements = product(shape)
    if isinstance(elements, int):
        return elements // others if others else 0
    return elements
