"""`rewrite` on real architectures, proven by the tool and by Keras itself.

The large ones: ``pytest -m slow tests/e2e/test_rewrite_models.py``.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import padaudit
from padaudit.errors import InputError
from padaudit.ir.site import Family
from padaudit.verification.evidence import Status

keras = pytest.importorskip("keras", reason="keras builds and judges these models")
pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
onnx = pytest.importorskip("onnx")

LARGE = ("EfficientNetB0", "Xception", "NASNetMobile")


def one_dimensional() -> Any:
    """Return a WaveNet-like stack: causal, dilated, strided, even kernels."""
    layers = keras.layers
    signal = keras.Input((50, 3), name="signal")
    x = signal
    for dilation in (1, 2, 4):
        gate = layers.Conv1D(6, 2, dilation_rate=dilation, padding="causal")(x)
        x = layers.Concatenate()([x, layers.Activation("tanh")(gate)])
    x = layers.SeparableConv1D(8, 4, strides=3, padding="same", name="separable")(x)
    x = layers.DepthwiseConv1D(3, strides=2, padding="same", name="depthwise")(x)
    return keras.Model(signal, layers.Conv1D(4, 4, strides=2, padding="same")(x))


def three_dimensional() -> Any:
    """Return a small network over volumes of unequal sides."""
    layers = keras.layers
    volume = keras.Input((9, 12, 7, 2), name="volume")
    x = layers.Conv3D(4, (3, 2, 4), strides=(2, 3, 1), padding="same", activation="relu")(volume)
    y = layers.Conv3D(4, (2, 3, 3), dilation_rate=(1, 2, 1), padding="same")(x)
    return keras.Model(volume, layers.Add()([x, y]))


def sequential() -> Any:
    """Return a Sequential with an even kernel and unequal strides, in half precision."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((11, 8, 3), name="image"),
            layers.Conv2D(4, (2, 3), strides=(3, 2), padding="same", dtype="mixed_float16"),
            layers.Conv2D(5, (3, 2), padding="same", dtype="mixed_float16"),
        ]
    )


def shared() -> Any:
    """Return a model that calls one layer at two sizes: unequal amounts per call."""
    small, large = keras.Input((9, 8, 3), name="small"), keras.Input((12, 7, 3), name="large")
    conv = keras.layers.Conv2D(4, (3, 4), strides=(2, 3), padding="same", name="shared")
    return keras.Model([small, large], [conv(small), conv(large)])


