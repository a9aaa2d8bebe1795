"""Functions of TensorFlow with a window, and those on images."""

from __future__ import annotations

from typing import Any

from padaudit.formats.keras.shapes.arrays import divided, plain, product, replaced, scaled
from padaudit.formats.keras.shapes.ops_windows import windowed
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    Tensor,
    channels_first,
    function_rule,
    integer,
    join,
    split,
)
from padaudit.formats.keras.shapes.windows import function_words
from padaudit.ir.dims import Dim, Open, Shape

_POOLS = [f"{kind}_pool{rank}" for kind in ("max", "avg") for rank in ("", "1d", "2d", "3d")]


@function_rule(
    *("conv1d", "conv2d", "conv3d", "convolution", "atrous_conv2d"),
    *("depthwise_conv2d", "separable_conv2d"),
)
def conv(call: LayerCall) -> tuple[Shape, ...]:
    """A convolution; the filters are an argument."""
    words = function_words(call)
    return (windowed(call.inputs[0], words, words["kernel_size"], words["filters"]),)


@function_rule(*_POOLS)
def pool(call: LayerCall) -> tuple[Shape, ...]:
    """A pool over all axes between batch and channels."""
    words = function_words(call)
    return (windowed(call.inputs[0], words, words["pool_size"]),)


@function_rule("conv1d_transpose", "conv2d_transpose", "conv3d_transpose")
def conv_transpose(call: LayerCall) -> tuple[Shape, ...]:
    """The shape that is asked for."""
    wanted = plain(call.setting("output_shape", 2))
    if isinstance(wanted, Tensor):
        wanted = list(wanted.value) if isinstance(wanted.value, tuple) else None
    if wanted is None:
        raise ShapeUnknown("its output shape is computed")
    words = function_words(call)
    sizes = [_dim(item) for item in wanted]
    first, rank = channels_first(words), len(words["kernel_size"])
    if len(sizes) == rank:
        others, _ = split(call.inputs[0], rank, first)
        return (join((*others[:-1], words["filters"]), tuple(sizes), first),)
    return ((call.inputs[0][0], *sizes[1:]),)


def _dim(item: Any) -> Dim:
    if isinstance(item, Tensor):
        return Open() if item.value is None or isinstance(item.value, tuple) else item.value
    return item if isinstance(item, Open) else integer(item)


@function_rule("extract_patches", "extract_image_patches")
def extract_patches(call: LayerCall) -> tuple[Shape, ...]:
    """The elements of a window become channels."""
    words = function_words(call)
    filters = product([*words["kernel_size"], call.inputs[0][-1]])
    return (windowed(call.inputs[0], words, words["kernel_size"], filters),)


@function_rule(
    *("resize", "resize_bilinear", "resize_nearest_neighbor", "resize_bicubic", "resize_area"),
    *("resize_images", "resize_with_crop_or_pad", "resize_with_pad", "resize_image_with_pad"),
    "resize_image_with_crop_or_pad",
)
def resize(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become ``size``, or the target."""
    size = plain(call.setting("size", 1, call.setting("target_height", 1)))
    if isinstance(size, Tensor):
        size = size.value
    if size is None:
        return (_image(call, Open(), Open()),)
    if not isinstance(size, list | tuple):
        size = [size, call.setting("target_width", 2)]
    height, width = (_dim(item) for item in size)
    return (_image(call, height, width),)


@function_rule("crop_to_bounding_box", "pad_to_bounding_box", "central_crop", "random_crop")
def cropped(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become the target's."""
    if call.class_name == "random_crop":
        return (tuple(_dim(item) for item in plain(call.setting("size", 1))),)
    if call.class_name == "central_crop":
        raise ShapeUnknown("what a fraction of the size rounds to is TensorFlow's affair")
    names = (("target_height", 3), ("target_width", 4))
    height, width = (_dim(call.setting(*name)) for name in names)
    return (_image(call, height, width),)


@function_rule("crop_and_resize")
def crop_and_resize(call: LayerCall) -> tuple[Shape, ...]:
    """One image of ``crop_size`` per box."""
    height, width = (_dim(item) for item in plain(call.setting("crop_size", 3)))
    return ((Open(), height, width, call.inputs[0][-1]),)


@function_rule("rgb_to_grayscale", "grayscale_to_rgb")
def channels(call: LayerCall) -> tuple[Shape, ...]:
    """One channel, or three."""
    return (replaced(call.inputs[0], -1, 1 if call.class_name == "rgb_to_grayscale" else 3),)


@function_rule("space_to_depth", "depth_to_space", "pixel_shuffle")
def blocks(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become channels, or the other way."""
    block = integer(call.setting("block_size", 1))
    layout = str(call.setting("data_format") or "NHWC")
    if block < 1 or layout not in ("NHWC", "NCHW"):
        raise ShapeUnknown(f"a block of {block} in {layout[:20]} makes no sense")
    first = layout == "NCHW"
    others, spatial = split(call.inputs[0], 2, first)
    if call.class_name == "space_to_depth":
        depth, sizes = scaled(others[-1], block * block), [divided(n, block) for n in spatial]
    else:
        depth, sizes = divided(others[-1], block * block), [scaled(n, block) for n in spatial]
    return (join((*others[:-1], depth), tuple(sizes), first),)


def _image(call: LayerCall, height: Dim, width: Dim) -> Shape:
    """Return the shape of images (channels last) of other sizes."""
    if len(call.inputs[0]) not in (3, 4):
        raise ShapeUnknown("its input is no image")
    return replaced(replaced(call.inputs[0], -3, height), -2, width)
