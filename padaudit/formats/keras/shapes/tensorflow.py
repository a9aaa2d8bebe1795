"""Functions of TensorFlow in models of Keras 2: arithmetic and arrangement."""

from __future__ import annotations

from typing import Any, Final

from padaudit.formats.keras.shapes import arrays, indexing, products
from padaudit.formats.keras.shapes.arrays import plain, replaced, shape_of
from padaudit.formats.keras.shapes.keys import key_items
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    Tensor,
    function_rule,
    integer,
)
from padaudit.ir.dims import Open, Shape

_UNCHANGED: Final = """
    abs acos acosh adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation asin
    asinh atan atanh batch_normalization bias_add bitcast cast ceil clip_by_norm clip_by_value
    convert_image_dtype convert_to_tensor cos cosh cumprod cumsum digamma dropout
    elu ensure_shape erf erfc exp expm1 flip_left_right flip_up_down floor fused_batch_norm
    fused_batch_norm_v3 gelu hard_sigmoid hard_swish hsv_to_rgb identity identity_n imag
    is_finite is_inf is_nan l2_normalize leaky_relu lgamma local_response_normalization log log1p
    log_sigmoid log_softmax logical_not lrn mish neg negative ones_like
    per_image_standardization random_brightness random_contrast random_flip_left_right
    random_flip_up_down random_hue random_saturation real reciprocal relu relu6 reverse reverse_v2
    rgb_to_hsv rgb_to_yiq rgb_to_yuv rint roll round rsqrt selu sigmoid sign silu sin sinh
    softmax softplus softsign sqrt square stop_gradient swish tan tanh to_float to_int32 yiq_to_rgb
    yuv_to_rgb zeros_like __abs__ __neg__ __invert__
"""
_BROADCAST: Final = """
    add add_v2 addv2 atan2 bitwise_and bitwise_or bitwise_xor div div_no_nan divide divide_no_nan
    equal floordiv floor_div floormod floor_mod greater greater_equal less less_equal logical_and
    logical_or logical_xor maximum minimum mod mul multiply multiply_no_nan not_equal pow power
    real_div realdiv sigmoid_cross_entropy_with_logits squared_difference sub subtract truediv
    truncatediv xdivy xlogy
    __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __div__ __rdiv__
    __floordiv__ __rfloordiv__ __mod__ __rmod__ __pow__ __rpow__ __and__ __rand__ __or__ __ror__
    __xor__ __rxor__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__ ne eq
"""
_REDUCTIONS: Final = """
    reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min
    reduce_prod reduce_std reduce_sum reduce_variance argmax argmin arg_max arg_min norm
    count_nonzero
"""


@function_rule(*_UNCHANGED.split())
def unchanged(call: LayerCall) -> tuple[Shape, ...]:
    """The shape of the first argument."""
    return (shape_of(call.arguments.get("0", Tensor(call.inputs[0]) if call.inputs else None)),)


@function_rule(*_BROADCAST.split())
def broadcast_operands(call: LayerCall) -> tuple[Shape, ...]:
    """The shapes of the operands, broadcast."""
    names = ("0", "1", "x", "y", "x1", "x2", "a", "b", "other", "labels", "logits")
    given = [call.arguments[name] for name in names if name in call.arguments]
    return (arrays.broadcast_all([shape_of(value) for value in given if value is not None]),)


@function_rule("add_n", "accumulate_n")
def add_n(call: LayerCall) -> tuple[Shape, ...]:
    """All inputs have one shape."""
    return (arrays.broadcast_all(call.inputs),)


@function_rule("where", "where_v2", "select", "select_v2")
def where(call: LayerCall) -> tuple[Shape, ...]:
    """Condition and both choices, broadcast."""
    names = (("condition", 0), ("x", 1), ("y", 2))
    given = [value for name in names if (value := call.setting(*name)) is not None]
    if len(given) < 3:
        raise ShapeUnknown("how many elements it finds depends on their values")
    return (arrays.broadcast_all([shape_of(value) for value in given]),)


@function_rule(*_REDUCTIONS.split())
def reduction(call: LayerCall) -> tuple[Shape, ...]:
    """The reduced axes vanish, or become 1 (arg functions: the first axis by default)."""
    axis = _known(call.setting("axis", 1, call.setting("reduction_indices")))
    if axis is None and call.class_name.startswith("arg"):
        axis = call.setting("dimension", None, 0)
    keep = call.setting("keepdims", None, call.setting("keep_dims"))
    return (arrays.reduced(call.inputs[0], axis, keep),)


