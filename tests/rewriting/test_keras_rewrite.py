"""Rewriting Keras files: what changes in the config, and that all else stays as it is."""

from __future__ import annotations

import copy
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import padaudit
from padaudit import api
from padaudit.rewriting.run import RewriteResult

FIXTURES = Path(__file__).parents[2] / "fixtures"
Config = dict[str, Any]
Layers = list[Config]


# --- helpers ------------------------------------------------------------------------------


def config_of(path: Path) -> Config:
    """Return the model config of a file of either format."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read("config.json")))
    with h5py.File(path) as file:
        return dict(json.loads(file.attrs["model_config"]))


def layers_of(config: Config) -> Layers:
    inner = config["config"]
    return inner if isinstance(inner, list) else list(inner["layers"])


def name_of(record: Mapping[str, Any]) -> str:
    return str(record.get("name") or record["config"]["name"])


def layer(config: Config, *names: str) -> Config:
    """Return the record of a layer by its path of names."""
    record = config
    for name in names:
        record = next(item for item in layers_of(record) if name_of(item) == name)
    return record


def write_h5(path: Path, config: Config, version: str = "3.10.0") -> Path:
    """Write a model without weights: enough for its definition."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array(
            [name_of(item).encode() for item in layers_of(config)], dtype="S32"
        )
        for item in layers_of(config):
            inner = group.create_group(name_of(item))
            inner.attrs["weight_names"] = np.array([], dtype="S1")
    return path


def rewrite(
    source: Path, folder: Path, verify: str = "none", **options: Any
) -> tuple[Config, RewriteResult]:
    """Rewrite a file; return the new config."""
    target = folder / f"rewritten{source.suffix}"
    result = api.rewrite(source, target, verify=verify, **options)
    assert result.written
    return config_of(target), result


def created_paddings(config: Config) -> Iterator[tuple[tuple[str, ...], Config]]:
    """Yield every ZeroPadding layer, inner models included, with the path of its names."""
    for item in layers_of(config):
        if item["class_name"].startswith("ZeroPadding"):
            yield (name_of(item),), item
        elif "layers" in item["config"]:
            for path, inner in created_paddings(item):
                yield (name_of(item), *path), inner


def undone(config: Config, original: Config) -> Config:
    """Take the new layers out again and put the old declarations back in."""
    config = copy.deepcopy(config)
    _undo(config, original)
    return config


def _undo(config: Config, original: Config) -> None:
    old = {name_of(item): item for item in layers_of(original)}
    kept = []
    for item in layers_of(config):
        if name_of(item) not in old:
            assert item["class_name"].startswith("ZeroPadding")
            continue
        before = old[name_of(item)]
        for key in ("padding", "border_mode"):
            if item["config"].get(key) == "valid":
                item["config"][key] = before["config"][key]
        for key in ("batch_input_shape", "input_shape", "batch_shape"):
            if key in before["config"] and key not in item["config"]:
                item["config"][key] = before["config"][key]
        for key in ("inbound_nodes", "build_config"):
            if key in item:
                assert_same_but_sizes(item[key], before[key])
                item[key] = before[key]
        if "layers" in item["config"]:
            _undo(item, before)
        kept.append(item)
    if isinstance(config["config"], list):
        config["config"] = kept
    else:
        config["config"]["layers"] = kept


def assert_same_but_sizes(now: Any, before: Any) -> None:
    """Calls keep their form: only names of sources and sizes of tensors may differ."""
    assert type(now) is type(before)
    if isinstance(now, dict):
        assert list(now) == list(before)
        for key, value in now.items():
            assert_same_but_sizes(value, before[key])
    elif isinstance(now, list):
        assert len(now) == len(before)
        for a, b in zip(now, before, strict=True):
            assert_same_but_sizes(a, b)
    elif not isinstance(now, int | str):
        assert now == before


