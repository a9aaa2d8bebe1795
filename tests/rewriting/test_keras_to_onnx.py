"""Keras to ONNX: every layer that pads, against what Keras itself computes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_translation import (  # noqa: E402
    Case,
    assert_explicit,
    assert_near,
    feeds,
    predicted,
    ran,
    translated,
    varied,
)

from padaudit.formats.keras.translation.export import TranslationError, export  # noqa: E402
from padaudit.formats.keras.translation.marks import Layout  # noqa: E402
from padaudit.rewriting.options import Options  # noqa: E402
from padaudit.rewriting.translated import settle  # noqa: E402

L = keras.layers
SAME = {"padding": "same", "name": "site"}
FIRST = {"padding": "same", "data_format": "channels_first"}
OPEN1, OPEN2, OPEN3 = (None, 4), (None, None, 4), (None, None, None, 4)
SIZES1 = [(2, 9, 4), (1, 4, 4), (1, 1, 4)]
SIZES2 = [(2, 9, 8, 4), (1, 12, 7, 4), (1, 5, 13, 4), (1, 1, 2, 4)]
SIZES3 = [(2, 3, 4, 5, 4), (1, 4, 1, 2, 4)]

LAYERS: dict[str, tuple[tuple[int | None, ...], Callable[[], Any], list[tuple[int, ...]]]] = {
    "grouped": (OPEN2, lambda: L.Conv2D(6, (3, 2), (2, 3), groups=2, **SAME), SIZES2),
    "grouped 3-D": (OPEN3, lambda: L.Conv3D(6, (2, 3, 4), (3, 2, 1), groups=2, **SAME), SIZES3),
    "dilated": (OPEN2, lambda: L.Conv2D(5, (3, 4), dilation_rate=(2, 3), **SAME), SIZES2),
    "kernel < stride": (OPEN2, lambda: L.Conv2D(5, (1, 2), (4, 5), **SAME), SIZES2),
    "1-D": (OPEN1, lambda: L.Conv1D(5, 4, 3, **SAME), SIZES1),
    "causal": (
        OPEN1,
        lambda: L.Conv1D(5, 3, dilation_rate=2, padding="causal", activation="relu", name="site"),
        SIZES1,
    ),
    "causal, strided": (OPEN1, lambda: L.Conv1D(5, 4, 3, padding="causal", name="site"), SIZES1),
    "depthwise 1-D": (OPEN1, lambda: L.DepthwiseConv1D(3, 2, depth_multiplier=2, **SAME), SIZES1),
    "depthwise, stride and dilation": (
        OPEN2,
        lambda: L.DepthwiseConv2D((3, 2), 2, dilation_rate=3, depth_multiplier=2, **SAME),
        SIZES2,
    ),
    "separable": (OPEN2, lambda: L.SeparableConv2D(5, (2, 3), 2, **SAME), SIZES2),
    "separable, stride and dilation": (
        OPEN1,
        lambda: L.SeparableConv1D(5, 3, 2, dilation_rate=2, **SAME),
        SIZES1,
    ),
    "transposed 1-D, kernel < stride": (OPEN1, lambda: L.Conv1DTranspose(5, 2, 3, **SAME), SIZES1),
    "transposed": (OPEN2, lambda: L.Conv2DTranspose(5, (4, 3), (2, 3), **SAME), SIZES2),
    "transposed, kernel < stride": (OPEN2, lambda: L.Conv2DTranspose(5, 2, (3, 4), **SAME), SIZES2),
    "transposed 3-D": (OPEN3, lambda: L.Conv3DTranspose(5, (2, 3, 4), (3, 2, 1), **SAME), SIZES3),
    "transposed, output_padding 0": (
        OPEN2,
        lambda: L.Conv2DTranspose(5, 3, 2, output_padding=0, **SAME),
        SIZES2,
    ),
    "transposed, output_padding 1": (
        OPEN2,
        lambda: L.Conv2DTranspose(5, (3, 4), (2, 3), output_padding=(1, 2), **SAME),
        SIZES2,
    ),
    "transposed, valid, kernel < stride": (OPEN2, lambda: L.Conv2DTranspose(5, 2, 4), SIZES2),
    "maximum": (OPEN2, lambda: L.MaxPooling2D((3, 4), (2, 3), **SAME), SIZES2),
    "maximum, kernel < stride": (OPEN2, lambda: L.MaxPooling2D((2, 1), (3, 4), **SAME), SIZES2),
    "maximum 1-D": (OPEN1, lambda: L.MaxPooling1D(4, 3, **SAME), SIZES1),
    "mean": (OPEN2, lambda: L.AveragePooling2D((3, 4), (2, 3), **SAME), SIZES2),
    "mean, kernel < stride": (OPEN2, lambda: L.AveragePooling2D((2, 3), (3, 4), **SAME), SIZES2),
    "mean 2 at stride 2": (OPEN2, lambda: L.AveragePooling2D(2, **SAME), SIZES2),
    "mean, fixed size": ((9, 8, 4), lambda: L.AveragePooling2D((2, 3), (3, 2), **SAME), SIZES2[:1]),
    "mean 3-D": (OPEN3, lambda: L.AveragePooling3D((2, 3, 4), (1, 2, 3), **SAME), SIZES3),
    "ConvLSTM": (
        (None, 9, 8, 2),
        lambda: L.ConvLSTM2D(3, (3, 2), (2, 1), return_sequences=True, **SAME),
        [(2, 3, 9, 8, 2)],
    ),
    "ConvLSTM both ways": (
        (3, 7, 2),
        lambda: L.Bidirectional(L.ConvLSTM1D(3, 4, return_sequences=True, **SAME)),
        [(2, 3, 7, 2)],
    ),
    "in time": (
        (None, None, None, 4),
        lambda: L.TimeDistributed(L.Conv2D(5, 3, 2, **SAME)),
        [(2, 3, 9, 8, 4), (1, 2, 4, 5, 4)],
    ),
    "channels first": (
        (4, None, None),
        lambda: L.Conv2D(6, 3, 2, groups=2, **FIRST),
        [(2, 4, 9, 8)],
    ),
    "transposed, channels first": (
        (4, None),
        lambda: L.Conv1DTranspose(3, 2, 3, **FIRST),
        [(2, 4, 9)],
    ),
    "mean, channels first": (
        (4, None, None),
        lambda: L.AveragePooling2D(3, 2, **FIRST),
        [(2, 4, 9, 8)],
    ),
    "float64": (OPEN2, lambda: L.Conv2D(6, 3, 2, dtype="float64", **SAME), SIZES2),
}


def stack(shape: tuple[int | None, ...], *layers: Any, dtype: str | None = None) -> Any:
    """Return a functional model of layers in a row."""
    given = keras.Input(shape, name="image", dtype=dtype)
    x = given
    for layer in layers:
        x = layer(x)
    return varied(keras.Model(given, x))


def check(model: Any, shapes: list[Any], folder: Path, **how: Any) -> Case:
    """Translate a model and compare it with Keras at every size."""
    case = translated(model, folder, **how)
    assert_explicit(case)
    for shape in shapes:
        given = feeds(case.model, shape if isinstance(shape, list) else [shape])
        assert_near(predicted(case.model, given), ran(case.path, given))
    return case


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_translated_exactly(name: str, tmp_path: Path) -> None:
    shape, layer, sizes = LAYERS[name]
    case = check(stack(shape, layer()), list(sizes), tmp_path)
    ids = {edit.site.id for edit in case.settled.report.edits}
    nodes = {node.name for node in case.proto.graph.node}
    assert not case.settled.report.kept
    assert "valid" in name or "ConvLSTM" in name or ids <= nodes


def test_a_dilated_transposed_convolution_that_tensorflow_cannot_run(tmp_path: Path) -> None:
    layer = L.Conv2DTranspose(5, (2, 3), dilation_rate=(2, 3), **SAME)
    case = translated(stack(OPEN2, layer), tmp_path)
    assert_explicit(case)
    assert ran(case.path, feeds(case.model, [(1, 4, 5, 4)]))[0].shape == (1, 4, 5, 5)


def test_half_precision(tmp_path: Path) -> None:
    layers = [
        L.Conv2D(6, 3, 2, dtype="mixed_float16", **SAME),
        L.AveragePooling2D(2, padding="same"),
    ]
    case = translated(stack((9, 8, 4), *layers), tmp_path)
    assert_explicit(case)
    given = feeds(case.model, [(2, 9, 8, 4)])
    assert_near(predicted(case.model, given), ran(case.path, given), 8 * 2.0**-11)


def nested() -> Any:
    """Return a model that calls an inner model twice, and one layer at two sizes."""
    block = stack(OPEN2, L.Conv2D(4, (3, 2), 2, padding="same", name="c"), L.BatchNormalization())
    block.name = "block"
    shared = L.Conv2D(4, (3, 4), (2, 3), padding="same", name="shared")
    image = keras.Input(OPEN2, name="image")
    large = block(image)
    small = block(large)
    return varied(keras.Model(image, [shared(small), shared(large)]))


def test_nested_models_and_shared_layers_go_by_their_names(tmp_path: Path) -> None:
    case = check(nested(), [SIZES2[0], SIZES2[2]], tmp_path)
    nodes = {node.name for node in case.proto.graph.node}
    wanted = {"block/c", "block#2/c", "shared", "shared#2"}
    assert {edit.site.id for edit in case.settled.report.edits} == wanted
    assert wanted <= nodes


def test_a_shared_layer_keeps_its_weights_before_unlike_normalisations(tmp_path: Path) -> None:
    image, other = keras.Input((9, 8, 4), name="a"), keras.Input((6, 7, 4), name="b")
    shared = L.Conv2D(5, 3, padding="same", name="shared")
    normal = [L.BatchNormalization(), L.BatchNormalization()]
    model = keras.Model([image, other], [normal[0](shared(image)), normal[1](shared(other))])
    for factor, layer in enumerate(normal):
        layer.gamma.assign(np.full(5, 2.0 + factor))
    check(model, [[(1, 9, 8, 4), (2, 6, 7, 4)]], tmp_path)


def test_biases_and_normalisations_go_into_convolutions(tmp_path: Path) -> None:
    layers = [
        L.Conv2D(5, 3, padding="same", activation="relu"),
        L.Conv2D(6, 2, padding="same", use_bias=False),
        L.BatchNormalization(),
        L.Conv2DTranspose(3, 2, 2, padding="same"),
    ]
    case = check(stack((9, 8, 4), *layers), [(2, 9, 8, 4)], tmp_path, options=Options("attrs"))
    kinds = [node.op_type for node in case.proto.graph.node]
    assert kinds == ["Transpose", "Conv", "Relu", "Conv", "ConvTranspose", "Transpose"]


def test_names_and_order_of_inputs_and_outputs(tmp_path: Path) -> None:
    second, first = keras.Input((9, 8, 4), name="b"), keras.Input((5, 6, 4), name="a")
    conv = L.Conv2D(3, 2, padding="same", name="last")
    pool = L.MaxPooling2D(padding="same", name="early")
    case = check(
        varied(keras.Model([second, first], [conv(first), pool(second)])),
        [[(1, 9, 8, 4), (2, 5, 6, 4)]],
        tmp_path,
    )
    graph = case.proto.graph
    assert [value.name for value in graph.input] == ["b", "a"]
    assert [value.name for value in graph.output] == ["last", "early"]


def test_names_that_tensorflow_refuses_in_graphs(tmp_path: Path) -> None:
    layer = L.Conv2D(3, (3, 2), 2, padding="same", name="my conv:1")
    case = check(stack((8, 9, 4), layer), [(2, 8, 9, 4)], tmp_path)
    assert "my conv:1" in {node.name for node in case.proto.graph.node}


@pytest.mark.parametrize("opset", [11, 18])
def test_opsets(opset: int, tmp_path: Path) -> None:
    layers = [L.Conv2D(5, 3, 2, padding="same"), L.AveragePooling2D(3, 2, padding="same")]
    case = check(stack(OPEN2, *layers), list(SIZES2[:2]), tmp_path, opset=opset)
    assert {item.version for item in case.proto.opset_import if not item.domain} == {opset}


def test_fixed_sizes_make_fixed_amounts(tmp_path: Path) -> None:
    model = stack(OPEN2, L.Conv2D(5, (3, 2), 2, name="c", padding="same"))
    case = translated(model, tmp_path, shapes=[[None, 9, 8, 4]])
    (edit,) = case.settled.report.edits
    assert edit.strategy == "onnx_pad"
    given = feeds(case.model, [(2, 9, 8, 4)])
    assert_near(predicted(case.model, given), ran(case.path, given))


def test_layout_moves_the_channels_of_images(tmp_path: Path) -> None:
    model = stack(OPEN2, L.Conv2D(5, (3, 2), 2, padding="same"))
    case = translated(model, tmp_path, layout=Layout("first", (4,)))
    assert_explicit(case)
    (given,) = feeds(case.model, [(2, 9, 8, 4)])
    (expected,) = predicted(case.model, [given])
    (got,) = ran(case.path, [given.transpose(0, 3, 1, 2)])
    assert_near([expected], [got.transpose(0, 2, 3, 1)])
    assert not [node for node in case.proto.graph.node if node.op_type == "Transpose"]


def test_style_attrs_needs_no_pad_for_fixed_sizes(tmp_path: Path) -> None:
    layers = [L.Conv2D(5, (3, 2), 2, padding="same"), L.MaxPooling2D(3, 2, padding="same")]
    case = check(stack((9, 8, 4), *layers), [(1, 9, 8, 4)], tmp_path, options=Options("attrs"))
    assert "Pad" not in {node.op_type for node in case.proto.graph.node}


def test_families_are_those_of_the_layers(tmp_path: Path) -> None:
    layers = [L.ConvLSTM2D(3, 3, padding="same", name="cell"), L.Conv2D(2, 2, padding="same")]
    options = Options(families=frozenset({"conv_lstm"}))
    case = translated(stack((2, 6, 7, 4), *layers), tmp_path, options)
    assert [edit.site.id for edit in case.settled.report.edits] == ["cell"]
    (kept,) = case.settled.report.kept
    assert "--families" in kept.reason


@pytest.mark.parametrize(
    "changed",
    [{"kernel_shape": (4, 3)}, {"strides": (1, 2)}, {"dilations": (1, 2)}],
    ids=str,
)
def test_a_translation_that_contradicts_the_layers_is_noticed(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    case = translated(stack((9, 8, 4), L.Conv2D(5, (3, 2), 2, **SAME)), tmp_path)
    (site,) = case.translated.sites
    assert site.window is not None
    wrong = replace(site, window=replace(site.window, **changed))
    mutant = replace(case.translated, sites=(wrong,))
    assert settle(case.original, mutant, case.marks, Options()).contradiction


def test_activations_that_tf2onnx_does_not_know(tmp_path: Path) -> None:
    layers = [L.Conv2D(4, 3, padding="same", activation=name) for name in ("gelu", "celu")]
    check(stack((9, 8, 4), *layers), [(1, 9, 8, 4)], tmp_path)


def test_what_has_no_translation_is_an_error_that_names_it(tmp_path: Path) -> None:
    model = stack((6, 4), keras.layers.Lambda(lambda x: keras.ops.fft((x, x))[0]))
    with pytest.raises(TranslationError, match="no ONNX for TensorFlow"):
        export(model, 17, None, Layout())