@function_rule("moments")
def moments(call: LayerCall) -> tuple[Shape, ...]:
    """Mean and variance."""
    keep = call.setting("keepdims", None, call.setting("keep_dims"))
    shape = arrays.reduced(call.inputs[0], call.setting("axes", 1), keep)
    return shape, shape


@function_rule("reshape")
def reshape(call: LayerCall) -> tuple[Shape, ...]:
    """One -1 takes what is left; sizes may be computed from shapes."""
    return (arrays.reshaped(call.inputs[0], _sizes(call.setting("shape", 1))),)


@function_rule("broadcast_to")
def broadcast_to(call: LayerCall) -> tuple[Shape, ...]:
    """The shape that is asked for."""
    return (arrays.reshaped((), _sizes(call.setting("shape", 1))),)


@function_rule("transpose", "permute_dimensions")
def transpose(call: LayerCall) -> tuple[Shape, ...]:
    """Axes are reordered."""
    perm = _known(call.setting("perm", 1, call.setting("pattern")))
    return (arrays.transposed(call.inputs[0], perm),)


@function_rule("expand_dims")
def expand_dims(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of 1 is added."""
    axis = call.setting("axis", 1, call.setting("dim"))
    return (arrays.expanded(call.inputs[0], _known(axis)),)


@function_rule("squeeze")
def squeeze(call: LayerCall) -> tuple[Shape, ...]:
    """Axes of 1 vanish."""
    axis = call.setting("axis", 1, call.setting("squeeze_dims"))
    return (arrays.squeezed(call.inputs[0], axis),)


@function_rule("concat", "concat_v2", "concatenate")
def concat(call: LayerCall) -> tuple[Shape, ...]:
    """One axis is summed."""
    values = call.setting("values", 0)
    shapes = [shape_of(item) for item in values] if isinstance(values, list) else call.inputs
    return (arrays.joined(shapes, _known(call.setting("axis", 1, -1))),)


@function_rule("stack", "pack")
def stack(call: LayerCall) -> tuple[Shape, ...]:
    """A new axis counts the tensors."""
    values = call.setting("values", 0, call.setting("x"))
    shapes = [shape_of(item) for item in values] if isinstance(values, list) else call.inputs
    return (arrays.stacked(shapes, call.setting("axis", 1, 0)),)


@function_rule("unstack", "unpack")
def unstack(call: LayerCall) -> tuple[Shape, ...]:
    """The slices along an axis."""
    return indexing.unstacked(call.inputs[0], call.setting("num"), call.setting("axis", None, 0))


@function_rule("split", "split_v")
def split(call: LayerCall) -> tuple[Shape, ...]:
    """Equal parts, or parts of stated sizes."""
    axis = _known(call.setting("axis", 2, call.setting("split_dim", None, 0)))
    parts = _known(call.setting("num_or_size_splits", 1, call.setting("num_split")))
    if isinstance(parts, list | tuple):
        return indexing.parted(call.inputs[0], parts, axis)
    return indexing.split(call.inputs[0], parts, axis)


@function_rule("getitem", "__getitem__", "_slice_helper")
def get_item(call: LayerCall) -> tuple[Shape, ...]:
    """``tensor[...]``."""
    return (indexing.indexed(call.inputs[0], key_items(call.setting("slice_spec", 1))),)


@function_rule("strided_slice")
def strided_slice(call: LayerCall) -> tuple[Shape, ...]:
    """``tensor[begin:end:strides]`` with TensorFlow's masks."""
    return (indexing.indexed(call.inputs[0], strided_key(call)),)


def strided_key(call: LayerCall) -> list[Any]:
    """Return the key that begin, end, strides and the masks of a strided slice stand for.

    Source: https://www.tensorflow.org/api_docs/python/tf/strided_slice.
    """
    begin, end, steps = (
        _known(call.setting(name, position))
        for name, position in (("begin", 1), ("end", 2), ("strides", 3))
    )
    steps = [1] * len(begin) if steps is None else steps
    masks = {
        name: int(call.setting(f"{name}_mask", None, 0) or 0)
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    key: list[Any] = []
    for place, (first, last, step) in enumerate(zip(begin, end, steps, strict=True)):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            key.append(Ellipsis)
        elif masks["new_axis"] & bit:
            key.append(None)
        elif masks["shrink_axis"] & bit:
            key.append(integer(first))
        else:
            start = None if masks["begin"] & bit else integer(first)
            stop = None if masks["end"] & bit else integer(last)
            key.append(slice(start, stop, integer(step)))
    return key


@function_rule("slice")
def slice_(call: LayerCall) -> tuple[Shape, ...]:
    """A block; -1 goes to the end."""
    begin = _known(call.setting("begin", 1))
    return (tuple(indexing.block(call.inputs[0], begin, plain(call.setting("size", 2)))),)


@function_rule("gather", "gather_v2")
def gather(call: LayerCall) -> tuple[Shape, ...]:
    """The axis becomes the axes of the indices."""
    if call.setting("batch_dims") not in (None, 0):
        raise ShapeUnknown("it gathers by batch")
    axis = call.setting("axis", 2)
    indices = shape_of(call.setting("indices", 1))
    return (indexing.taken(call.inputs[0], indices, 0 if axis is None else _known(axis)),)


@function_rule("tile")
def tile(call: LayerCall) -> tuple[Shape, ...]:
    """Axes are multiplied."""
    return (arrays.tiled(call.inputs[0], list(_known(call.setting("multiples", 1)))),)


@function_rule("repeat", "repeat_elements")
def repeat(call: LayerCall) -> tuple[Shape, ...]:
    """One axis is multiplied; without one the tensor becomes flat."""
    shape, axis = call.inputs[0], call.setting("axis")
    factor = integer(_known(call.setting("repeats", 1, call.setting("rep"))))
    if axis is None:
        return ((arrays.scaled(arrays.product(shape), factor),),)
    where = arrays.axis_of(axis, len(shape))
    return (replaced(shape, where, arrays.scaled(shape[where], factor)),)


@function_rule("pad", "pad_v2", "mirror_pad")
def pad(call: LayerCall) -> tuple[Shape, ...]:
    """Axes grow by ``paddings``."""
    return (arrays.padded(call.inputs[0], call.setting("paddings", 1)),)


@function_rule("one_hot")
def one_hot(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of ``depth`` classes is added."""
    axis = call.setting("axis")
    shape = arrays.expanded(call.inputs[0], -1 if axis is None else axis)
    depth = integer(_known(call.setting("depth", 1)))
    return (replaced(shape, -1 if axis is None else axis, depth),)


@function_rule("matmul", "batch_mat_mul", "batch_mat_mul_v2", "mat_mul")
def matmul(call: LayerCall) -> tuple[Shape, ...]:
    """A matrix product with broadcast batch axes."""
    shapes = [shape_of(call.setting(*name)) for name in (("a", 0), ("b", 1))]
    flips = [
        any(call.setting(name) for name in (f"transpose_{side}", f"adjoint_{side}", f"adj_{other}"))
        for side, other in (("a", "x"), ("b", "y"))
    ]
    turned = [
        arrays.swapped(shape, -1, -2) if flip else shape
        for shape, flip in zip(shapes, flips, strict=True)
    ]
    return (products.matmul(turned[0], turned[1]),)


@function_rule("tensordot")
def tensordot(call: LayerCall) -> tuple[Shape, ...]:
    """The contracted axes vanish."""
    left, right = shape_of(call.setting("a", 0)), shape_of(call.setting("b", 1))
    return (products.tensordot(left, right, call.setting("axes", 2)),)


@function_rule("einsum")
def einsum(call: LayerCall) -> tuple[Shape, ...]:
    """What the equation says."""
    if not call.inputs:
        raise ShapeUnknown("Keras 2 does not write its operands into the file")
    return (products.einsum(call.setting("equation", 0), call.inputs),)


@function_rule("top_k", "top_kv2")
def top_k(call: LayerCall) -> tuple[Shape, ...]:
    """Values and indices of the last axis."""
    shape = replaced(call.inputs[0], -1, integer(_known(call.setting("k", 1, 1))))
    return shape, shape


@function_rule("shape", "shape_n")
def shape(call: LayerCall) -> tuple[Shape, ...]:
    """One number per axis."""
    return ((len(call.inputs[0]),),)


@function_rule("size", "rank")
def number(call: LayerCall) -> tuple[Shape, ...]:
    """A single number."""
    return ((),)


def _known(value: Any) -> Any:
    """Return a setting, whose sizes may have been computed from shapes.

    Raises
    ------
    ShapeUnknown
        If it was computed from something else.
    """
    value = plain(value)
    if isinstance(value, Tensor):
        if value.value is None:
            raise ShapeUnknown("one of its settings is computed")
        return value.value
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return value


def _sizes(value: Any) -> list[Any]:
    """Return a target shape; what is computed from anything but shapes is open."""
    value = plain(value)
    if isinstance(value, Tensor):
        if isinstance(value.value, tuple):
            return list(value.value)
        if len(value.shape) == 1 and isinstance(value.shape[0], int) and value.shape[0] < 64:
            return [Open() for _ in range(value.shape[0])]
        raise ShapeUnknown("its target shape is computed")
    return [Open() if _computed(item) else item for item in value]


def _computed(item: Any) -> bool:
    return isinstance(item, Tensor) and item.value is None