def h5_contents(path: Path) -> dict[str, Any]:
    """Return every dataset and every attribute of a file except the model config."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        for key, value in file.attrs.items():
            if key != "model_config":
                found[f"/@{key}"] = as_list(value)

        def visit(name: str, item: Any) -> None:
            found[name] = type(item).__name__
            if isinstance(item, h5py.Dataset):
                found[name] = (str(item.dtype), item.shape, np.asarray(item[()]).tobytes())
            for key, value in item.attrs.items():
                found[f"{name}@{key}"] = as_list(value)

        file.visititems(visit)
    return found


def as_list(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


ORDERED = ("layer_names", "weight_names")
"""Lists that may be reordered with the layers; see `padaudit.formats.keras.order`."""

DIALECTS = {
    "digits-keras1.h5": {
        ("convolution2d_1_pad",): [1, 1, 1, 2],
        ("maxpooling2d_1_pad",): [0, 1, 0, 1],
    },
    "digits-keras1-th.h5": {("stem_pad",): [1, 1, 1, 2], ("pool_pad",): [0, 1, 0, 1]},
    "digits-keras2-sequential.h5": {
        ("conv2d_pad",): [[1, 1], [0, 1]],
        ("depthwise_conv2d_pad",): [[1, 1], [1, 1]],
    },
    "digits-keras2.h5": {
        ("stem_pad",): [[1, 1], [1, 2]],
        ("inner", "inner_sep_pad"): [[1, 2], [0, 1]],
    },
    "digits.h5": {
        ("stem_pad",): [[1, 1], [1, 2]],
        ("deep_depthwise_pad",): [[1, 1], [0, 1]],
        ("wide_pad",): [[0, 1], [1, 1]],
        ("dilated_pad",): [[2, 2], [0, 1]],
        ("head_pad",): [[0, 1], [0, 1]],
    },
}
DIALECTS["digits.keras"] = DIALECTS["digits.h5"]


# --- fixtures: every dialect --------------------------------------------------------------


@pytest.mark.parametrize("name", DIALECTS)
def test_padding_layers_stand_before_layers_that_are_valid(name: str, tmp_path: Path) -> None:
    config, result = rewrite(FIXTURES / name, tmp_path, verify="site")
    assert result.verification.status.value == "equivalent"
    found = dict(created_paddings(config))
    assert {path: item["config"]["padding"] for path, item in found.items()} == DIALECTS[name]
    for path in found:
        padded = layer(config, *path[:-1], path[-1].removesuffix("_pad"))
        assert (padded["config"].get("padding") or padded["config"]["border_mode"]) == "valid"
    assert {edit.site.id for edit in result.plan.edits} >= {
        "/".join(path).removesuffix("_pad") for path in found
    }


@pytest.mark.parametrize("name", DIALECTS)
def test_all_else_in_the_config_is_equal(name: str, tmp_path: Path) -> None:
    config, _ = rewrite(FIXTURES / name, tmp_path)
    original = config_of(FIXTURES / name)
    assert undone(config, original) == original


@pytest.mark.parametrize("name", [name for name in DIALECTS if name.endswith(".h5")])
def test_datasets_and_attributes_of_an_h5_are_equal(name: str, tmp_path: Path) -> None:
    rewrite(FIXTURES / name, tmp_path)
    before, after = h5_contents(FIXTURES / name), h5_contents(tmp_path / "rewritten.h5")
    assert before.keys() == after.keys()
    for key, value in before.items():
        if key.endswith(ORDERED):
            assert sorted(after[key]) == sorted(value)
        else:
            assert after[key] == value, key


def test_members_of_a_keras_archive_are_equal_and_in_order(tmp_path: Path) -> None:
    source = FIXTURES / "digits.keras"
    rewrite(source, tmp_path)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / "rewritten.keras") as new:
        assert new.testzip() is None
        assert new.namelist() == old.namelist()
        for a, b in zip(old.infolist(), new.infolist(), strict=True):
            assert (a.date_time, a.compress_type) == (b.date_time, b.compress_type)
        assert new.read("metadata.json") == old.read("metadata.json")


@pytest.mark.parametrize("comment", [b"", b"kept by hand"])
def test_an_archive_whose_layer_order_stays_keeps_all_other_members_byte_for_byte(
    comment: bytes, tmp_path: Path
) -> None:
    source = tmp_path / "line.keras"
    members = {
        "metadata.json": b'{"keras_version": "3.10.0"}',
        "assets/words.txt": b"one\ntwo\n",
        "config.json": json.dumps(sequential(conv(padding="same"))).encode(),
        "model.weights.h5": bytes(range(256)) * 9,
        "notes.txt": b"by hand",
    }
    with zipfile.ZipFile(source, "w") as archive:
        archive.comment = comment
        for index, (name, data) in enumerate(members.items()):
            archive.writestr(name, data, compress_type=(0, zipfile.ZIP_DEFLATED)[index % 2])
    rewrite(source, tmp_path)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / "rewritten.keras") as new:
        assert new.namelist() == list(members)
        assert new.comment == comment
        for name, data in members.items():
            assert new.getinfo(name).compress_type == old.getinfo(name).compress_type
            if name != "config.json":
                assert new.read(name) == data


@pytest.mark.parametrize("name", DIALECTS)
def test_twice_changes_nothing_and_the_bytes_are_the_same_every_time(
    name: str, tmp_path: Path
) -> None:
    source, target = FIXTURES / name, tmp_path / f"rewritten{Path(name).suffix}"
    original = source.read_bytes()
    rewrite(source, tmp_path)
    first = target.read_bytes()
    rewrite(source, tmp_path)
    assert target.read_bytes() == first
    again = api.rewrite(target, tmp_path / f"again{target.suffix}", verify="none")
    assert not again.plan.edits
    assert (tmp_path / f"again{target.suffix}").read_bytes() == first
    assert source.read_bytes() == original


def test_pools_are_kept_with_a_reason(tmp_path: Path) -> None:
    reasons = {}
    for name in ("digits-keras2.h5", "digits-keras2-sequential.h5", "digits-keras1.h5"):
        config, result = rewrite(FIXTURES / name, tmp_path)
        for kept in result.plan.kept:
            reasons[kept.site.id] = kept.reason
            record = layer(config, *kept.site.id.split("/"))["config"]
            assert (record.get("padding") or record["border_mode"]) == "same"
    assert "divisor" in reasons["right_pool"]
    assert "negative values" in reasons["max_pooling2d"]
    assert ".keras" in reasons["max_pooling2d"]


# --- configs written by hand --------------------------------------------------------------


def conv(name: str = "conv", **config: Any) -> Config:
    settings = {
        "name": name,
        "trainable": True,
        "filters": 5,
        "kernel_size": [4, 3],
        "strides": [3, 2],
        "padding": "same",
        "data_format": "channels_last",
        "dilation_rate": [1, 1],
        "groups": 1,
        "use_bias": True,
    }
    rank = len(config.get("kernel_size", (4, 3)))
    return {
        "module": "keras.layers",
        "class_name": f"Conv{rank}D",
        "config": settings | config,
        "registered_name": None,
    }


def sequential(*layers: Config, shape: tuple[int | None, ...] = (None, 17, 14, 2)) -> Config:
    first = {"class_name": "InputLayer", "config": {"batch_shape": list(shape), "name": "image"}}
    return {"class_name": "Sequential", "config": {"name": "line", "layers": [first, *layers]}}


def tensor(source: str, call: int, shape: tuple[int | None, ...]) -> Config:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": list(shape), "dtype": "float32", "keras_history": [source, call, 0]},
    }


def shared(sizes: tuple[tuple[int, int], tuple[int, int]]) -> Config:
    """Return a functional model that calls one Conv2D on two inputs."""
    inputs = []
    for index, size in enumerate(sizes):
        settings = {"batch_shape": [None, *size, 2], "dtype": "float32", "name": f"in{index}"}
        inputs.append(
            {
                "class_name": "InputLayer",
                "config": settings,
                "name": f"in{index}",
                "inbound_nodes": [],
            }
        )
    nodes = [
        {"args": [tensor(f"in{i}", 0, (None, *size, 2))], "kwargs": {}}
        for i, size in enumerate(sizes)
    ]
    called = {**conv(), "name": "conv", "inbound_nodes": nodes}
    return {
        "class_name": "Functional",
        "config": {
            "name": "twice",
            "layers": [*inputs, called],
            "input_layers": [["in0", 0, 0], ["in1", 0, 0]],
            "output_layers": [["conv", 0, 0], ["conv", 1, 0]],
        },
    }


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("channels_last", (None, 17, 14, 2)), ("channels_first", (None, 2, 17, 14))],
)
def test_the_layout_is_taken_over(layout: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", sequential(conv(data_format=layout), shape=shape))
    config, _ = rewrite(source, tmp_path)
    padding = layer(config, "conv_pad")
    assert padding["class_name"] == "ZeroPadding2D"
    assert padding["config"]["data_format"] == layout
    assert padding["config"]["padding"] == [[1, 1], [0, 1]]
    assert [name_of(item) for item in layers_of(config)] == ["image", "conv_pad", "conv"]


@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "length", "pads"),
    [(4, 1, 3, 21, [9, 0]), (2, 3, 1, 22, [1, 0]), (5, 2, 1, None, [4, 0])],
    ids=["dilated", "stride over kernel", "open length"],
)
def test_causal_padding_goes_before(
    kernel: int, strides: int, dilation: int, length: int | None, pads: list[int], tmp_path: Path
) -> None:
    settings = {"kernel_size": [kernel], "strides": [strides], "dilation_rate": [dilation]}
    source = write_h5(
        tmp_path / "m.h5",
        sequential(conv(padding="causal", **settings), shape=(None, length, 2)),
    )
    config, result = rewrite(source, tmp_path, verify="site")
    assert layer(config, "conv")["config"]["padding"] == "valid"
    assert layer(config, "conv_pad")["class_name"] == "ZeroPadding1D"
    assert layer(config, "conv_pad")["config"]["padding"] == pads
    assert result.verification.status.value == "equivalent"


def test_a_3d_convolution_gets_three_unequal_pairs(tmp_path: Path) -> None:
    settings = {"kernel_size": [2, 3, 4], "strides": [2, 1, 3], "dilation_rate": [1, 1, 1]}
    source = write_h5(tmp_path / "m.h5", sequential(conv(**settings), shape=(None, 7, 8, 10, 2)))
    config, _ = rewrite(source, tmp_path)
    assert layer(config, "conv_pad")["config"]["padding"] == [[0, 1], [1, 1], [1, 2]]


def test_nothing_to_pad_only_says_valid(tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", sequential(conv(kernel_size=[1, 2], strides=[3, 2])))
    config, result = rewrite(source, tmp_path)
    assert [name_of(item) for item in layers_of(config)] == ["image", "conv"]
    assert layer(config, "conv")["config"]["padding"] == "valid"
    assert not result.created


def test_a_layer_that_has_the_new_name_already_is_not_touched(tmp_path: Path) -> None:
    activation = {"class_name": "ReLU", "config": {"name": "conv_pad"}}
    source = write_h5(tmp_path / "m.h5", sequential(activation, conv()))
    config, result = rewrite(source, tmp_path)
    names = [name_of(item) for item in layers_of(config)]
    assert names == ["image", "conv_pad", "conv_pad_2", "conv"]
    assert result.created == {"conv": "conv_pad_2"}
    assert layer(config, "conv_pad") == activation


def test_two_calls_of_one_layer_with_equal_sizes_get_a_padding_layer_each(tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", shared(((17, 14), (17, 14))))
    config, result = rewrite(source, tmp_path)
    paddings = dict(created_paddings(config))
    assert len(paddings) == 2
    assert {tuple(map(tuple, item["config"]["padding"])) for item in paddings.values()} == {
        ((1, 1), (0, 1))
    }
    sources = [
        node["args"][0]["config"]["keras_history"][0]
        for node in layer(config, "conv")["inbound_nodes"]
    ]
    read = [
        layer(config, name)["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
        for name in sources
    ]
    assert read == [["in0", 0, 0], ["in1", 0, 0]]
    assert len(result.plan.edits) == 2


def test_two_calls_with_unequal_sizes_get_amounts_of_their_own(tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", shared(((17, 14), (18, 13))))
    config, result = rewrite(source, tmp_path)
    assert [edit.pads for edit in result.plan.edits] == [((1, 1), (0, 1)), ((0, 1), (1, 1))]
    sources = [
        node["args"][0]["config"]["keras_history"][0]
        for node in layer(config, "conv")["inbound_nodes"]
    ]
    amounts = [layer(config, name)["config"]["padding"] for name in sources]
    assert amounts == [[[1, 1], [0, 1]], [[0, 1], [1, 1]]]


def test_a_call_of_open_size_keeps_the_other_call_too(tmp_path: Path) -> None:
    twice = shared(((17, 14), (18, 13)))
    layer(twice, "in1")["config"]["batch_shape"] = [None, None, None, 2]
    nodes = layer(twice, "conv")["inbound_nodes"]
    nodes[1]["args"][0]["config"]["shape"] = [None, None, None, 2]
    source = write_h5(tmp_path / "m.h5", twice)
    config, result = rewrite(source, tmp_path)
    assert config == config_of(source)
    assert not result.plan.edits
    assert len(result.plan.kept) == 2
    assert any("shared with" in kept.reason for kept in result.plan.kept)


def test_an_open_stride_2_layer_is_kept_until_its_size_is_fixed(tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", sequential(conv(), shape=(None, None, None, 2)))
    config, result = rewrite(source, tmp_path)
    assert config == config_of(source)
    assert "--input-shape" in result.plan.kept[0].reason
    config, _ = rewrite(source, tmp_path, input_shapes=(1, 17, 14, 2))
    assert layer(config, "conv_pad")["config"]["padding"] == [[1, 1], [0, 1]]


def test_valid_layers_are_untouched(tmp_path: Path) -> None:
    source = write_h5(tmp_path / "m.h5", sequential(conv(padding="valid")))
    config, result = rewrite(source, tmp_path)
    assert config == config_of(source)
    assert not result.plan.edits
    assert not result.plan.kept
    assert (tmp_path / "rewritten.h5").read_bytes() == source.read_bytes()


# --- Keras itself -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras() -> Any:
    """Return Keras; these tests let it load and run what was written."""
    pytest.importorskip("tensorflow", reason="Keras's own results need TensorFlow")
    return pytest.importorskip("keras", reason="keras is the judge of these tests")


def randomised(model: Any, seed: int = 3) -> Any:
    """Give every weight distinct values, so that a mix-up can't go unnoticed."""
    values = np.random.default_rng(seed)
    model.set_weights(
        [
            values.uniform(0.2, 1.0, weight.shape) * values.choice([-1, 1], weight.shape)
            if "variance" not in path
            else values.uniform(0.5, 2.0, weight.shape)
            for weight, path in zip(
                model.get_weights(), [variable.path for variable in model.weights], strict=True
            )
        ]
    )
    return model


