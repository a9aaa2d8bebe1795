"""Operations of Keras 3 on images."""

from __future__ import annotations

from padaudit.formats.keras.shapes.arrays import grown, plain, replaced, reshaped, shape_of
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, integer, operation_rule
from padaudit.ir.dims import Dim, Shape


def image_axes(call: LayerCall) -> tuple[int, int, int]:
    """Return which axes are height, width and channels; counted from the end."""
    first = call.setting("data_format") == "channels_first"
    return (-2, -1, -3) if first else (-3, -2, -1)


def resized(call: LayerCall, height: Dim, width: Dim) -> Shape:
    """Return the image's shape with other sizes."""
    if len(call.inputs[0]) < 3:
        raise ShapeUnknown("its input is no image")
    rows, columns, _ = image_axes(call)
    return replaced(replaced(call.inputs[0], rows, height), columns, width)


@operation_rule("Resize")
def resize(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become ``size``."""
    height, width = map(integer, plain(call.setting("size", 1)))
    return (resized(call, height, width),)


@operation_rule("PadImages")
def pad_images(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become the target, or grow by the amounts."""
    return (_changed(call, "padding", 1),)


@operation_rule("CropImages")
def crop_images(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become the target, or shrink by the amounts."""
    return (_changed(call, "cropping", -1),)


def _changed(call: LayerCall, what: str, sign: int) -> Shape:
    sizes: list[Dim] = []
    sides = (("target_height", "top", "bottom"), ("target_width", "left", "right"))
    for axis, (target, before, after) in zip(image_axes(call), sides, strict=False):
        wanted = call.setting(target)
        if wanted is None:
            amounts = [integer(call.setting(f"{side}_{what}")) for side in (before, after)]
            wanted = grown(call.inputs[0][axis], sign * sum(amounts))
        sizes.append(wanted)
    return resized(call, *sizes)


@operation_rule("RGBToGrayscale")
def grayscale(call: LayerCall) -> tuple[Shape, ...]:
    """One channel is left."""
    return (replaced(call.inputs[0], image_axes(call)[2], 1),)


@operation_rule("SobelEdges")
def sobel_edges(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of two directions is added."""
    return ((*call.inputs[0], 2),)


@operation_rule("SSIM")
def similarity(call: LayerCall) -> tuple[Shape, ...]:
    """One number per image of a batch."""
    return (call.inputs[0][:-3],)


@operation_rule("MapCoordinates")
def map_coordinates(call: LayerCall) -> tuple[Shape, ...]:
    """One value per coordinate."""
    return (shape_of(call.setting("coordinates", 1))[1:],)


@operation_rule("ScaleAndTranslate")
def scale_and_translate(call: LayerCall) -> tuple[Shape, ...]:
    """The shape that is asked for."""
    return (reshaped((), plain(call.setting("output_shape", 1))),)
