"""Convolutions, transposed and local ones included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from padaudit.padding.amounts import (
    effective_kernel,
    keras_transposed_output,
    same_output,
    window_output,
)


@shape_rule(
    *(
        f"{kind}{rank}D"
        for kind in ("Conv", "SeparableConv", "LocallyConnected")
        for rank in (1, 2)
    ),
    "Conv3D",
    "LocallyConnected3D",
)
def convolution(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes shrink by the window; channels become ``filters``."""
    return (_windowed(call, integer(call.config["filters"])),)


@shape_rule("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(call: LayerCall) -> tuple[Shape, ...]:
    """Channels are multiplied by ``depth_multiplier``."""
    rank = rank_of(call.class_name)
    others, _ = split(call.inputs[0], rank, channels_first(call.config))
    factor = integer(call.config.get("depth_multiplier", 1))
    return (_windowed(call, map_dim(others[-1], lambda n: n * factor, f"{factor}*{{}}")),)


@shape_rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes grow by the stride."""
    first, rank = channels_first(call.config), rank_of(call.class_name)
    others, spatial = split(call.inputs[0], rank, first)
    filters = integer(call.config["filters"])
    return (join((*others[:-1], filters), transposed_sizes(call.config, spatial), first),)


def transposed_sizes(config: Mapping[str, Any], spatial: Shape) -> Shape:
    """Return spatial axes after a transposed convolution whose settings stand in a config."""
    rank = len(spatial)
    kernels = per_axis(config["kernel_size"], rank)
    strides = per_axis(config.get("strides", 1), rank)
    dilations = per_axis(config.get("dilation_rate", 1), rank)
    extra = config.get("output_padding")
    extras = (None,) * rank if extra is None else per_axis(extra, rank)
    same = str(config.get("padding", "valid")).lower() == "same"
    settings = zip(spatial, kernels, strides, dilations, extras, strict=True)
    return tuple(_transposed_size(*axis, same) for axis in settings)


def _transposed_size(
    size: Dim, kernel: int, stride: int, dilation: int, extra: int | None, same: bool
) -> Dim:
    window = (kernel, stride, dilation, same, extra)
    form = f"{stride}*{{}}" if same else f"{stride}*{{}}+c"
    return map_dim(size, lambda n: keras_transposed_output(n, *window), form)


def windowed_size(
    size: Dim, kernel: int, stride: int, dilation: int, padding: str, added: int = 0
) -> Dim:
    """Return one spatial axis after a window, for any Keras padding.

    Parameters
    ----------
    size : Dim
        Elements of the axis.
    kernel, stride, dilation : int
        The window.
    padding : str
        ``same``, ``causal``, ``valid``, or ``explicit`` (functions of TensorFlow).
    added : int
        How many elements explicit padding adds.

    Raises
    ------
    ShapeUnknown
        If the padding is none of Keras's.
    """
    if padding in ("same", "causal"):
        form = f"ceil({{}}/{stride})" if stride > 1 else "{}"
        return map_dim(size, lambda n: same_output(n, stride), form)
    if padding not in ("valid", "explicit"):
        raise ShapeUnknown(f"padding {shown(padding)} is none of Keras's")
    lost = effective_kernel(kernel, dilation) - stride - added
    inner = f"({{}}{-lost:+d})" if lost else "{}"
    form = f"floor({inner}/{stride})" if stride > 1 else inner.strip("()")
    return map_dim(size, lambda n: window_output(n, kernel, stride, dilation, (0, added)), form)


def rank_of(class_name: str) -> int:
    """Return the number in front of the D of a class name.

    >>> rank_of("Conv2DTranspose")
    2
    """
    return int(next(char for char in class_name if char.isdigit()))


def windowed_sizes(
    config: Mapping[str, Any], kernel: Any, spatial: Shape, default_stride: Any
) -> Shape:
    """Return spatial axes after a window whose settings stand in a config."""
    rank = len(spatial)
    strides = per_axis(config.get("strides") or default_stride, rank)
    dilations = per_axis(config.get("dilation_rate") or 1, rank)
    padding = str(config.get("padding", "valid")).lower()
    kernels = per_axis(kernel, rank)
    if min(*kernels, *strides, *dilations) < 1:
        raise ShapeUnknown(f"its window {shown([kernels, strides, dilations])} makes no sense")
    flat = config.get("pads") or [0] * (2 * rank)
    added = [flat[axis] + flat[axis + rank] for axis in range(rank)]
    settings = zip(spatial, kernels, strides, dilations, (padding,) * rank, added, strict=True)
    return tuple(windowed_size(*axis) for axis in settings)


def _windowed(call: LayerCall, channels: Dim) -> Shape:
    first = channels_first(call.config)
    others, spatial = split(call.inputs[0], rank_of(call.class_name), first)
    sizes = windowed_sizes(call.config, call.config["kernel_size"], spatial, 1)
    return join((*others[:-1], channels), sizes, first)
