"""Operations of Keras 3 with a window: convolutions, pools, patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from padaudit.formats.keras.shapes.arrays import divided, product, scaled
from padaudit.formats.keras.shapes.convolution import (
    transposed_sizes,
    windowed_size,
    windowed_sizes,
)
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    channels_first,
    integer,
    join,
    operation_rule,
    per_axis,
    split,
)
from padaudit.formats.keras.shapes.windows import operation_words
from padaudit.ir.dims import Shape


@operation_rule("Conv", "DepthwiseConv", "SeparableConv")
def conv(call: LayerCall) -> tuple[Shape, ...]:
    """A convolution; the kernel is an argument."""
    words = operation_words(call)
    return (windowed(call.inputs[0], words, words["kernel_size"], words["filters"]),)


@operation_rule("ConvTranspose")
def conv_transpose(call: LayerCall) -> tuple[Shape, ...]:
    """A transposed convolution; the kernel is an argument."""
    words = operation_words(call)
    first, rank = channels_first(words), len(words["kernel_size"])
    others, spatial = split(call.inputs[0], rank, first)
    return (join((*others[:-1], words["filters"]), transposed_sizes(words, spatial), first),)


@operation_rule("MaxPool", "AveragePool")
def pool(call: LayerCall) -> tuple[Shape, ...]:
    """A pool over all axes between batch and channels."""
    words = operation_words(call)
    return (windowed(call.inputs[0], words, words["pool_size"]),)


@operation_rule("ExtractPatches")
def extract_patches(call: LayerCall) -> tuple[Shape, ...]:
    """The elements of a window become channels; an image may come without a batch."""
    words, image = operation_words(call), call.inputs[0]
    rank = len(words["kernel_size"])
    batched = image if len(image) == rank + 2 else (1, *image)
    others, _ = split(batched, rank, channels_first(words))
    filters = product([*words["kernel_size"], others[-1]])
    shape = windowed(batched, words, words["kernel_size"], filters)
    return (shape if batched is image else shape[1:],)


def windowed(shape: Shape, words: Mapping[str, Any], kernel: Any, channels: Any = None) -> Shape:
    """Return the shape after a window over all axes between batch and channels."""
    first, rank = channels_first(words), len(shape) - 2
    others, spatial = split(shape, rank, first)
    if channels is not None:
        others = (*others[:-1], channels)
    return join(others, windowed_sizes(words, kernel, spatial, 1), first)


@operation_rule("AdaptiveMaxPool", "AdaptiveAveragePool")
def adaptive_pool(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes become ``output_size``."""
    words = {"data_format": call.setting("data_format")}
    first, rank = channels_first(words), len(call.inputs[0]) - 2
    others, _ = split(call.inputs[0], rank, first)
    return (join(others, per_axis(call.setting("output_size", 1), rank), first),)


@operation_rule("Unfold")
def unfold(call: LayerCall) -> tuple[Shape, ...]:
    """Windows of an image (channels first) become columns."""
    batch, channels, *spatial = call.inputs[0]
    names = (("kernel_size", 1, 1), ("stride", 4, 1), ("dilation", 2, 1), ("padding", 3, 0))
    kernel, stride, dilation, pads = (
        per_axis(call.setting(name, position, default), 2) for name, position, default in names
    )
    settings = zip(spatial, kernel, stride, dilation, ("explicit",) * 2, pads, strict=True)
    counts = [windowed_size(n, k, s, d, word, 2 * p) for n, k, s, d, word, p in settings]
    return ((batch, product([channels, *kernel]), product(counts)),)


@operation_rule("Fold")
def fold(call: LayerCall) -> tuple[Shape, ...]:
    """The inverse of unfold."""
    batch, columns, _ = call.inputs[0]
    kernel = per_axis(call.setting("kernel_size", 2), 2)
    size = per_axis(call.setting("output_size", 1), 2)
    return ((batch, divided(columns, kernel[0] * kernel[1]), *size),)


@operation_rule("DepthToSpace")
def depth_to_space(call: LayerCall) -> tuple[Shape, ...]:
    """Channels become height and width."""
    block = integer(call.setting("block_size", 1))
    first = call.setting("data_format") == "channels_first"
    others, spatial = split(call.inputs[0], 2, first)
    sizes = tuple(scaled(size, block) for size in spatial)
    return (join((*others[:-1], divided(others[-1], block * block)), sizes, first),)


@operation_rule("SpaceToDepth")
def space_to_depth(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become channels."""
    block = integer(call.setting("block_size", 1))
    first = call.setting("data_format") == "channels_first"
    others, spatial = split(call.inputs[0], 2, first)
    sizes = tuple(divided(size, block) for size in spatial)
    return (join((*others[:-1], scaled(others[-1], block * block)), sizes, first),)
