"""Which Keras layers get which new layers, and which are left alone for which reason."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest

from padaudit import api
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import load

sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_configs import Config, called, functional, layer, sequential, tensor, wrapped, write

CONV = {"filters": 3, "kernel_size": [4, 3], "strides": [3, 2], "padding": "same"}
"""On 10 x 9: (1, 2) and (1, 1); on 11 x 8: (1, 1) and (0, 1)."""
UP = {"filters": 3, "kernel_size": [5, 4], "strides": [2, 3], "padding": "same"}
FIRST = {"data_format": "channels_first"}
POOL = {"pool_size": [3, 4], "strides": [2, 3], "padding": "same"}
SHAPE = (None, 10, 9, 2)


def rewritten(path: Path, config: Config, **how: Any) -> tuple[list[Config], dict[str, str]]:
    """Rewrite a config; return the layers of the result, and why sites were kept."""
    version = how.pop("version", "3.10.0")
    shapes = how.pop("input_shapes", InputShapes())
    read = load(write(path, config, version), shapes)
    options = Options(**how)
    plan = make_plan(read.document, read.sites, "pad", options.wishes, read.graph)
    from padaudit.rewriting.apply import apply_plan

    result = apply_plan(read.document, plan).document.config["config"]["layers"]
    return result, {item.site.id: item.reason for item in plan.kept}


def named(layers: list[Config], name: str) -> Config:
    return next(item for item in layers if item["config"]["name"] == name)


def names(layers: list[Config]) -> list[str]:
    return [item["config"]["name"] for item in layers]


# --- rewritten ----------------------------------------------------------------------------


def test_every_reader_and_every_output_is_moved_behind_the_crop(tmp_path: Path) -> None:
    full, target = (
        (None, 20, 27, 3),
        called(layer("Conv2DTranspose", "up", **UP), tensor("image", SHAPE)),
    )
    reader = layer("Add", "sum")
    node = {"args": [[tensor("up", full), tensor("up", full)]], "kwargs": {}}
    sums = {**reader, "name": "sum", "inbound_nodes": [node]}
    config = functional({"image": SHAPE}, [target, sums], "up", "sum")
    layers, kept = rewritten(tmp_path / "m.keras", config)
    assert (names(layers), kept) == (["image", "up", "up_crop", "sum"], {})
    crop = named(layers, "up_crop")
    assert (crop["class_name"], crop["config"]["cropping"]) == ("Cropping2D", [[1, 2], [0, 1]])
    (read,) = crop["inbound_nodes"][0]["args"]
    assert read["config"]["keras_history"] == ["up", 0, 0]
    assert read["config"]["shape"] == [None, 23, 28, 3]
    (both,) = named(layers, "sum")["inbound_nodes"][0]["args"]
    assert [item["config"]["keras_history"][0] for item in both] == ["up_crop", "up_crop"]
    assert [item["config"]["shape"] for item in both] == [[None, 20, 27, 3]] * 2
    whole = {**config, "config": {**config["config"], "layers": layers}}
    again = load(write(tmp_path / "x.keras", whole), InputShapes())
    assert [site.output_size for site in again.sites] == [(23, 28)]


def test_a_transposed_layer_that_needs_no_crop_only_says_valid(tmp_path: Path) -> None:
    up = layer(
        "Conv2DTranspose", "up", filters=2, kernel_size=[2, 1], strides=[2, 3], padding="same"
    )
    layers, kept = rewritten(tmp_path / "m.h5", sequential(SHAPE, up))
    assert (names(layers), kept) == (["image", "up"], {})
    assert named(layers, "up")["config"]["padding"] == "valid"


def test_a_wrapped_layer_gets_a_wrapped_padding_layer(tmp_path: Path) -> None:
    each = wrapped("TimeDistributed", "each", layer("Conv2D", "inside", **CONV))
    layers, kept = rewritten(tmp_path / "m.h5", sequential((None, 5, 10, 9, 2), each))
    assert (names(layers), kept) == (["image", "each_pad", "each"], {})
    pad = named(layers, "each_pad")
    assert pad["class_name"] == "TimeDistributed"
    assert pad["config"]["layer"]["class_name"] == "ZeroPadding2D"
    assert pad["config"]["layer"]["config"]["padding"] == [[1, 2], [1, 1]]
    assert named(layers, "each")["config"]["layer"]["config"]["padding"] == "valid"


def test_an_inner_model_in_a_wrapper_is_rewritten_inside(tmp_path: Path) -> None:
    inner = sequential((None, 10, 9, 2), layer("Conv2D", "conv", **CONV))
    each = wrapped("TimeDistributed", "each", inner)
    source = write(tmp_path / "m.h5", sequential((None, 5, 10, 9, 2), each))
    result = api.rewrite(source, tmp_path / "w.h5", verify="site")
    assert result.verification.status.value == "equivalent"
    with h5py.File(tmp_path / "w.h5") as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
    assert names(layers) == ["image", "each"]
    assert names(layers[1]["config"]["layer"]["config"]["layers"]) == ["image", "conv_pad", "conv"]


@pytest.mark.parametrize("backward", [{}, {"strides": [2, 1]}], ids=["alike", "unlike"])
def test_both_directions_share_one_padding_layer(backward: Config, tmp_path: Path) -> None:
    there = layer("ConvLSTM2D", "forward", **CONV)
    back = layer("ConvLSTM2D", "backward", **{**CONV, **backward}, go_backwards=True)
    both = wrapped("Bidirectional", "both", there, backward_layer=back, merge_mode="concat")
    layers, kept = rewritten(tmp_path / "m.h5", sequential((None, 5, 10, 9, 2), both))
    if backward:
        assert len(kept) == 2
        assert all("different amounts" in reason for reason in kept.values())
        return
    assert (names(layers), kept) == (["image", "both_pad", "both"], {})
    config = named(layers, "both")["config"]
    assert [config[key]["config"]["padding"] for key in ("layer", "backward_layer")] == [
        "valid",
        "valid",
    ]


def test_a_wrapper_that_is_called_at_two_sizes_gets_amounts_per_call(tmp_path: Path) -> None:
    first, second = (None, 5, 10, 9, 2), (None, 4, 11, 8, 2)
    each = wrapped("TimeDistributed", "each", layer("Conv2D", "inside", **CONV))
    node = called(each, tensor("a", first), tensor("b", second))
    config = functional({"a": first, "b": second}, [node], "each")
    config["config"]["output_layers"] = [["each", 0, 0], ["each", 1, 0]]
    layers, kept = rewritten(tmp_path / "m.keras", config)
    assert kept == {}
    pads = [named(layers, name)["config"] for name in ("each_pad_2", "each_pad")]
    assert [item["layer"]["config"]["padding"] for item in pads] == [
        [[1, 2], [1, 1]],
        [[1, 1], [0, 1]],
    ]
    result = api.rewrite(tmp_path / "m.keras", tmp_path / "w.keras", verify="site")
    assert result.verification.status.value == "equivalent"
    assert all("called 2 times" in edit.note for edit in result.plan.edits)


def test_the_recurrent_convolution_is_spoken_of(tmp_path: Path) -> None:
    lstm = layer("ConvLSTM2D", "lstm", **{**CONV, "strides": [1, 1]})
    source = write(tmp_path / "m.h5", sequential((None, 5, 10, 9, 2), lstm))
    (edit,) = api.rewrite(source, tmp_path / "w.h5", verify="site").plan.edits
    assert "recurrent convolution stays" in edit.note


def test_a_padding_layer_that_stands_there_stays_apart(tmp_path: Path) -> None:
    own = layer("ZeroPadding2D", "own", padding=[[2, 0], [0, 3]], data_format="channels_last")
    for settings in (CONV, {**CONV, "kernel_size": [1, 1], "strides": [1, 1]}):
        config = sequential((None, 8, 6, 2), own, layer("Conv2D", "conv", **settings))
        source = write(tmp_path / "m.h5", config)
        result = api.rewrite(source, tmp_path / "w.h5", verify="site")
        assert result.verification.status.value == "equivalent"
        with h5py.File(tmp_path / "w.h5") as file:
            layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        assert named(layers, "own") == own


def test_a_pool_that_pads_nothing_only_says_valid(tmp_path: Path) -> None:
    for kind in ("MaxPooling2D", "AveragePooling2D"):
        pool = layer(kind, "pool", pool_size=[5, 3], strides=[5, 3], padding="same")
        layers, kept = rewritten(tmp_path / "m.h5", sequential(SHAPE, pool))
        assert (names(layers), kept) == (["image", "pool"], {})
        assert named(layers, "pool")["config"]["padding"] == "valid"


def test_keras_1_gets_its_own_spelling(tmp_path: Path) -> None:
    image = {"batch_input_shape": [None, 5, 2, 10, 9], "name": "each", "trainable": True}
    inside = {
        "class_name": "Convolution2D",
        "config": {
            "name": "inside", "nb_filter": 3, "nb_row": 4, "nb_col": 3, "subsample": [3, 2],
            "border_mode": "same", "dim_ordering": "th", "activation": "linear",
        },
    }  # fmt: skip
    each = {"class_name": "TimeDistributed", "config": {**image, "layer": inside}}
    config = {"class_name": "Sequential", "config": [each]}
    source = write(tmp_path / "m.h5", config, "1.2.2")
    result = api.rewrite(source, tmp_path / "w.h5", verify="site")
    assert result.verification.status.value == "equivalent"
    with h5py.File(tmp_path / "w.h5") as file:
        pad, after = json.loads(file.attrs["model_config"])["config"]
    assert pad["config"]["batch_input_shape"] == [None, 5, 2, 10, 9]
    assert "batch_input_shape" not in after["config"]
    inner = pad["config"]["layer"]
    assert set(inner) == {"class_name", "config"}
    assert (inner["config"]["padding"], inner["config"]["dim_ordering"]) == ([1, 2, 1, 1], "th")


def test_an_open_size_gets_a_layer_that_computes_where_it_is_asked_for(tmp_path: Path) -> None:
    config = sequential((None, None, 9, 2), layer("Conv2D", "conv", **CONV))
    layers, _ = rewritten(tmp_path / "m.h5", config, open_sizes="layer")
    assert named(layers, "conv_pad")["config"]["kernel_size"] == [4, 3]
    source, target = tmp_path / "m.h5", tmp_path / "w.h5"
    result = api.rewrite(source, target, verify="site", open_sizes="layer")
    assert result.verification.status.value == "equivalent"
    assert [(edit.strategy, edit.pads) for edit in result.plan.edits] == [
        ("keras_same_padding", None)
    ]
    (site,) = api.check(target).sites
    assert (site.implicit, site.padding.value) == (False, "valid")
    again = api.rewrite(target, tmp_path / "again.h5", verify="site", open_sizes="layer")
    assert not (again.plan.edits or again.plan.kept)
    assert (tmp_path / "again.h5").read_bytes() == target.read_bytes()


# --- left alone ---------------------------------------------------------------------------


def first_custom(record: Config) -> Config:
    return {**record, "registered_name": f"Custom>{record['class_name']}", "module": "mine"}


KEPT: dict[str, tuple[Config, str, dict[str, Any]]] = {
    "average-pool-with-padding": (
        sequential(SHAPE, layer("AveragePooling2D", "target", **POOL)), "divisor", {},
    ),
    "max-pool-of-what-may-be-negative": (
        sequential(SHAPE, layer("MaxPooling2D", "target", **POOL)), "negative values", {},
    ),
    "leaky-relu-may-be-negative": (
        sequential(
            SHAPE,
            layer("LeakyReLU", "leaky", negative_slope=0.1),
            layer("MaxPooling2D", "target", **POOL),
        ),
        "negative values",
        {},
    ),
    "relu-of-another-maker": (
        sequential(
            SHAPE, first_custom(layer("ReLU", "mine")), layer("MaxPooling2D", "target", **POOL)
        ),
        "negative values",
        {},
    ),
    "operation-in-a-sequential": (
        sequential(SHAPE, layer("MaxPooling2D", "target", **POOL)), "functional model", {},
    ),
    "open-size": (
        sequential((None, None, 9, 2), layer("Conv2D", "target", **CONV)), "--open-sizes layer", {},
    ),
    "open-size-in-keras-2": (
        sequential((None, None, 9, 2), layer("Conv2D", "target", **CONV)),
        "the file is older",
        {"open_sizes": "layer", "version": "2.15.0"},
    ),
    "3-d-windows-that-tensorflow-begins-late": (
        sequential(
            (None, 4, 6, 5, 2),
            layer("Conv3D", "target", filters=2, kernel_size=[1, 2, 2], strides=[4, 1, 1],
                  padding="same"),
        ),
        "TensorFlow on CPU",
        {},
    ),
    "custom-layer": (
        sequential(SHAPE, first_custom(layer("Conv2D", "target", **CONV))), "custom layer", {},
    ),
    "softmax-over-a-cropped-axis": (
        sequential(
            (None, 2, 10, 9),
            layer(
                "Conv2DTranspose", "target", **UP, **FIRST, activation="softmax"
            ),
        ),
        "works along an axis that is cropped",
        {},
    ),
    "activity-regularizer-of-what-is-cropped": (
        sequential(SHAPE, layer("Conv2DTranspose", "target", **UP, activity_regularizer="l2")),
        "activity regularizer",
        {},
    ),
    "cropping-1d-channels-first": (
        sequential(
            (None, 2, 9),
            layer(
                "Conv1DTranspose", "target", filters=2, kernel_size=[3], strides=[1],
                padding="same", data_format="channels_first",
            ),
        ),
        "Cropping1D has no channels_first",
        {},
    ),
    "mask-into-a-convlstm": (
        sequential(
            (None, 5, 10, 9, 2), layer("Masking", "mask"), layer("ConvLSTM2D", "target", **CONV)
        ),
        "the mask of 'mask'",
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_left_alone(case: str, tmp_path: Path) -> None:
    config, reason, how = KEPT[case]
    before = json.loads(json.dumps(config["config"]["layers"]))
    layers, kept = rewritten(tmp_path / "m.h5", config, **how)
    assert list(kept) == ["target"]
    assert reason in kept["target"]
    assert layers == before


@pytest.mark.parametrize("inside", ["layer", "model"])
def test_what_a_custom_wrapper_holds_stays(inside: str, tmp_path: Path) -> None:
    held = layer("Conv2D", "conv", **CONV)
    if inside == "model":
        held = sequential((None, 10, 9, 2), held)
    config = sequential(SHAPE, wrapped("TheirWrapper", "each", held))
    layers, kept = rewritten(tmp_path / "m.h5", config)
    assert layers == config["config"]["layers"]
    assert all("custom layer" in reason for reason in kept.values())


def test_an_output_that_a_loss_is_named_after_stays(tmp_path: Path) -> None:
    config = sequential(SHAPE, layer("Conv2DTranspose", "target", **UP))
    config["compile_config"] = {"optimizer": "adam", "loss": {"target": "mse"}}
    layers, kept = rewritten(tmp_path / "m.keras", config)
    assert "training configuration" in kept["target"]
    assert names(layers) == ["image", "target"]


def test_an_inner_model_at_two_sizes_stays(tmp_path: Path) -> None:
    shapes = {"a": (None, 10, 9, 2), "b": (None, 11, 8, 2)}
    inner = functional(
        {"x": (None, None, None, 2)},
        [called(layer("Conv2D", "conv", **CONV), tensor("x", (None, None, None, 2)))],
        "conv",
    )
    inner["config"]["name"] = "inner"
    node = called(inner, *(tensor(name, shape) for name, shape in shapes.items()))
    config = functional(shapes, [node], "inner")
    config["config"]["output_layers"] = [["inner", 0, 0], ["inner", 1, 0]]
    _, kept = rewritten(tmp_path / "m.keras", config)
    assert len(kept) == 2
    assert all("different amounts" in reason for reason in kept.values())


# --- signs --------------------------------------------------------------------------------

POLICY = {
    "module": "keras",
    "class_name": "DTypePolicy",
    "config": {"name": "float32"},
    "registered_name": None,
}
POSITIVE: dict[str, list[Config]] = {
    "relu": [layer("ReLU", "x")],
    "a layer whose policy is a record": [layer("ReLU", "x", dtype=POLICY)],
    "an inner model": [
        {
            "class_name": "Sequential",
            "config": {"name": "inner", "layers": [layer("ReLU", "r", dtype=POLICY)]},
        }
    ],
    "activation of a convolution": [
        layer("Conv2D", "x", filters=2, kernel_size=[1, 1], padding="valid", activation="relu6")
    ],
    "through pools, padding and dropout": [
        layer("Activation", "x", activation="sigmoid"),
        layer("AveragePooling2D", "p", pool_size=[1, 1], strides=[1, 1], padding="valid"),
        layer("ZeroPadding2D", "z", padding=[[0, 0], [0, 0]], data_format="channels_last"),
        layer("Dropout", "d", rate=0.5),
        layer("UpSampling2D", "u", size=[1, 1], interpolation="bilinear"),
    ],
}
NEGATIVE: dict[str, list[Config]] = {
    "relu with a slope": [layer("ReLU", "x", negative_slope=0.1)],
    "relu with a threshold below zero": [layer("ReLU", "x", threshold=-1.0)],
    "elu": [layer("Activation", "x", activation="elu")],
    "swish": [layer("Activation", "x", activation="swish")],
    "gelu": [layer("Activation", "x", activation="gelu")],
    "normalised again": [layer("ReLU", "x"), layer("BatchNormalization", "n")],
    "bicubic overshoots": [
        layer("ReLU", "x"),
        layer("UpSampling2D", "u", size=[1, 1], interpolation="bicubic"),
    ],
    "scaled below zero": [layer("ReLU", "x"), layer("Rescaling", "r", scale=-1.0, offset=0.0)],
    "linear": [layer("Activation", "x", activation="linear")],
}


@pytest.mark.parametrize("name", [*POSITIVE, *NEGATIVE])
def test_zeros_stand_in_front_of_a_pool_only_where_nothing_is_negative(
    name: str, tmp_path: Path
) -> None:
    ahead = (POSITIVE | NEGATIVE)[name]
    config = sequential(SHAPE, *ahead, layer("MaxPooling2D", "pool", **POOL))
    layers, kept = rewritten(tmp_path / "m.h5", config)
    assert ("pool_pad" in names(layers), "pool" in kept) == (name in POSITIVE, name in NEGATIVE)
