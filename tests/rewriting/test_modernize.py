"""Files of Keras 2, written by tf-keras, mended for Keras 3: it predicts the same from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import padaudit
from padaudit import api
from padaudit.errors import InputError, UsageError
from padaudit.verification.evidence import Status


def mixed(k: Any) -> Any:
    """Return a model of tf-keras that calls an inner model twice, with weights of both signs."""
    layers = k.layers
    inner = k.Sequential(
        [
            layers.Conv2D(5, (3, 2), strides=2, padding="same", name="c"),
            layers.SeparableConv2D(4, 3, padding="same", name="s"),
        ],
        name="enc",
    )
    x, y = k.Input((15, 12, 3)), k.Input((15, 12, 3))
    z = layers.Concatenate()([inner(x), inner(y)])
    z = layers.DepthwiseConv2D((2, 3), padding="same", name="block/depthwise")(z)
    z = layers.Conv2DTranspose(3, (3, 4), strides=(2, 1), padding="same", name="block/up")(z)
    z = layers.TimeDistributed(layers.LSTM(4, name="lstm"), name="td")(z)
    z = layers.Bidirectional(layers.GRU(3, name="gru"), name="bi")(z)
    model = k.Model([x, y], layers.Dense(2, name="head")(z))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape, scale=0.4) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that Keras 3 refuses for five reasons."""
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras writes the files of Keras 2")
    path = tmp_path_factory.mktemp("legacy") / "m.h5"
    mixed(tf_keras).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            for key in {"layer", "backward_layer"} & set(layer["config"]):
                # As TensorFlow before 2.13 wrote them.
                inner = layer["config"][key]
                layer["config"][key] = {name: inner[name] for name in ("class_name", "config")}
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_keras_3_loads_what_was_mended(legacy: Path) -> None:
    found = {finding.rule for finding in padaudit.check(legacy).findings}
    assert {rule for rule in found if rule.startswith("PAD4")} == {
        "PAD401",
        "PAD402",
        "PAD404",
        "PAD405",
    }
    result = api.rewrite(legacy, explicit=False, modernize=True)
    assert result.target.name == "m.modern.h5"
    assert result.verification.status is Status.EQUIVALENT
    (source,) = (item for item in result.verification.evidence if item.level == "source")
    assert source.runtime.startswith("Keras 3")
    assert "the original in tf-keras" in source.detail
    assert not [f for f in padaudit.check(result.target).findings if f.rule.startswith("PAD4")]