def branched_part(keras: Any, name: str) -> Any:
    """Return a model in which padding layers change the order of Keras's layers.

    Both branches are equally deep and hold layers of one class and shape; only one of
    them pads, so that one gets longer.
    """
    layers = keras.layers
    image = keras.Input((9, 8, 2), name=f"{name}_image")
    left = layers.Conv2D(2, (1, 1), name=f"{name}_left_1")(image)
    left = layers.BatchNormalization(name=f"{name}_left_norm")(left)
    left = layers.Conv2D(2, (2, 3), padding="valid", name=f"{name}_left_2")(left)
    left = layers.Conv2D(2, (1, 1), name=f"{name}_left_3")(left)
    right = layers.Conv2D(2, (1, 1), name=f"{name}_right_1")(image)
    right = layers.BatchNormalization(name=f"{name}_right_norm")(right)
    right = layers.Conv2D(2, (2, 3), padding="same", name=f"{name}_right_2")(right)
    right = layers.Conv2D(2, (2, 3), padding="same", name=f"{name}_right_3")(right)
    right = layers.Cropping2D(((0, 1), (0, 2)), name=f"{name}_crop")(right)
    return keras.Model(image, layers.Add(name=f"{name}_join")([left, right]), name=name)


def branched(keras: Any) -> Any:
    return branched_part(keras, "net")


