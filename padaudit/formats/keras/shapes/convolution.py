"""Convolutions, transposed and local ones included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    channels_first,
    join,
    per_axis,
    shape_rule,
    split,
)
from padaudit.ir.dims import Dim, Shape, map_dim
from padaudit.padding.amounts import (
    FORMULAS,
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
    return (_windowed(call, call.config["filters"]),)


@shape_rule("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(call: LayerCall) -> tuple[Shape, ...]:
    """Channels are multiplied by ``depth_multiplier``."""
    rank = rank_of(call.class_name)
    others, _ = split(call.inputs[0], rank, channels_first(call.config))
    factor = int(call.config.get("depth_multiplier", 1))
    return (_windowed(call, map_dim(others[-1], lambda n: n * factor, f"{factor}*{{}}")),)


@shape_rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(call: LayerCall) -> tuple[Shape, ...]:
    """Spatial axes grow by the stride."""
    config, rank = call.config, rank_of(call.class_name)
    first = channels_first(config)
    others, spatial = split(call.inputs[0], rank, first)
    kernels = per_axis(config["kernel_size"], rank)
    strides = per_axis(config.get("strides", 1), rank)
    dilations = per_axis(config.get("dilation_rate", 1), rank)
    extra = config.get("output_padding")
    extras = (None,) * rank if extra is None else per_axis(extra, rank)
    same = config.get("padding", "valid") == "same"
    settings = zip(spatial, kernels, strides, dilations, extras, strict=True)
    sizes = tuple(_transposed_size(*axis, same) for axis in settings)
    return (join((*others[:-1], config["filters"]), sizes, first),)


def _transposed_size(
    size: Dim, kernel: int, stride: int, dilation: int, extra: int | None, same: bool
) -> Dim:
    window = (kernel, stride, dilation, same, extra)
    form = f"{stride}*{{}}" if same else f"{stride}*{{}}+c"
    return map_dim(size, lambda n: keras_transposed_output(n, *window), form)


def windowed_size(size: Dim, kernel: int, stride: int, dilation: int, padding: str) -> Dim:
    """Return one spatial axis after a window, for any Keras padding.

    Raises
    ------
    ShapeUnknown
        If the padding is none of Keras's.
    """
    if padding in ("same", "causal"):
        form = f"ceil({{}}/{stride})" if stride > 1 else "{}"
        return map_dim(size, lambda n: same_output(n, stride), form)
    if padding != "valid":
        raise ShapeUnknown(f"padding {padding!r} is none of Keras's")
    lost = effective_kernel(kernel, dilation) - stride
    inner = f"({{}}{-lost:+d})" if lost else "{}"
    form = f"floor({inner}/{stride})" if stride > 1 else inner.strip("()")
    nothing = FORMULAS["valid"](1, kernel, stride, dilation)
    return map_dim(size, lambda n: window_output(n, kernel, stride, dilation, nothing), form)


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
    settings = zip(spatial, per_axis(kernel, rank), strides, dilations, strict=True)
    return tuple(windowed_size(*axis, padding) for axis in settings)


def _windowed(call: LayerCall, channels: Dim) -> Shape:
    first = channels_first(call.config)
    others, spatial = split(call.inputs[0], rank_of(call.class_name), first)
    sizes = windowed_sizes(call.config, call.config["kernel_size"], spatial, 1)
    return join((*others[:-1], channels), sizes, first)
