"""Shape rules against Keras's own symbolic calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from padaudit.formats.keras.dialect import class_name, modern_config
from padaudit.formats.keras.shapes import infer_shapes
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown
from padaudit.ir.dims import Open, Shape, Unknown

keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
L = keras.layers
Dims = tuple[int | None, ...]


def to_shape(dims: Dims) -> Shape:
    return tuple(Open() if size is None else size for size in dims)


def plain(shape: Shape) -> Dims:
    assert not any(isinstance(size, Unknown) for size in shape)
    return tuple(size if isinstance(size, int) else None for size in shape)


def inferred(layer: Any, inputs: Sequence[Dims]) -> list[Dims]:
    name = class_name(type(layer).__name__)
    config = modern_config(name, layer.get_config())
    call = LayerCall(name, config, tuple(to_shape(dims) for dims in inputs))
    return [plain(shape) for shape in infer_shapes(call)]


def keras_says(layer: Any, inputs: Sequence[Dims]) -> list[Dims]:
    tensors = [keras.Input(batch_shape=dims) for dims in inputs]
    outputs = layer(tensors[0] if len(tensors) == 1 else tensors)
    return [tuple(tensor.shape) for tensor in keras.tree.flatten(outputs)]


IMAGE: Dims = (None, 17, 14, 6)
OPEN_IMAGE: Dims = (None, None, 14, 6)
FIRST: Dims = (None, 6, 17, 14)
LINE: Dims = (None, 19, 6)
VOLUME: Dims = (None, 9, 12, 7, 4)
VIDEO: Dims = (None, 5, 9, 8, 3)

CASES: list[tuple[Any, list[Dims]]] = [
    (L.ReLU, [IMAGE]),
    (lambda: L.PReLU(shared_axes=[1, 2]), [IMAGE]),
    (L.BatchNormalization, [OPEN_IMAGE]),
    (L.LayerNormalization, [LINE]),
    (lambda: L.SpatialDropout2D(0.3), [IMAGE]),
    (lambda: L.Rescaling(2.0), [IMAGE]),
    (L.Softmax, [LINE]),
    (lambda: L.Dense(5), [IMAGE]),
    (lambda: L.EinsumDense("abc,cd->abd", output_shape=(19, 7)), [LINE]),
    (lambda: L.EinsumDense("...x,xy->...y", output_shape=7), [LINE]),
    (lambda: L.Embedding(11, 4), [(None, 9)]),
    (L.Flatten, [IMAGE]),
    (lambda: L.Reshape((7, -1, 3)), [IMAGE]),
    (lambda: L.Permute((3, 1, 2)), [IMAGE]),
    (lambda: L.RepeatVector(3), [(None, 8)]),
    (lambda: L.ZeroPadding1D((2, 3)), [LINE]),
    (lambda: L.ZeroPadding2D(((1, 2), (3, 4))), [OPEN_IMAGE]),
    (lambda: L.ZeroPadding2D(((1, 2), (3, 4)), data_format="channels_first"), [FIRST]),
    (lambda: L.ZeroPadding2D(2), [IMAGE]),
    (lambda: L.ZeroPadding3D(((1, 2), (3, 0), (0, 1))), [VOLUME]),
    (lambda: L.Cropping1D((2, 3)), [LINE]),
    (lambda: L.Cropping2D(((1, 2), (3, 4))), [IMAGE]),
    (lambda: L.Cropping3D((1, 2, 3)), [VOLUME]),
    (lambda: L.UpSampling1D(3), [LINE]),
    (lambda: L.UpSampling2D((2, 3)), [OPEN_IMAGE]),
    (lambda: L.UpSampling3D((2, 1, 3)), [VOLUME]),
    (L.GlobalAveragePooling2D, [IMAGE]),
    (lambda: L.GlobalMaxPooling1D(keepdims=True), [LINE]),
    (lambda: L.GlobalMaxPooling2D(data_format="channels_first"), [FIRST]),
    (L.Add, [IMAGE, (None, 17, 1, 6)]),
    (L.Multiply, [IMAGE, (None, 1, 1, 6)]),
    (lambda: L.Concatenate(axis=1), [IMAGE, (None, 3, 14, 6)]),
    (L.Concatenate, [OPEN_IMAGE, (None, None, 14, 5)]),
    (lambda: L.Dot(axes=(2, 1)), [(None, 4, 7), (None, 7, 3)]),
    (lambda: L.LSTM(5), [LINE]),
    (lambda: L.GRU(5, return_sequences=True, return_state=True), [LINE]),
    (lambda: L.LSTM(5, return_state=True), [LINE]),
    (lambda: L.ConvLSTM2D(4, (3, 2), strides=(2, 1), padding="same"), [VIDEO]),
    (lambda: L.ConvLSTM2D(4, (3, 2), return_sequences=True), [VIDEO]),
    (L.Attention, [LINE, (None, 8, 6)]),
    (lambda: L.Resizing(5, 8), [IMAGE]),
    (lambda: L.CenterCrop(5, 8), [IMAGE]),
    (lambda: L.MaxPooling2D((3, 2)), [IMAGE]),
    (lambda: L.AveragePooling2D((3, 2), strides=(2, 4), padding="same"), [OPEN_IMAGE]),
    (lambda: L.MaxPooling3D((2, 3, 1), strides=(1, 2, 3)), [VOLUME]),
]


@pytest.mark.parametrize(("make", "inputs"), CASES)
def test_the_rule_says_what_keras_says(make: Any, inputs: list[Dims]) -> None:
    assert inferred(make(), inputs) == keras_says(make(), inputs)


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(["Conv", "Separable", "Depthwise", "Transpose", "MaxPooling"]),
    rank=st.integers(1, 3),
    data=st.data(),
)
def test_windows_of_every_kind(kind: str, rank: int, data: st.DataObject) -> None:
    rank = min(rank, 2) if kind in ("Separable", "Depthwise") else rank
    sizes = data.draw(st.tuples(*(st.integers(6, 13) for _ in range(rank))))
    kernel = data.draw(st.tuples(*(st.integers(1, 3) for _ in range(rank))))
    stride = data.draw(st.integers(1, 4))
    dilation = data.draw(st.integers(1, 2)) if stride == 1 and kind != "MaxPooling" else 1
    padding = data.draw(st.sampled_from(["same", "valid"]))
    settings_ = {"strides": stride, "padding": padding}
    if kind == "MaxPooling":
        layer = getattr(L, f"MaxPooling{rank}D")(kernel, **settings_)
    elif kind == "Depthwise":
        layer = getattr(L, f"DepthwiseConv{rank}D")(
            kernel, depth_multiplier=2, dilation_rate=dilation, **settings_
        )
    else:
        name = {"Conv": "Conv{}D", "Separable": "SeparableConv{}D", "Transpose": "Conv{}DTranspose"}
        maker = getattr(L, name[kind].format(rank))
        layer = maker(5, kernel, dilation_rate=dilation, **settings_)
    dims: Dims = (None, *sizes, 4)
    assert inferred(layer, [dims]) == [tuple(layer.compute_output_shape(dims))]


@pytest.mark.parametrize(
    ("name", "config", "cause"),
    [
        ("MyLayer", {}, "MyLayer has no shape rule"),
        ("Conv2D", {"filters": 3}, "not what Keras writes"),
        ("Conv2D", {"filters": 3, "kernel_size": [3, 3, 3]}, "not 2 sizes"),
        ("Conv2D", {"filters": 3, "kernel_size": 3, "padding": "full"}, "none of Keras's"),
        ("Reshape", {"target_shape": "x"}, "not what Keras writes"),
        ("ZeroPadding2D", {"padding": [1, 2, 3]}, "not amounts for 2 axes"),
    ],
)
def test_what_a_rule_cannot_tell_it_says(name: str, config: dict[str, Any], cause: str) -> None:
    with pytest.raises(ShapeUnknown, match=cause):
        infer_shapes(LayerCall(name, config, (to_shape(IMAGE),)))