def nested(keras: Any) -> Any:
    """Return a model that holds a branched one, with layers of the same shapes around it."""
    image = keras.Input((9, 8, 2), name="image")
    x = keras.layers.Conv2D(2, (4, 3), strides=1, padding="same", name="first")(image)
    side = keras.layers.Conv2D(2, (2, 3), name="side")(image)
    x = branched_part(keras, "inner")(x)
    x = keras.layers.Add(name="outer_join")([side, x])
    return keras.Model(image, keras.layers.Conv2D(2, (1, 1), name="last")(x), name="outer")


def strided(keras: Any) -> Any:
    """Return odd sizes, even kernels, strides over kernels, groups and dilations in a row."""
    layers = keras.layers
    image = keras.Input((17, 14, 4), name="image")
    x = layers.Conv2D(6, (4, 3), strides=(3, 2), padding="same", groups=2, name="grouped")(image)
    x = layers.DepthwiseConv2D((2, 3), padding="same", depth_multiplier=2, name="deep")(x)
    x = layers.SeparableConv2D(5, (3, 2), dilation_rate=2, padding="same", name="apart")(x)
    x = layers.Conv2D(3, (1, 2), strides=(2, 3), padding="same", name="skip")(x)
    return keras.Model(image, x, name="strided")


def causal(keras: Any) -> Any:
    layers = keras.layers
    line = keras.Input((21, 3), name="line")
    x = layers.Conv1D(4, 4, dilation_rate=3, padding="causal", name="causal")(line)
    x = layers.SeparableConv1D(4, 4, strides=2, padding="same", name="apart")(x)
    return keras.Model(line, x, name="causal_line")


