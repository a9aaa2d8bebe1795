"""Shape rules of TensorFlow's functions, against what TensorFlow itself returns, eagerly."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from padaudit.formats.keras.shapes import infer_shapes, rules
from padaudit.formats.keras.shapes.rule import FUNCTIONS, LayerCall, Tensor

tf = pytest.importorskip("tensorflow", reason="TensorFlow is the judge of these tests")
IMAGE, MATRIX = (2, 5, 7, 3), (4, 6)


@dataclass(frozen=True)
class T:
    """A tensor among the arguments of a call: its shape, type, and values if they matter."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    values: Any = None

    def made(self) -> Any:
        values = tf.zeros(self.shape) if self.values is None else tf.constant(self.values)
        return tf.cast(values + 1 if self.values is None else values, self.dtype)


@dataclass(frozen=True)
class Call:
    """A call: TensorFlow's function by name, its arguments in order or by name."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def call(name: str, *args: Any, **kwargs: Any) -> Call:
    return Call(name, args, kwargs)


def function(path: str) -> Callable[..., Any]:
    found: Any = tf
    for part in path.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


UNARY = {
    "": "abs acos acosh asin asinh atan atanh bitcast cast clip_by_norm clip_by_value "
    "convert_to_tensor cos cosh cumsum ensure_shape exp floor identity ones_like "
    "reverse round sigmoid sign sin sinh sqrt square stop_gradient tan tanh zeros_like roll",
    "math": "ceil digamma erf erfc expm1 imag is_finite is_inf is_nan l2_normalize lgamma log "
    "log1p logical_not negative real reciprocal rint rsqrt softplus softsign cumprod "
    "log_sigmoid",
    "nn": "batch_normalization bias_add dropout elu gelu leaky_relu "
    "local_response_normalization log_softmax lrn relu relu6 selu silu softmax swish",
    "image": "adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation "
    "convert_image_dtype flip_left_right flip_up_down hsv_to_rgb per_image_standardization "
    "random_brightness random_contrast random_flip_left_right random_flip_up_down random_hue "
    "random_saturation rgb_to_hsv rgb_to_yiq rgb_to_yuv yiq_to_rgb yuv_to_rgb",
}
MORE: dict[str, tuple[Any, ...]] = {
    "adjust_brightness": (0.1,),
    "adjust_contrast": (2.0,),
    "adjust_hue": (0.1,),
    "adjust_saturation": (2.0,),
    "batch_normalization": (0.5, 2.0, 0.1, 0.3, 1e-3),
    "bias_add": (T((3,)),),
    "bitcast": ("int32",),
    "cast": ("int32",),
    "clip_by_norm": (2.0,),
    "clip_by_value": (-1.0, 1.0),
    "convert_image_dtype": ("float16",),
    "dropout": (0.5,),
    "ensure_shape": (IMAGE,),
    "random_brightness": (0.1,),
    "random_contrast": (0.1, 0.5),
    "random_hue": (0.1,),
    "random_saturation": (0.1, 0.5),
    "reverse": ([1, 2],),
    "roll": (2, 1),
}
TYPES = {"logical_not": "bool", "real": "complex64", "imag": "complex64"}
BINARY = {
    "": "add divide equal greater greater_equal less less_equal maximum minimum multiply "
    "not_equal pow realdiv subtract truediv",
    "math": "atan2 divide_no_nan floordiv floormod mod multiply_no_nan squared_difference xdivy "
    "xlogy",
}
REDUCTIONS = (
    "reduce_max reduce_mean reduce_min reduce_prod reduce_sum reduce_euclidean_norm "
    "reduce_logsumexp reduce_std reduce_variance count_nonzero"
)


def cases() -> list[Call]:
    found = [
        call(
            f"{home}.{name}".lstrip("."), T(IMAGE, TYPES.get(name, "float32")), *MORE.get(name, ())
        )
        for home, names in UNARY.items()
        for name in names.split()
    ]
    for home, names in BINARY.items():
        for name in names.split():
            path = f"{home}.{name}".lstrip(".")
            found += [call(path, T(IMAGE), T((7, 1))), call(path, T((3,)), T((2, 1, 7, 3)))]
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        found.append(call(f"bitwise.{name}", T((4, 1), "int32"), T((1, 6), "int32")))
    for name in ("logical_and", "logical_or", "logical_xor"):
        found.append(call(f"math.{name}", T((4, 1), "bool"), T((1, 6), "bool")))
    for name in REDUCTIONS.split():
        path = f"math.{name}"
        found += [
            call(path, T(IMAGE), 1),
            call(path, T(IMAGE), [1, 2], True),
            call(path, T(IMAGE), axis=-1, keepdims=True),
            call(path, T(IMAGE)),
        ]
    for name in ("reduce_all", "reduce_any"):
        found += [call(f"math.{name}", T(IMAGE, "bool"), [0, -1]), call(name, T(IMAGE, "bool"))]
    for name in ("argmax", "argmin"):
        found += [call(f"math.{name}", T(IMAGE), 2), call(f"math.{name}", T(IMAGE))]
    return [*found, *ARRANGEMENTS, *WINDOWS]


ARRANGEMENTS = [
    call("add_n", [T(MATRIX), T(MATRIX)]),
    call("math.accumulate_n", [T(MATRIX), T(MATRIX)]),
    call("nn.sigmoid_cross_entropy_with_logits", labels=T(MATRIX), logits=T(MATRIX)),
    call("truncatediv", T((4, 1), "int32"), T((1, 6), "int32")),
    call("broadcast_to", T((7, 1)), [2, 7, 3]),
    call("concat", [T((2, 5)), T((2, 4))], 1),
    call("concat", [T((2, 5)), T((3, 5)), T((1, 5))], axis=-2),
    call("einsum", "bhwc,cd->bdhw", T(IMAGE), T((3, 6))),
    call("expand_dims", T(MATRIX), 1),
    call("expand_dims", T(MATRIX), axis=-1),
    call("gather", T(IMAGE), T((4, 2), "int32", [[0, 1]] * 4), axis=2),
    call("gather", T(IMAGE), T((3,), "int32", [0, 1, 1])),
    call("linalg.matmul", T((2, 4, 6)), T((2, 6, 3))),
    call("linalg.matmul", T((2, 6, 4)), T((2, 3, 6)), True, True),
    call("linalg.matmul", T((5, 2, 4, 6)), T((6, 3))),
    call("math.top_k", T(MATRIX), 3),
    call("nn.moments", T(IMAGE), [1, 2]),
    call("nn.moments", T(IMAGE), [0, 3], keepdims=True),
    call("norm", T(IMAGE), axis=1),
    call("norm", T(IMAGE), axis=[1, 2], keepdims=True),
    call("one_hot", T((4, 2), "int32"), 5),
    call("one_hot", T((4, 2), "int32"), 5, axis=0),
    call("pad", T(IMAGE), [[0, 0], [1, 2], [3, 0], [0, 4]]),
    call("pad", T(MATRIX), [[1, 2], [3, 0]], "REFLECT"),
    call("rank", T(IMAGE)),
    call("repeat", T(MATRIX), 3),
    call("repeat", T(IMAGE), 3, 2),
    call("reshape", T(IMAGE), [-1, 21, 2]),
    call("reshape", T(IMAGE), [2, -1]),
    call("shape", T(IMAGE)),
    call("size", T(IMAGE)),
    call("slice", T(IMAGE), [0, 1, 2, 0], [-1, 3, -1, 2]),
    call("split", T(MATRIX), 3, 1),
    call("split", T(MATRIX), [1, 3, 2], axis=-1),
    call("squeeze", T((1, 5, 1, 3))),
    call("squeeze", T((1, 5, 1, 3)), [2]),
    call("stack", [T(MATRIX)] * 3, 1),
    call("stack", [T(MATRIX)] * 3, axis=-1),
    call("strided_slice", T(IMAGE), [0, 1, -1], [2, 5, 0], [1, 3, -2]),
    call("strided_slice", T(IMAGE), [0, 1, 2], [0, 4, 0], None, begin_mask=1, end_mask=5),
    call("strided_slice", T(IMAGE), [1, 0, 1], [2, 0, 3], [1, 1, 1], shrink_axis_mask=1,
         new_axis_mask=2),
    call("strided_slice", T(IMAGE), [0, 1], [0, 3], [1, 1], ellipsis_mask=1),
    call("tensordot", T((4, 5, 6)), T((6, 5, 3)), [[1, 2], [1, 0]]),
    call("tensordot", T((4, 5, 6)), T((6, 3)), 1),
    call("tile", T(MATRIX), [2, 3]),
    call("transpose", T(IMAGE), [0, 3, 1, 2]),
    call("transpose", T(IMAGE)),
    call("unstack", T(IMAGE), axis=1),
    call("unstack", T(MATRIX)),
    call("where", T((4, 1), "bool"), T((1, 6)), T((4, 6))),
]  # fmt: skip
WINDOWS = [
    *(
        call(f"nn.{kind}_pool2d", T((2, 11, 13, 3)), size, strides, padding)
        for kind in ("max", "avg")
        for padding in ("SAME", "VALID")
        for size, strides in ((3, 2), ([2, 5], [3, 4]), ([1, 4, 3, 1], [1, 2, 5, 1]))
    ),
    call("nn.max_pool", T((2, 11, 13, 3)), [3, 2], [2, 3], "SAME"),
    call("nn.avg_pool", T((2, 11, 3)), [4], [3], "VALID"),
    call("nn.max_pool1d", T((2, 11, 3)), 4, 3, "SAME"),
    call("nn.avg_pool1d", T((2, 11, 3)), 4, 3, "VALID"),
    call("nn.max_pool3d", T((1, 7, 9, 11, 2)), [2, 3, 4], [3, 2, 5], "SAME"),
    call("nn.avg_pool3d", T((1, 7, 9, 11, 2)), [2, 3, 4], [3, 2, 5], "VALID"),
    call("nn.conv1d", T((2, 11, 3)), T((4, 3, 5)), 3, "SAME"),
    call("nn.conv1d", T((2, 11, 3)), T((4, 3, 5)), 1, "VALID", dilations=2),
    call("nn.conv2d", T((2, 11, 13, 4)), T((2, 3, 4, 5)), [1, 3, 2, 1], "SAME"),
    call("nn.conv2d", T((2, 11, 13, 4)), T((2, 3, 4, 5)), 1, "VALID", dilations=[3, 2]),
    call("nn.conv2d", T((2, 11, 13, 4)), T((2, 3, 4, 5)), 1,
         [[0, 0], [1, 2], [3, 0], [0, 0]]),
    call("nn.conv3d", T((1, 7, 9, 11, 2)), T((2, 3, 4, 2, 3)), [1, 3, 2, 1, 1], "VALID"),
    call("nn.convolution", T((2, 11, 13, 4)), T((2, 3, 4, 5)), [3, 2], "SAME"),
    call("nn.convolution", T((2, 11, 13, 4)), T((2, 3, 4, 5)), padding="VALID", dilations=[3, 2]),
    call("nn.atrous_conv2d", T((2, 11, 13, 4)), T((2, 3, 4, 5)), 2, "VALID"),
    call("nn.depthwise_conv2d", T((2, 11, 13, 4)), T((2, 3, 4, 3)), [1, 2, 2, 1], "SAME"),
    call("nn.separable_conv2d", T((2, 11, 13, 4)), T((2, 3, 4, 3)), T((1, 1, 12, 5)),
         [1, 2, 2, 1], "VALID"),
    call("nn.conv1d_transpose", T((2, 5, 3)), T((4, 6, 3)), [2, 15, 6], 3, "SAME"),
    call("nn.conv2d_transpose", T((2, 5, 4, 3)), T((4, 2, 6, 3)), [2, 15, 8, 6], [3, 2], "SAME"),
    call("nn.conv3d_transpose", T((1, 3, 2, 4, 3)), T((2, 3, 4, 5, 3)), [1, 6, 6, 4, 5],
         [2, 3, 1], "SAME"),
    call("image.extract_patches", T((2, 11, 13, 3)), [1, 3, 2, 1], [1, 2, 3, 1], [1, 1, 1, 1],
         "SAME"),
    call("image.extract_patches", T((2, 11, 13, 3)), [1, 3, 2, 1], [1, 2, 3, 1], [1, 2, 1, 1],
         "VALID"),
    call("image.resize", T(IMAGE), [9, 4]),
    call("image.resize", T(IMAGE[1:]), [9, 4], "nearest"),
    call("image.resize_with_crop_or_pad", T(IMAGE), 4, 9),
    call("image.resize_with_pad", T(IMAGE), 4, 9),
    call("image.crop_to_bounding_box", T(IMAGE), 1, 2, 3, 4),
    call("image.pad_to_bounding_box", T(IMAGE), 1, 2, 8, 12),
    call("image.crop_and_resize", T(IMAGE), T((3, 4)), T((3,), "int32", [0, 1, 1]), [6, 8]),
    call("image.random_crop", T(IMAGE), [1, 3, 4, 3]),
    call("image.rgb_to_grayscale", T(IMAGE)),
    call("image.grayscale_to_rgb", T((2, 5, 7, 1))),
    call("nn.space_to_depth", T((2, 6, 9, 4)), 3),
    call("nn.depth_to_space", T((2, 3, 5, 36)), 3),
    call("nn.depth_to_space", T((2, 3, 5, 8)), 2, "NHWC"),
]  # fmt: skip
NOT_CALLED = {
    "central_crop": "its rule says that it does not know",
    "identity_n": "of lists, which Keras 2 does not write as one call",
    "shape_n": "of lists, which Keras 2 does not write as one call",
}
CASES = cases()


def described(case: Call) -> LayerCall:
    """Return a call as Keras 2 writes it: the first argument by position, all others by name."""
    names = list(inspect.signature(function(case.name)).parameters)
    given = {**dict(zip(names, case.args, strict=False)), **case.kwargs}
    first, *rest = given.items()
    arguments = {"0": first[1], **dict(rest)}
    if isinstance(first[1], str):
        arguments = {first[0]: first[1], **{str(i + 1): v for i, v in enumerate(case.args[1:])}}
    inputs = tuple(item.shape for value in given.values() for item in tensors(value))
    inputs = inputs or tuple(item.shape for value in case.args for item in tensors(value))
    if isinstance(first[1], str):
        inputs = tuple(item.shape for value in case.args for item in tensors(value))
    kept = {key: as_tensors(value) for key, value in arguments.items()}
    return LayerCall(case.name.rpartition(".")[2], {}, inputs, kept, FUNCTIONS)


def tensors(value: Any) -> list[T]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, T)]


def as_tensors(value: Any) -> Any:
    if isinstance(value, list):
        return [as_tensors(item) for item in value]
    return Tensor(value.shape) if isinstance(value, T) else value


def run(case: Call) -> list[tuple[int, ...]]:
    """Return the shapes of what TensorFlow returns."""

    def made(value: Any) -> Any:
        if isinstance(value, list):
            return [made(item) for item in value]
        return value.made() if isinstance(value, T) else value

    result = function(case.name)(
        *map(made, case.args), **{key: made(value) for key, value in case.kwargs.items()}
    )
    return [tuple(item.shape) for item in tf.nest.flatten(result)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{len(case.args)}")
def test_the_shape_is_what_tensorflow_returns(case: Call) -> None:
    expected = run(case)
    found = infer_shapes(described(case))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        assert all(a == b for a, b in zip(ours, theirs, strict=True) if isinstance(a, int))


def test_every_function_of_tensorflow_that_has_a_rule_is_called() -> None:
    called = {case.name.rpartition(".")[2] for case in CASES}
    homes = (tf, tf.math, tf.nn, tf.image, tf.linalg, tf.bitwise)
    named = [name for name in rules(FUNCTIONS) if not name.startswith("__")]
    there = {name for name in named if any(hasattr(home, name) for home in homes)}
    assert sorted(there - called) == sorted(NOT_CALLED)