def test_what_was_mended_is_translated_to_onnx(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras writes the files of Keras 2")
    for package in ("keras", "tf2onnx"):
        pytest.importorskip(package, reason=f"{package} is needed to translate")
    import onnxruntime

    layers = [
        tf_keras.layers.SeparableConv2D(3, (3, 2), 2, padding="same", input_shape=(9, 8, 2)),
        tf_keras.layers.Conv2DTranspose(2, 2, 3, padding="same"),
    ]
    model = tf_keras.Sequential(layers)
    model.save(tmp_path / "m.h5")
    result = api.rewrite(tmp_path / "m.h5", tmp_path / "m.onnx", modernize=True)
    assert result.modernized and result.verification.status is Status.EQUIVALENT
    (source,) = (item for item in result.verification.evidence if item.level == "source")
    assert "the original in tf-keras" in source.detail
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype("float32")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (got,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(got, model(x), rtol=1e-5, atol=1e-6)


def test_weights_survive_bit_by_bit_under_the_new_names(legacy: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    api.rewrite(legacy, target, modernize=True, verify="none")
    with h5py.File(legacy) as old, h5py.File(target) as new:
        before, after = (arrays(file["model_weights"]) for file in (old, new))
        assert {key.replace("block/", "block_") for key in before} == set(after)
        for key, value in before.items():
            np.testing.assert_array_equal(value, after[key.replace("block/", "block_")])
        names = texts(new["model_weights"].attrs["layer_names"])
        assert {"block_depthwise", "block_up"} <= set(names)
        for name in names:
            for weight in texts(new["model_weights"][name].attrs["weight_names"]):
                assert weight in new["model_weights"][name]


def texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def arrays(group: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    group.visititems(visit)
    return found


def record(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": class_name.lower(), **config}}


def legacy_json(folder: Path, *layers: dict[str, Any], version: str = "2.4.0") -> Path:
    config = [record("InputLayer", batch_input_shape=[None, 9, 8, 4]), *layers]
    content = {"class_name": "Sequential", "config": config, "keras_version": version}
    path = folder / "m.json"
    path.write_text(json.dumps(content))
    return path


def test_what_can_not_be_repaired_is_said(tmp_path: Path) -> None:
    path = legacy_json(tmp_path, record("TFOpLambda", function="math.add"), record("ReLU"))
    result = api.rewrite(path, explicit=False, modernize=True, verify="none")
    assert {item.rule: item.fix is not None for item in result.modernized or ()} == {
        "PAD403": True,
        "PAD406": False,
    }


def test_a_causal_separable_convolution_is_repaired_by_its_explicit_form(tmp_path: Path) -> None:
    layer = record("SeparableConv1D", filters=3, kernel_size=[4], padding="causal")
    config = [record("InputLayer", batch_input_shape=[None, 9, 2]), layer]
    content = {"class_name": "Sequential", "config": config, "keras_version": "2.4.0"}
    path = tmp_path / "m.json"
    path.write_text(json.dumps(content))
    kept = api.rewrite(path, explicit=False, modernize=True, verify="none")
    both = api.rewrite(path, modernize=True, verify="none")
    fixes = [
        {item.rule: item.fix and item.fix.action for item in result.modernized or ()}
        for result in (kept, both)
    ]
    assert [fix["PAD410"] for fix in fixes] == [None, "explicit_pad"]
    assert not [f for f in padaudit.check(both.target).findings if f.rule == "PAD410"]


def test_archives_of_tf_keras_are_mended_and_judged_by_it(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras writes the files of Keras 2")
    layers = tf_keras.layers
    frame = tf_keras.Input((9, 8, 2))
    conv = layers.Conv2D(3, (3, 2), 2, padding="same", name="conv")
    inner = tf_keras.Model(frame, conv(frame), name="inner")
    video = tf_keras.Input((4, 9, 8, 2))
    outputs = layers.TimeDistributed(inner, name="each")(video)
    model = tf_keras.Model(video, outputs)
    source = tmp_path / "m.keras"
    model.save(source)
    assert "PAD402" in {finding.rule for finding in padaudit.check(source).findings}
    result = api.rewrite(source, modernize=True)
    assert (result.verification.status, result.verification.reason) == (Status.EQUIVALENT, "")
    (level,) = (item for item in result.verification.evidence if item.level == "source")
    assert "the original in tf-keras" in level.detail
    assert [edit.site.id for edit in result.plan.edits] == ["each/inner/conv"]


def test_a_hard_sigmoid_is_told_of_and_makes_a_difference(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras writes the files of Keras 2")
    pytest.importorskip("keras", reason="Keras 3 loads what was mended")
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            tf_keras.Input((9, 8, 2)),
            layers.Conv2D(3, (3, 2), 2, padding="same", activation="hard_sigmoid"),
        ]
    )
    model.save(tmp_path / "m.h5")
    result = api.rewrite(tmp_path / "m.h5", modernize=True)
    assert "PAD409" in {item.rule for item in result.modernized or ()}
    assert result.verification.status is Status.DIFFERENT


def test_padding_stays_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = legacy_json(tmp_path, record("DepthwiseConv2D", kernel_size=[3, 5], padding="same"))
    result = api.rewrite(path, explicit=False, modernize=True, verify="none")
    assert [item.reason for item in result.plan.kept] == ["it was not asked for (--explicit)"]
    assert [site.padding.value for site in padaudit.check(result.target).sites] == ["same_upper"]
    both = api.rewrite(path, modernize=True, verify="none")
    assert [site.padding.value for site in padaudit.check(both.target).sites] == ["valid"]
    assert json.loads(both.target.read_text())["config"]["name"] == "sequential"


def test_a_file_of_keras_3_is_left_alone(tmp_path: Path) -> None:
    layer = record("DepthwiseConv2D", kernel_size=[3, 5], groups=1)
    path = legacy_json(tmp_path, layer, version="3.10.0")
    assert not [f for f in padaudit.check(path).findings if f.rule.startswith("PAD4")]
    result = api.rewrite(path, explicit=False, modernize=True, verify="none")
    assert result.modernized == ()
    assert result.target.read_bytes() == path.read_bytes()


def test_onnx_has_nothing_to_modernize() -> None:
    path = Path(__file__).parents[2] / "fixtures" / "auto-pad.onnx"
    with pytest.raises(UsageError, match="--modernize is for Keras models"):
        api.rewrite(path, modernize=True, verify="none")


def test_the_error_names_the_way_that_is_left(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
    fixtures, target = Path(__file__).parents[2] / "fixtures", tmp_path / "m.onnx"
    with pytest.raises(InputError, match=r"repair it with --modernize, or let tf-keras"):
        api.rewrite(fixtures / "digits-keras2-sequential.h5", target)
    with pytest.raises(InputError, match=r"; let tf-keras load it with --trust-model"):
        api.rewrite(fixtures / "digits-keras1.h5", target, modernize=True)
    assert not target.exists()


def test_padding_in_a_wrapper_of_a_mended_file_is_for_keras_3(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras writes the files of Keras 2")
    keras = pytest.importorskip("keras", reason="Keras 3 loads the result")
    layers = [
        tf_keras.layers.TimeDistributed(
            tf_keras.layers.DepthwiseConv2D((3, 2), 2, padding="same"), input_shape=(3, 9, 8, 2)
        ),
    ]
    model = tf_keras.Sequential(layers)
    model.save(tmp_path / "m.h5")
    result = api.rewrite(tmp_path / "m.h5", modernize=True, verify="none")
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 8, 2)).astype("float32")
    loaded = keras.models.load_model(result.target, compile=False)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert not [site for site in padaudit.check(result.target).sites if site.implicit]