def called_twice(keras: Any) -> Any:
    layers = keras.layers
    images = [keras.Input((17, 14, 2), name="a"), keras.Input((18, 13, 2), name="b")]
    conv = layers.Conv2D(3, (4, 3), strides=(3, 2), padding="same", name="conv")
    outputs = [layers.GlobalMaxPooling2D(name=f"pool{i}")(conv(x)) for i, x in enumerate(images)]
    return keras.Model(images, layers.Concatenate(name="join")(outputs), name="twice")


def in_sequence(keras: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((17, 14, 2)),
            keras.layers.Conv2D(4, (3, 4), strides=(2, 1), padding="same"),
            keras.layers.MaxPooling2D((2, 3), padding="same"),
            keras.layers.Conv2DTranspose(3, (3, 2), strides=2, padding="same"),
            keras.layers.Conv2D(4, (2, 5), padding="same"),
        ]
    )


MODELS = (branched, nested, strided, causal, called_twice, in_sequence)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_keras_predicts_the_same_bit_for_bit(
    build: Any, suffix: str, keras: Any, tmp_path: Path
) -> None:
    keras.backend.clear_session()
    model = randomised(build(keras))
    source = tmp_path / f"m{suffix}"
    model.save(source)
    _, result = rewrite(source, tmp_path)
    assert result.plan.edits
    loaded = keras.models.load_model(tmp_path / f"rewritten{suffix}")
    values = np.random.default_rng(8)
    feed = [values.normal(size=(2, *item.shape[1:])).astype("float32") for item in model.inputs]
    before = model(feed if len(feed) > 1 else feed[0])
    after = loaded(feed if len(feed) > 1 else feed[0])
    assert np.asarray(before).tobytes() == np.asarray(after).tobytes()
    assert_same_weights(model, loaded)


