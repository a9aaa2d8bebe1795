"""The windows of operations and functions, in the words of Keras's layers.

`keras.ops.conv` and `tf.nn.conv2d` state kernel, strides and padding elsewhere than Conv2D does;
here they are read into a config that has the keys of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from padaudit.formats.keras.shapes.arrays import plain, product, shape_of
from padaudit.formats.keras.shapes.rule import (
    OPERATIONS,
    LayerCall,
    ShapeUnknown,
    integer,
    shown,
)
from padaudit.ir.dims import Shape, known

Words = dict[str, Any]
_KERNEL_POSITION: Final = 1


def operation_words(call: LayerCall) -> Words:
    """Return the config of a layer that pads as an operation of Keras 3 does."""
    words: Words = dict(call.config)
    words["data_format"] = call.setting("data_format") or "channels_last"
    return words | _OPERATIONS[call.class_name](call)


def function_words(call: LayerCall) -> Words:
    """Return the config of a layer that pads as a function of TensorFlow does."""
    words = _FUNCTIONS[call.class_name](call)
    rank = _rank(words, call)
    first = str(call.setting("data_format") or "NHWC").startswith("NC")
    dilations = [call.setting(name) for name in ("dilations", "dilation_rate", "rate", "rates")]
    per_axis: Words = {
        "strides": call.setting("strides", None, call.setting("stride")),
        "dilation_rate": next((value for value in dilations if value is not None), None),
        **{name: words[name] for name in ("kernel_size", "pool_size") if name in words},
    }
    words |= {name: _spatial(value, rank, first) for name, value in per_axis.items()}
    words["data_format"] = "channels_first" if first else "channels_last"
    default = "SAME" if call.class_name.endswith("transpose") else "VALID"
    return words | _padding(call.setting("padding", None, default), rank, first)


def is_padded(domain: str, name: str) -> bool:
    """Tell whether an operation or function has a window that can be padded."""
    return name in (_OPERATIONS if domain == OPERATIONS else _FUNCTIONS)


def _sizes(shape: Shape) -> list[int]:
    """Return the sizes of a kernel, which must be known."""
    if not known(shape) or not shape:
        raise ShapeUnknown("the shape of its kernel is computed")
    return [size for size in shape if isinstance(size, int)]


def _kernel(call: LayerCall, *names: str) -> Shape:
    for name in names:
        if name in call.arguments:
            return shape_of(call.arguments[name])
    return shape_of(call.arguments[str(_KERNEL_POSITION)])


def _conv_words(kernel: Shape) -> Words:
    sizes = _sizes(kernel[:-2])
    return {"kernel_size": sizes, "filters": kernel[-1]}


def _conv(call: LayerCall) -> Words:
    return _conv_words(_kernel(call, "kernel", "filters", "filter"))


def _depthwise(call: LayerCall) -> Words:
    kernel = _kernel(call, "kernel", "filter", "depthwise_kernel", "depthwise_filter")
    return {"kernel_size": _sizes(kernel[:-2]), "filters": product(kernel[-2:])}


def _separable(call: LayerCall) -> Words:
    names = ("pointwise_kernel", "pointwise_filter")
    pointwise = next((call.arguments[n] for n in names if n in call.arguments), None)
    shape = shape_of(call.arguments["2"] if pointwise is None else pointwise)
    return _depthwise(call) | {"filters": shape[-1]}


def _transposed(call: LayerCall) -> Words:
    kernel = _kernel(call, "kernel", "filters", "filter")
    return {"kernel_size": _sizes(kernel[:-2]), "filters": kernel[-2]}


def _pool(call: LayerCall) -> Words:
    size = plain(call.setting("pool_size", 1))
    strides = plain(call.setting("strides", 2))
    return {"pool_size": size, "strides": size if strides is None else strides}


def _patches(call: LayerCall) -> Words:
    size = plain(call.setting("size", 1))
    rank = len(size) if isinstance(size, list | tuple) else 2
    sizes = [integer(item) for item in size] if isinstance(size, list | tuple) else [size] * rank
    strides = plain(call.setting("strides", 2))
    return {"kernel_size": sizes, "strides": sizes if strides is None else strides}


def _tf_pool(call: LayerCall) -> Words:
    return {"pool_size": call.setting("ksize", 1, call.setting("window_shape"))}


def _tf_patches(call: LayerCall) -> Words:
    return {"kernel_size": call.setting("sizes", 1, call.setting("ksizes"))}


def _rank(words: Words, call: LayerCall) -> int | None:
    """Return the number of spatial axes: of the kernel, the name, or the input."""
    size = words.get("kernel_size")
    if isinstance(size, list) and "patches" not in call.class_name:
        return len(size)
    if "patches" in call.class_name:
        return 2
    named = next((int(char) for char in call.class_name if char in "123"), None)
    if named is not None:
        return named
    return len(call.inputs[0]) - 2 if call.inputs and len(call.inputs[0]) > 2 else None


def _spatial(value: Any, rank: int | None, first: bool) -> Any:
    """Return a setting per spatial axis, of a number, one each, or one per axis of the tensor.

    A single number stays one where the rank is not known.
    """
    value = plain(value)
    if value is None:
        value = 1
    if not isinstance(value, list | tuple):
        return [integer(value)] * rank if rank else integer(value)
    values = [integer(item) for item in value]
    if len(values) == 1:
        return values * rank if rank else values[0]
    whole = len(values) == rank + 2 if rank else len(values) > 3 or values[0] == values[-1] == 1
    if whole:
        return values[2:] if first else values[1:-1]
    if rank and len(values) != rank:
        raise ShapeUnknown(f"{shown(value)} is not {rank} sizes")
    return values


def _padding(value: Any, rank: int | None, first: bool) -> Words:
    if isinstance(value, str):
        return {"padding": value.lower()}
    pairs = [[integer(amount) for amount in pair] for pair in plain(value)]
    spatial = pairs[2:] if first else pairs[1:-1]
    if rank not in (None, len(spatial)) or any(len(pair) != 2 for pair in spatial):
        raise ShapeUnknown(f"{shown(value)} are not amounts for {rank} axes")
    flat = [pair[0] for pair in spatial] + [pair[1] for pair in spatial]
    return {"padding": "explicit", "pads": flat}


_OPERATIONS: Final[dict[str, Callable[[LayerCall], Words]]] = {
    "Conv": _conv,
    "DepthwiseConv": _depthwise,
    "SeparableConv": _separable,
    "ConvTranspose": _transposed,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "ExtractPatches": _patches,
}
_FUNCTIONS: Final[dict[str, Callable[[LayerCall], Words]]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "atrous_conv2d"), _conv),
    "depthwise_conv2d": _depthwise,
    "separable_conv2d": _separable,
    **dict.fromkeys((f"conv{rank}_transpose" for rank in ("1d", "2d", "3d")), _transposed),
    **dict.fromkeys(
        (f"{kind}_pool{rank}" for kind in ("max", "avg") for rank in ("", "1d", "2d", "3d")),
        _tf_pool,
    ),
    **dict.fromkeys(("extract_patches", "extract_image_patches"), _tf_patches),
}