def build(name: str) -> Any:
    """Return a model with distinct random weights, batch statistics included."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(5)
    makers = {
        "1-D": one_dimensional,
        "3-D": three_dimensional,
        "Sequential": sequential,
        "shared": shared,
    }
    maker = makers.get(name)
    model = maker() if maker else getattr(keras.applications, name)(weights=None)
    rng = np.random.default_rng(5)
    for variable in model.weights:
        if variable.name in ("moving_mean", "beta", "bias"):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    return model


@pytest.mark.parametrize(
    "name",
    ["1-D", "3-D", "MobileNetV2", *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)],
)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_keras_output_is_bit_identical(name: str, suffix: str, tmp_path: Path) -> None:
    keras_output(build(name), tmp_path / f"model{suffix}")


@pytest.mark.parametrize(
    ("name", "style"),
    [("1-D", "pad"), ("3-D", "attrs"), ("Sequential", "pad"), ("shared", "attrs")],
)
def test_onnx_output(name: str, style: str, tmp_path: Path) -> None:
    onnx_output(build(name), tmp_path / "model.keras", style)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", *LARGE])
def test_onnx_output_of_architectures(name: str, tmp_path: Path) -> None:
    onnx_output(build(name), tmp_path / "model.h5", "pad")


def every_architecture() -> list[str]:
    """Return the name of every model builder of keras.applications."""
    found = vars(keras.applications)
    return [name for name in sorted(found) if inspect.isfunction(found[name])]


@pytest.mark.slow
@pytest.mark.parametrize("name", every_architecture())
def test_every_architecture_becomes_onnx(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    build(name).save(path)
    result = padaudit.rewrite(path, tmp_path / "model.onnx", timeout=3000)
    assert result.written, result.verification
    assert not result.plan.kept
    (source,) = (item for item in result.verification.evidence if item.level == "source")
    assert "rtol 1e-05" in source.detail
    assert not padaudit.check(result.target).implicit


def u_net() -> Any:
    """Return a network over images of any size that two poolings divide."""
    layers = keras.layers
    image = keras.Input((None, None, 3), name="image")
    x, skips = image, []
    for place, filters in enumerate((4, 6)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"down{place}")(x)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    for place, filters in enumerate((6, 4)):
        x = layers.Concatenate()([layers.UpSampling2D(2)(x), skips.pop()])
        x = layers.Conv2D(filters, (3, 2), padding="same", name=f"up{place}")(x)
    return keras.Model(image, x)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".onnx"])
def test_a_u_net_of_open_size_is_proven_whole(suffix: str, tmp_path: Path) -> None:
    u_net().save(tmp_path / "net.keras")
    result = padaudit.rewrite(tmp_path / "net.keras", tmp_path / f"out{suffix}")
    assert result.written, result.verification
    assert "source" in {item.level for item in result.verification.evidence}
    assert not [reason for reason in result.verification.not_covered if "whole" in reason]
    assert padaudit.verify(tmp_path / "net.keras", result.target).status is Status.EQUIVALENT


def test_options_of_onnx_output(tmp_path: Path) -> None:
    layers = keras.layers
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", groups=1, name="conv")(image)
    keras.Model(image, layers.AveragePooling2D(3, 2, padding="same")(x)).save(tmp_path / "m.keras")
    result = padaudit.rewrite(
        tmp_path / "m.keras", tmp_path / "m.onnx", opset=20, layout="nchw", verify="site"
    )
    assert result.verification.status is Status.EQUIVALENT, result.verification
    assert {item.level for item in result.verification.evidence} == {"definition", "site"}
    proto = onnx.load(result.target)
    assert [item.version for item in proto.opset_import if not item.domain] == [20]
    (given,) = proto.graph.input
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim][1] == 3
    assert "Transpose" not in {node.op_type for node in proto.graph.node}


@pytest.mark.slow
def test_a_keras_2_file_is_translated_where_it_is_trusted(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras writes and loads this file")
    signal = tf_keras.Input((9, 3))
    x = tf_keras.layers.Conv1D(4, 3, strides=2, padding="same", name="conv")(signal * 2.0)
    tf_keras.Model(signal, x).save(tmp_path / "m.h5")
    with pytest.raises(InputError, match="--trust-model"):
        padaudit.rewrite(tmp_path / "m.h5", tmp_path / "m.onnx", verify="none")
    result = padaudit.rewrite(tmp_path / "m.h5", tmp_path / "m.onnx", trust_model=True)
    assert result.written, result.verification
    assert [edit.site.id for edit in result.plan.edits] == ["conv"]
    assert "source" in {item.level for item in result.verification.evidence}


def reaches(proto: Any, tensor: str, wanted: str) -> bool:
    """Tell whether a tensor becomes another one by reordering alone."""
    passed = {tensor}
    for node in proto.graph.node:
        if node.op_type in ("Transpose", "Unsqueeze", "Reshape") and node.input[0] in passed:
            passed.add(node.output[0])
    return wanted in passed


def keras_output(model: Any, path: Path) -> None:
    """Rewrite a Keras file, and compare what Keras computes before and after."""
    model.save(path)
    result = padaudit.rewrite(path)
    assert result.written, result.verification
    assert result.verification.status is Status.EQUIVALENT
    assert {item.level for item in result.verification.evidence} == {
        "definition",
        "site",
        "source",
    }
    assert result.verification.max_abs == 0.0
    after = padaudit.check(result.target)
    kept = {item.site.id for item in result.plan.kept}
    assert {site.id for site in after.implicit} == kept
    again = keras.models.load_model(result.target, compile=False)
    data = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    expected, got = model(data, training=False), again(data, training=False)
    np.testing.assert_array_equal(np.asarray(expected), np.asarray(got))


OPERATORS = {
    Family.CONV: "Conv",
    Family.MAX_POOL: "MaxPool",
    Family.AVG_POOL: "AveragePool",
}


def onnx_output(model: Any, path: Path, style: str) -> None:
    """Rewrite a Keras file to ONNX; every rewritten site must stand there by name."""
    model.save(path)
    target = path.with_suffix(".onnx")
    result = padaudit.rewrite(path, target, style=style)
    assert result.written, result.verification
    assert result.verification.max_abs == 0.0
    proto = onnx.load(target)
    nodes = {node.name: node for node in proto.graph.node}
    for edit in result.plan.edits:
        assert nodes[edit.site.id].op_type == OPERATORS[edit.site.family]
        attributes = {item.name for item in nodes[edit.site.id].attribute}
        assert "auto_pad" not in attributes
        # A mean would count the elements of a Pad: it gets `pads` in both styles.
        counts = edit.site.family is Family.AVG_POOL
        if edit.adds_padding and style == "pad" and not counts:
            pad = nodes[result.created[edit.site.id]]
            assert pad.op_type == "Pad"
            assert reaches(proto, pad.output[0], nodes[edit.site.id].input[0])
    assert not result.plan.kept