@pytest.mark.parametrize("name", ["digits-keras2.h5", "digits-keras2-sequential.h5"])
def test_keras_2_predicts_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="Keras 2 files are loaded by Keras 2")
    rewrite(FIXTURES / name, tmp_path)
    original = tf_keras.models.load_model(FIXTURES / name, compile=False)
    loaded = tf_keras.models.load_model(tmp_path / "rewritten.h5", compile=False)
    feed = np.random.default_rng(8).normal(size=(2, 17, 14, 1)).astype("float32")
    assert np.asarray(original(feed)).tobytes() == np.asarray(loaded(feed)).tobytes()
    assert_same_weights(original, loaded)


def assert_same_weights(model: Any, loaded: Any) -> None:
    """Every layer, inner ones included, has the weights that it had."""
    for old in model.layers:
        new = loaded.get_layer(old.name)
        if getattr(old, "layers", None):
            assert_same_weights(old, new)
            continue
        for a, b in zip(old.get_weights(), new.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("build", [branched, nested], ids=lambda build: build.__name__)
def test_the_branched_models_do_change_keras_layer_order(
    build: Any, keras: Any, tmp_path: Path
) -> None:
    keras.backend.clear_session()
    model = build(keras)
    model.save(tmp_path / "m.keras")
    rewrite(tmp_path / "m.keras", tmp_path)
    loaded = keras.models.load_model(tmp_path / "rewritten.keras")
    holder, after = (
        (model.get_layer("inner"), loaded.get_layer("inner"))
        if build is nested
        else (model, loaded)
    )
    names = [item.name for item in holder.layers]
    assert [item.name for item in after.layers if item.name in names] != names


@pytest.mark.parametrize("build", [branched, nested], ids=lambda build: build.__name__)
def test_training_goes_on_from_the_same_optimizer_state(
    build: Any, keras: Any, tmp_path: Path
) -> None:
    keras.backend.clear_session()
    model = randomised(build(keras))
    model.compile(keras.optimizers.Adam(1e-2), "mse", run_eagerly=True)
    values = np.random.default_rng(9)
    data = values.normal(size=(4, 9, 8, 2)).astype("float32")
    goal = values.normal(size=(4, *model.output.shape[1:])).astype("float32")
    for _ in range(3):
        model.train_on_batch(data, goal)
    model.save(tmp_path / "m.keras")
    rewrite(tmp_path / "m.keras", tmp_path)
    original = keras.models.load_model(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "rewritten.keras")
    assert int(loaded.optimizer.iterations) == 3
    for trained in (original, loaded):
        trained.compile(trained.optimizer, "mse", run_eagerly=True)
        for _ in range(2):
            trained.train_on_batch(data, goal)
    assert_same_weights(original, loaded)
    with pytest.raises(AssertionError):
        assert_same_weights(model, loaded)


@pytest.mark.parametrize("build", MODELS[:4], ids=lambda build: build.__name__)
def test_a_model_in_memory_is_rebuilt_with_its_weights(build: Any, keras: Any) -> None:
    keras.backend.clear_session()
    model = randomised(build(keras))
    explicit = padaudit.explicit(model)
    feed = np.random.default_rng(8).normal(size=(2, *model.inputs[0].shape[1:])).astype("float32")
    assert np.asarray(explicit(feed)).tobytes() == np.asarray(model(feed)).tobytes()
    declared = [getattr(item, "padding", None) for item in explicit.layers]
    assert "same" not in declared
    assert "causal" not in declared


def random_dag(keras: Any, seed: int) -> Any:
    """Return a graph of Dense, Add and reused layers that were called in random order."""
    draw = np.random.default_rng(seed)
    layers = keras.layers
    tensors = [keras.Input((3,), name=f"in{i}") for i in range(draw.integers(1, 4))]
    inputs = list(tensors)
    reused = layers.Dense(3, name="reused")
    for index in range(int(draw.integers(4, 14))):
        first, second = (tensors[int(i)] for i in draw.integers(0, len(tensors), 2))
        kind = int(draw.integers(0, 4))
        if kind == 0:
            made = layers.Add(name=f"add{index}")([first, second])
        elif kind == 1:
            made = reused(first)
        else:
            made = layers.Dense(3, name=f"dense{index}")(first)
        tensors.append(made)
    other = tensors[int(draw.integers(len(tensors)))]
    end = layers.Concatenate(name="end")([tensors[-1], other])
    outputs = [end, tensors[-2]] if draw.random() < 0.5 else [end]
    return keras.Model(inputs, outputs, name=f"dag{seed}")


@pytest.mark.parametrize("seed", range(12))
def test_the_order_of_layers_is_kerass(seed: int, keras: Any) -> None:
    from padaudit.formats.keras.config import parse_model
    from padaudit.formats.keras.order import layer_order

    keras.backend.clear_session()
    model = random_dag(keras, seed)
    loaded = keras.models.model_from_json(model.to_json())
    order = layer_order(parse_model(json.loads(model.to_json())))
    assert list(order) == [item.name for item in loaded.layers]


def test_most_of_these_tests_need_no_tensorflow() -> None:
    import subprocess

    code = (
        "import sys, padaudit.rewriting.run, padaudit.api, padaudit.formats.keras.write;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
