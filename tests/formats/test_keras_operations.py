"""Shape rules of Keras 3's operation nodes, against the shapes that Keras computes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest

from padaudit.formats.keras.shapes import infer_shapes, rules
from padaudit.formats.keras.shapes.opaque import OPAQUE
from padaudit.formats.keras.shapes.rule import OPERATIONS, LayerCall

keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
from keras import ops as K  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from keras_shapes import Dims, inferred  # noqa: E402

IMAGE: Dims = (None, 12, 18, 6)
OPEN: Dims = (None, None, 18, 6)
FIRST: Dims = (None, 6, 12, 18)
LINE: Dims = (None, 19, 6)
VOLUME: Dims = (None, 9, 12, 7, 4)
ROWS: Dims = (4, 5)
COLUMNS: Dims = (5, 3)
SQUARE: Dims = (None, 5, 5)
MATRIX: Dims = (None, 5, 3)
Case = tuple[Callable[..., Any], tuple[Dims, ...]]


def names(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


UNARY = names("""
    abs absolute angle arccos arccosh arcsin arcsinh arctan arctanh argsort array
    bitwise_invert bitwise_not cbrt ceil celu conj conjugate convert_to_tensor copy cos cosh
    deg2rad elu empty_like erf erfc erfinv exp exp2 expm1 fabs flip fliplr flipud floor gelu
    hard_shrink hard_sigmoid hard_silu hard_tanh i0 imag isfinite isinf isnan isneginf
    isposinf isreal leaky_relu log log10 log1p log2 log_sigmoid log_softmax logical_not
    nan_to_num negative normalize ones_like rad2deg real reciprocal relu relu6 round rsqrt
    selu sigmoid sign signbit silu sin sinc sinh soft_shrink softmax softplus softsign sort
    sparse_plus sparse_sigmoid sparsemax sqrt square squareplus stop_gradient tan tanh_shrink
    tanh tril triu trunc zeros_like rms_normalization layer_normalization view
""")
BINARY = names("""
    add arctan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
    divide divide_no_nan equal floor_divide fmax fmin fmod gcd greater greater_equal heaviside
    hypot isclose lcm ldexp left_shift less less_equal logaddexp logaddexp2 logical_and
    logical_or logical_xor maximum minimum mod multiply nextafter not_equal power right_shift
    subtract true_divide
""")
INTEGERS = {name for name in BINARY if name.startswith(("bitwise", "left", "right", "gcd", "lcm"))}
INTEGERS |= {"ldexp", "bitwise_invert", "bitwise_not"}
REDUCTIONS = names("""
    all amax amin any argmax argmin logsumexp max mean median min nanargmax nanargmin nanmax
    nanmean nanmedian nanmin nanprod nanstd nansum nanvar prod ptp std sum var
""")
ONE_AXIS = {"argmax", "argmin", "nanargmax", "nanargmin"}


def array(*shape: int) -> Any:
    """Return a constant."""
    return numpy.ones(shape, "float32")


def cases() -> list[Case]:
    """Return all calls, with the shapes of their inputs."""
    found: list[Case] = [(getattr(K, name), (IMAGE,)) for name in UNARY]
    for name in BINARY:
        found += [(getattr(K, name), (OPEN, (None, 1, 18, 1))), (getattr(K, name), (IMAGE, (6,)))]
    for name in REDUCTIONS:
        function = getattr(K, name)
        axis = 2 if name in ONE_AXIS else (1, -2)
        found += [
            (lambda x, f=function, a=axis: f(x, axis=a), (OPEN,)),
            (lambda x, f=function: f(x, axis=-1, keepdims=True), (OPEN,)),
            (lambda x, f=function: f(x), (IMAGE,)),
        ]
    return found + ARRANGEMENT + PRODUCTS + WINDOWS + IMAGES


ARRANGEMENT: list[Case] = [
    (lambda x: K.reshape(x, (-1, 12 * 18, 6)), (IMAGE,)),
    (lambda x: K.reshape(x, (-1, 9, 4)), ((3, 12, 18, 6),)),
    (lambda x: K.reshape(x, (5, -1, 6)), (OPEN,)),
    (K.ravel, (IMAGE,)),
    (K.ravel, (ROWS,)),
    (lambda x: K.transpose(x, (0, 3, 1, 2)), (IMAGE,)),
    (K.transpose, (OPEN,)),
    (lambda x: K.moveaxis(x, (1, -1), (-1, 1)), (IMAGE,)),
    (lambda x: K.moveaxis(x, 3, 1), (OPEN,)),
    (lambda x: K.swapaxes(x, 1, -1), (IMAGE,)),
    (lambda x: K.rot90(x, axes=(1, 2)), (IMAGE,)),
    (lambda x: K.rearrange(x, "b (h p) w c -> b h (p w c)", p=4), ((3, 12, 18, 6),)),
    (lambda x: K.expand_dims(x, (1, -1)), (OPEN,)),
    (lambda x: K.expand_dims(x, 2), (IMAGE,)),
    (K.squeeze, ((3, 1, 18, 1),)),
    (lambda x: K.squeeze(x, (1, -1)), ((None, 1, 18, 1),)),
    (lambda x: K.broadcast_to(x, (5, 12, 18, 6)), ((1, 12, 1, 6),)),
    (lambda x: K.full((4, 7), x), ((),)),
    (lambda i, v: K.scatter(i, v, (8, 9)), ((3, 2), (3,))),
    (K.scatter_update, (ROWS, (3, 2), (3,))),
    (lambda x, u: K.slice_update(x, (1, 1), u), (ROWS, (2, 2))),
    (lambda x: K.tile(x, (1, 2, 3, 1)), (OPEN,)),
    (lambda x: K.tile(x, (2, 3)), ((4,),)),
    (lambda x: K.repeat(x, 3, axis=1), (IMAGE,)),
    (lambda x: K.repeat(x, 3), (ROWS,)),
    (lambda x: K.repeat(x, [1, 2, 3, 0, 1], axis=1), (ROWS,)),
    (lambda x: K.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0))), (OPEN,)),
    (lambda x: K.pad(x, 2, constant_values=1), (ROWS,)),
    (lambda x: K.pad(x, ((1, 2),)), (ROWS,)),
    (lambda x, y: K.concatenate([x, y], axis=1), (IMAGE, (None, 5, 18, 6))),
    (lambda x: K.concatenate([x, array(4, 2)], axis=-1), (ROWS,)),
    (lambda x, y: K.append(x, y, axis=1), (IMAGE, (None, 5, 18, 6))),
    (K.append, (ROWS, COLUMNS)),
    (lambda x, y: K.hstack([x, y]), (ROWS, (4, 2))),
    (lambda x, y: K.vstack([x, y]), (ROWS, (7, 5))),
    (lambda x, y: K.dstack([x, y]), (ROWS, ROWS)),
    (lambda x, y: K.stack([x, y], axis=-2), (OPEN, OPEN)),
    (lambda x: K.split(x, 3, axis=1), (IMAGE,)),
    (lambda x: K.split(x, (2, 7), axis=2), (IMAGE,)),
    (lambda x: K.hsplit(x, 2), (IMAGE,)),
    (lambda x: K.vsplit(x, 2), (ROWS,)),
    (lambda x: K.dsplit(x, 3), (IMAGE,)),
    (lambda x: K.array_split(x, 5, axis=1), (IMAGE,)),
    (lambda x: K.array_split(x, 3, axis=1), (OPEN,)),
    (lambda x: K.unstack(x, axis=1), (IMAGE,)),
    (lambda x: x[:, 1:-2, ::2], (IMAGE,)),
    (lambda x: x[:, 1:-2, None, 3], (OPEN,)),
    (lambda x: x[..., 1:], (OPEN,)),
    (lambda x: x[:, ::-1, 2:100:5], (IMAGE,)),
    (lambda x: K.slice(x, (0, 1, 2, 0), (2, 3, 4, 6)), (IMAGE,)),
    (lambda x: K.take(x, numpy.array([[0, 1, 2], [3, 4, 5]]), axis=1), (IMAGE,)),
    (lambda x, i: K.take(x, i, axis=-1), (IMAGE, (7,))),
    (K.take, (IMAGE, (7, 2))),
    (lambda x, i: K.take_along_axis(x, i, axis=1), (IMAGE, (None, 3, 18, 6))),
    (lambda x: K.diff(x, n=2, axis=1), (IMAGE,)),
    (lambda x: K.diagonal(x, offset=2, axis1=1, axis2=2), (IMAGE,)),
    (lambda x: K.trace(x, axis1=1, axis2=2), (IMAGE,)),
    (lambda x: K.diag(x, k=-2), ((5,),)),
    (lambda x: K.diag(x, k=1), (ROWS,)),
    (lambda x: K.one_hot(x, 9), ((None, 7),)),
    (lambda x: K.one_hot(x, 9, axis=1), ((None, 7),)),
    (lambda x: K.multi_hot(x, 9), ((None, 7),)),
    (K.ndim, (IMAGE,)),
    (K.meshgrid, ((4,), (7,))),
    (lambda x, y: K.meshgrid(x, y, indexing="ij"), ((4,), (7,))),
    (lambda x: K.vander(x, N=3), ((5,),)),
    (lambda x, y: K.linspace(x, y, num=7, axis=1), (ROWS, ROWS)),
    (lambda x, y: K.logspace(x, y, num=7), (ROWS, ROWS)),
    (lambda x, y: K.geomspace(x, y, num=7, axis=-1), (ROWS, ROWS)),
    (lambda x: K.histogram(x, bins=8), (ROWS,)),
    (K.bincount, ((None, 7),)),
    (lambda x: K.cumsum(x, axis=1), (OPEN,)),
    (K.cumprod, (ROWS,)),
    (lambda x: K.nancumsum(x, axis=1), (OPEN,)),
    (lambda x: K.nancumprod(x, axis=1), (OPEN,)),
    (lambda x: K.argpartition(x, 2, axis=1), (OPEN,)),
    (lambda x: K.cast(x, "int32"), (OPEN,)),
    (lambda x: K.saturate_cast(x, "int8"), (OPEN,)),
    (lambda x: K.clip(x, 0, 1), (OPEN,)),
    (lambda x: K.roll(x, 2, axis=1), (OPEN,)),
    (lambda x: K.digitize(x, array(5)), (OPEN,)),
    (lambda x: K.full_like(x, 2), (OPEN,)),
    (lambda x: K.threshold(x, 0.1, 2), (OPEN,)),
    (K.isin, (OPEN, (7,))),
    (K.polar, (OPEN, OPEN)),
    (lambda x, y: K.where(x > 0, x, y), (OPEN, (None, 1, 18, 6))),
    (lambda x: K.where(x > 0, x, 0.0), (OPEN,)),
    (lambda x: K.select([x > 0], [x]), (OPEN,)),
    (lambda x: K.moments(x, axes=(1, 2)), (IMAGE,)),
    (lambda x: K.moments(x, axes=(1, 2), keepdims=True), (IMAGE,)),
    (lambda x: K.quantile(x, array(3), axis=1), (IMAGE,)),
    (lambda x: K.percentile(x, 30.0, axis=(1, 2), keepdims=True), (IMAGE,)),
    (lambda x: K.nanquantile(x, array(3), axis=1), (IMAGE,)),
    (lambda x: K.nanpercentile(x, 30.0, axis=1), (IMAGE,)),
    (lambda x: K.count_nonzero(x, axis=(1, 2)), (IMAGE,)),
    (lambda x: K.average(x, axis=1), (IMAGE,)),
    (lambda x: K.norm(x, axis=(1, 2), keepdims=True), (IMAGE,)),
    (K.allclose, (ROWS, ROWS)),
    (K.vdot, ((5,), (5,))),
    (K.size, (IMAGE,)),
    (lambda x, y: K.psnr(x, y, 1.0), (IMAGE, IMAGE)),
    (K.binary_crossentropy, (LINE, LINE)),
    (K.categorical_crossentropy, (LINE, LINE)),
    (K.sparse_categorical_crossentropy, ((None, 19), LINE)),
    (lambda x: K.batch_normalization(x, array(6), array(6), axis=-1), (IMAGE,)),
]
PRODUCTS: list[Case] = [
    (K.matmul, ((None, 4, 7), (7, 3))),
    (K.matmul, ((None, 2, 4, 7), (2, 7, 3))),
    (K.matmul, ((7,), (None, 7, 3))),
    (K.dot, ((None, 4, 7), (7, 3))),
    (K.dot, ((None, 4, 7), (7,))),
    (K.inner, (ROWS, (3, 5))),
    (K.outer, (ROWS, (7,))),
    (K.kron, (ROWS, COLUMNS)),
    (lambda x, y: K.tensordot(x, y, axes=1), (IMAGE, (6, 3))),
    (lambda x, y: K.tensordot(x, y, axes=[[1, 2], [0, 1]]), (IMAGE, (12, 18, 5))),
    (lambda x, y: K.einsum("bhwc,bhwd->bcd", x, y), (IMAGE, (None, 12, 18, 5))),
    (lambda x: K.einsum("...c,cd->...d", x, array(6, 9)), (OPEN,)),
    (K.cross, ((None, 4, 3), (None, 4, 3))),
    (lambda x: K.trapezoid(x, axis=1), (IMAGE,)),
    (lambda x: K.glu(x, axis=1), (IMAGE,)),
    (lambda x: K.top_k(x, 4), (IMAGE,)),
    (lambda t, p: K.in_top_k(t, p, 3), ((4,), (4, 9))),
    (lambda x, i: K.segment_sum(x, i, num_segments=4), ((7, 3), (7,))),
    (lambda x, i: K.segment_max(x, i, num_segments=4), ((7, 3), (7,))),
    (lambda x, i: K.segment_min(x, i, num_segments=4), ((7, 3), (7,))),
    (lambda x, i: K.segment_prod(x, i, num_segments=4), ((7, 3), (7,))),
    (K.cdist, ((4, 3), (7, 3))),
    (K.ctc_loss, ((5, 4), (5, 9, 7), (5,), (5,))),
    (K.ctc_decode, ((5, 9, 7), (5,))),
    (K.solve, ((5, 5), (5, 3))),
    (K.solve_triangular, ((5, 5), (5, 3))),
    (K.lstsq, ((5, 3), (5, 2))),
    (K.pinv, ((4, 5, 3),)),
    (K.eig, (SQUARE,)),
    (K.eigh, (SQUARE,)),
    (K.cholesky, (SQUARE,)),
    (K.cholesky_inverse, (SQUARE,)),
    (K.inv, (SQUARE,)),
    (K.det, (SQUARE,)),
    (K.slogdet, (SQUARE,)),
    (K.logdet, (SQUARE,)),
    (K.matrix_rank, (SQUARE,)),
    (K.svd, (MATRIX,)),
    (lambda x: K.svd(x, full_matrices=False), (MATRIX,)),
    (K.qr, (MATRIX,)),
    (lambda x: K.qr(x, mode="complete"), (MATRIX,)),
    (K.lu_factor, (MATRIX,)),
    (K.corrcoef, (ROWS,)),
    (lambda x, y: K.correlate(x, y, mode="full"), ((7,), (3,))),
    (K.correlate, ((7,), (3,))),
    (lambda x, y: K.fft((x, y)), (LINE, LINE)),
    (lambda x, y: K.fft2((x, y)), (LINE, LINE)),
    (lambda x, y: K.ifft2((x, y)), (LINE, LINE)),
    (K.rfft, (LINE,)),
    (lambda x, y: K.irfft((x, y)), (LINE, LINE)),
    (lambda x: K.stft(x, 8, 3, 16), ((None, 100),)),
    (lambda x, y: K.istft((x, y), 8, 3, 16), ((None, 30, 9), (None, 30, 9))),
    (lambda x: K.extract_sequences(x, 8, 3), ((None, 100),)),
    (K.view_as_complex, ((None, 7, 2),)),
    (lambda x: K.view_as_real(K.view_as_complex(x)), ((None, 7, 2),)),
    (lambda x: K.unravel_index(x, (4, 5)), ((7,),)),
    (K.searchsorted, ((9,), (7,))),
    (K.dot_product_attention, ((None, 9, 2, 8), (None, 7, 2, 8), (None, 7, 2, 8))),
]
CF = {"data_format": "channels_first"}
WINDOWS: list[Case] = [
    (lambda x: K.conv(x, array(3, 4, 6, 5), strides=(2, 3), padding="same"), (OPEN,)),
    (lambda x: K.conv(x, array(3, 4, 6, 5), dilation_rate=(2, 3)), (IMAGE,)),
    (lambda x: K.conv(x, array(3, 4, 6, 5), 2, padding="same", **CF), (FIRST,)),
    (lambda x: K.conv(x, array(3, 6, 8), 2, padding="same"), (LINE,)),
    (lambda x, k: K.conv(x, k, (2, 3), padding="same"), (IMAGE, (3, 4, 6, 5))),
    (lambda x: K.depthwise_conv(x, array(3, 4, 6, 2), 2, padding="same"), (OPEN,)),
    (lambda x: K.separable_conv(x, array(3, 4, 6, 2), array(1, 1, 12, 7), 2, "same"), (IMAGE,)),
    (lambda x: K.conv_transpose(x, array(3, 4, 5, 6), (2, 3), padding="same"), (OPEN,)),
    (lambda x: K.conv_transpose(x, array(3, 4, 5, 6), 2, output_padding=1), (IMAGE,)),
    (lambda x: K.conv_transpose(x, array(3, 4, 5, 6), 2, **CF), (FIRST,)),
    (lambda x: K.max_pool(x, (3, 2), padding="same"), (OPEN,)),
    (lambda x: K.max_pool(x, 3, 2), (VOLUME,)),
    (lambda x: K.average_pool(x, (3, 2), (2, 5), padding="same", **CF), (FIRST,)),
    (lambda x: K.average_pool(x, 2), (LINE,)),
    (lambda x: K.adaptive_max_pool(x, (5, 7), **CF), (FIRST,)),
    (lambda x: K.adaptive_average_pool(x, (5, 7), **CF), (FIRST,)),
    (lambda x: K.image.extract_patches(x, (3, 4), strides=(2, 3), padding="same"), (IMAGE,)),
    (lambda x: K.image.extract_patches(x, 3, dilation_rate=2, padding="valid"), (IMAGE,)),
    (lambda x: K.unfold(x, (3, 2), dilation=2, padding=1, stride=3), (FIRST,)),
    (lambda x: K.fold(x, (12, 18), (3, 2), stride=(3, 2)), ((2, 36, 36),)),
    (lambda x: K.depth_to_space(x, 2), ((None, 5, 7, 12),)),
    (lambda x: K.depth_to_space(x, 2, **CF), ((None, 12, 5, 7),)),
    (lambda x: K.space_to_depth(x, 3), (OPEN,)),
]
IMAGES: list[Case] = [
    (lambda x: K.image.resize(x, (5, 7)), (OPEN,)),
    (lambda x: K.image.resize(x, (5, 7), crop_to_aspect_ratio=True, **CF), (FIRST,)),
    (lambda x: K.image.resize(x, (5, 7), pad_to_aspect_ratio=True), (IMAGE,)),
    (lambda x: K.image.pad_images(x, 1, 2, target_height=20, target_width=30), (IMAGE,)),
    (lambda x: K.image.pad_images(x, 1, 2, 3, 4, **CF), (FIRST,)),
    (lambda x: K.image.crop_images(x, 1, 2, target_height=7, target_width=9), (IMAGE,)),
    (lambda x: K.image.crop_images(x, 1, 2, 3, 4), (IMAGE,)),
    (K.image.rgb_to_grayscale, ((None, 12, 18, 3),)),
    (K.image.rgb_to_hsv, ((None, 12, 18, 3),)),
    (K.image.hsv_to_rgb, ((None, 12, 18, 3),)),
    (K.image.sobel_edges, (IMAGE,)),
    (K.image.ssim, ((None, 12, 18, 3), (None, 12, 18, 3))),
    (lambda x: K.image.map_coordinates(x, array(4, 7, 9), order=1), (IMAGE,)),
    (lambda x: K.image.affine_transform(x, array(8)), ((3, 12, 18, 6),)),
    (lambda x: K.image.perspective_transform(x, array(3, 4, 2), array(3, 4, 2)), ((3, 9, 8, 3),)),
    (K.image.gaussian_blur, (IMAGE,)),
    (K.image.elastic_transform, (IMAGE,)),
    (
        lambda x: K.image.scale_and_translate(
            x, (3, 5, 7, 6), array(2), array(2), (1, 2), "linear"
        ),
        ((3, 12, 18, 6),),
    ),
]


@cache
def call(function: Callable[..., Any], shapes: tuple[Dims, ...]) -> Any:
    """Return a model of one call."""
    name = getattr(function, "__name__", "")
    floats = "int32" if name in INTEGERS else "float32"
    inputs = [keras.Input(batch_shape=shape, dtype=floats) for shape in shapes]
    return keras.Model(inputs, keras.tree.flatten(function(*inputs)))


CASES = cases()


@pytest.mark.parametrize(("function", "shapes"), CASES)
def test_the_rule_says_what_keras_says(
    function: Callable[..., Any], shapes: tuple[Dims, ...]
) -> None:
    model = call(function, shapes)
    assert inferred(model) == [tuple(tensor.shape) for tensor in model.outputs]


def test_adaptive_pools_of_channels_last_images_are_as_keras_computes_them() -> None:
    # Keras 3.15 states (None, 12, 5, 7, 6) for the symbolic call, and computes (4, 5, 7, 6).
    image = K.ones((4, 12, 18, 6))
    computed = K.adaptive_max_pool(image, (5, 7))
    config = {"output_size": [5, 7], "data_format": "channels_last"}
    shapes = infer_shapes(
        LayerCall("AdaptiveMaxPool", config, ((4, 12, 18, 6),), domain=OPERATIONS)
    )
    assert shapes == (tuple(computed.shape),)


def test_every_operation_of_keras_is_propagated_or_opaque_with_a_reason() -> None:
    known = set(rules(OPERATIONS)) | set(OPAQUE[OPERATIONS])
    assert operations() == known
    assert not set(rules(OPERATIONS)) & set(OPAQUE[OPERATIONS])


def test_every_rule_is_tested() -> None:
    used: set[str] = set()
    for function, shapes in CASES:
        nodes = call(function, shapes).operations
        used |= {type(node).__name__ for node in nodes}
    subclasses = {"Abs", "Conj", "SegmentReduction"}
    assert set(rules(OPERATIONS)) - used <= subclasses


def operations() -> set[str]:
    """Return every class of an operation in Keras."""
    import keras.src.ops as package
    from keras.src.ops.operation import Operation

    found: set[str] = set()
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.endswith("_test"):
            members = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            found |= {
                name
                for name, member in members.items()
                if inspect.isclass(member) and issubclass(member, Operation)
            }
    return found
