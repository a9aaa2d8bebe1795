"""Keras definitions in every kind of file: found, read, and written back in the same form."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from padaudit import api
from padaudit.audit.check import expand
from padaudit.errors import InputError, LimitError, PadauditError, UsageError
from padaudit.formats.keras.hdf5 import read_text, write_text
from padaudit.formats.keras.json_file import locate
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load

Config = dict[str, Any]


def conv(name: str, source: str, **settings: Any) -> Config:
    """Return the record of a convolution of Keras 2."""
    config = {
        "name": name,
        "filters": 4,
        "kernel_size": [3, 5],
        "strides": [2, 3],
        "padding": "same",
        "data_format": "channels_last",
        **settings,
    }
    nodes = [[[source, 0, 0, {}]]]
    return {"class_name": "Conv2D", "name": name, "config": config, "inbound_nodes": nodes}


def image(name: str = "x", size: tuple[int, int] = (17, 14)) -> Config:
    config = {"name": name, "batch_input_shape": [None, *size, 3], "dtype": "float32"}
    return {"class_name": "InputLayer", "name": name, "config": config, "inbound_nodes": []}


def model(*layers: Config, name: str = "m", class_name: str = "Functional") -> Config:
    """Return a functional model: the first layer is its input, the last one its output."""
    first, last = ([[item["name"], 0, 0]] for item in (layers[0], layers[-1]))
    config = {"name": name, "layers": list(layers), "input_layers": first, "output_layers": last}
    return {"class_name": class_name, "config": config}


SIMPLE = model(image(), conv("c", "x"))
VERSIONED = {**SIMPLE, "keras_version": "2.4.0", "backend": "tensorflow"}
MANIFEST = [{"paths": ["group1-shard1of1.bin"], "weights": [{"name": "c/kernel"}]}]


def sizes(path: Path, **options: Any) -> dict[str, tuple[object, ...]]:
    return {site.id: site.input_size for site in api.check(path, **options).sites}


def write_text_file(path: Path, content: Any, **style: Any) -> Path:
    path.write_text(json.dumps(content, **style), encoding="utf-8")
    return path


def write_h5(path: Path, attributes: Config, weights: tuple[str, ...] = ()) -> Path:
    with h5py.File(path, "w") as file:
        for key, value in attributes.items():
            file.attrs[key] = value
        for name in weights:
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/kernel:0".encode()])
            group[f"{name}/kernel:0"] = np.zeros((3, 5, 3, 4), np.float32)
    return path


# --- JSON ---------------------------------------------------------------------------------


JSON_FORMS: dict[str, tuple[Any, str]] = {
    "to_json": (VERSIONED, "keras-json"),
    "encoded twice": (json.dumps(VERSIONED), "keras-json"),
    "in model_config": ({"model_config": SIMPLE, "keras_version": "2.2.4"}, "keras-json"),
    "TensorFlow.js": ({"modelTopology": SIMPLE, "weightsManifest": MANIFEST}, "tfjs-layers"),
    "TensorFlow.js, model_config": (
        {
            "format": "layers-model",
            "modelTopology": {"keras_version": "2.4.0", "model_config": SIMPLE},
        },
        "tfjs-layers",
    ),
    "TensorFlow.js, model_config as text": (
        {"modelTopology": {"model_config": json.dumps(SIMPLE)}},
        "tfjs-layers",
    ),
}


@pytest.mark.parametrize(("content", "name"), JSON_FORMS.values(), ids=JSON_FORMS)
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}], ids=str)
def test_a_definition_in_json(content: Any, name: str, style: Config, tmp_path: Path) -> None:
    path = write_text_file(tmp_path / "any.txt", content, **style)
    report = api.check(path)
    assert report.format == name
    assert [(site.id, site.input_size) for site in report.sites] == [("c", (17, 14))]


@pytest.mark.parametrize(("content", "name"), JSON_FORMS.values(), ids=JSON_FORMS)
@pytest.mark.parametrize("style", [{}, {"indent": 4}, {"separators": (",", ":")}], ids=str)
def test_json_is_written_back_in_its_form(
    content: Any, name: str, style: Config, tmp_path: Path
) -> None:
    path = write_text_file(tmp_path / "model.json", content, **style)
    target = tmp_path / "out.json"
    assert api.rewrite(path, target, verify="none").written
    report = api.check(target)
    assert (report.format, report.sites[0].padding.value) == (name, "valid")
    old, new = path.read_text(), target.read_text()
    restored = json.loads(new)
    assert json.dumps(restored, **style) == new
    assert set(_keys(json.loads(old))) <= set(_keys(restored))
    assert isinstance(restored, type(content))


def _keys(value: Any) -> list[str]:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in _keys(item))]
    return [key for item in value for key in _keys(item)] if isinstance(value, list) else []


def test_values_that_json_lacks_survive(tmp_path: Path) -> None:
    spoiled = model(image(), conv("c", "x", threshold=float("inf"), other=float("nan")))
    path = write_text_file(tmp_path / "m.json", spoiled)
    assert api.rewrite(path, tmp_path / "out.json", verify="none").written
    text = (tmp_path / "out.json").read_text()
    assert '"threshold": Infinity, "other": NaN' in text


def test_weights_of_tensorflow_js_go_along_to_another_folder(tmp_path: Path) -> None:
    content = {"modelTopology": SIMPLE, "weightsManifest": MANIFEST}
    path = write_text_file(tmp_path / "model.json", content)
    shard = tmp_path / "group1-shard1of1.bin"
    shard.write_bytes(bytes(range(256)))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    assert api.rewrite(path, folder / "model.json", verify="none").written
    assert (folder / shard.name).read_bytes() == shard.read_bytes()
    assert json.loads((folder / "model.json").read_text())["weightsManifest"] == MANIFEST
    (folder / shard.name).write_bytes(b"other")
    with pytest.raises(InputError, match="with other content"):
        api.rewrite(path, folder / "model.json", verify="none")


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    manifest = [{"paths": ["../secret.bin"]}]
    content = {"modelTopology": SIMPLE, "weightsManifest": manifest}
    path = write_text_file(tmp_path / "model.json", content)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InputError, match="outside the model's folder"):
        api.rewrite(path, folder / "model.json", verify="none")


REFUSED_JSON: dict[str, tuple[Any, str]] = {
    "a graph model": ({"format": "graph-model", "modelTopology": {"node": []}}, "graph model"),
    "other JSON": ({"name": "padaudit", "scripts": {}}, "but no Keras model"),
    "a class of its own": (
        {"class_name": "Detector", "config": {"name": "d", "classes": 3}},
        "Detector is a model class of its own: the file tells its settings",
    ),
}


@pytest.mark.parametrize(("content", "cause"), REFUSED_JSON.values(), ids=REFUSED_JSON)
def test_json_that_holds_no_layers(content: Any, cause: str, tmp_path: Path) -> None:
    path = write_text_file(tmp_path / "m.json", content)
    with pytest.raises(InputError, match=cause):
        api.check(path)


def test_a_model_is_found_only_where_one_can_be() -> None:
    assert locate({"config": {}, "class_name": 3}) is None
    assert locate(["class_name"]) is None
    assert locate("no JSON") is None


# --- folders ------------------------------------------------------------------------------


def test_a_folder_is_searched_for_models_of_every_kind(tmp_path: Path) -> None:
    write_text_file(tmp_path / "b.json", VERSIONED, indent=1)
    write_text_file(tmp_path / "package.json", {"name": "x", "class_name": "Model"})
    write_text_file(tmp_path / "graph.json", {"modelTopology": {"node": []}})
    (tmp_path / "broken.json").write_text('{"class_name": "Model", ')
    write_h5(tmp_path / "november_model", {"model_config": json.dumps(SIMPLE)})
    write_h5(tmp_path / "table", {})
    saved = tmp_path / "sub" / "saved"
    (saved / "assets").mkdir(parents=True)
    (saved / "saved_model.pb").write_bytes(b"")
    write_text_file(saved / "assets" / "b.json", VERSIONED)
    found = [item.relative_to(tmp_path).as_posix() for item in expand(tmp_path)]
    assert found == ["b.json", "november_model", "sub/saved"]


# --- weights alone ------------------------------------------------------------------------


def test_weights_alone_name_the_way_out(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "w.h5", {"layer_names": np.array([b"c"])}, ("c",))
    with pytest.raises(InputError, match=r"weights without a model; .* --architecture model\.json"):
        api.check(path)


def test_weights_with_their_architecture(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "w.h5", {"layer_names": np.array([b"c"])}, ("c",))
    definition = write_text_file(tmp_path / "m.json", VERSIONED)
    assert sizes(path, architecture=definition) == {"c": (17, 14)}
    result = api.rewrite(path, architecture=definition, verify="none")
    assert result.target == tmp_path / "m.explicit.json"
    assert [site.implicit for site in api.check(result.target).sites] == [False]


@pytest.mark.parametrize("root", ["", "layers"])
def test_weights_of_another_model_are_refused(root: str, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group(f"{root}/dense")
        group.attrs["weight_names"] = np.array([b"dense/kernel:0"])
        group.create_group("vars")["0"] = np.zeros(3)
        file.create_group(f"{root}/empty")
    definition = write_text_file(tmp_path / "m.json", VERSIONED)
    with pytest.raises(InputError, match=r"it holds weights of 'dense', which .*m\.json does not"):
        api.check(path, architecture=definition)


def test_an_architecture_for_a_whole_model_is_a_mistake(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "m.h5", {"model_config": json.dumps(SIMPLE)})
    definition = write_text_file(tmp_path / "m.json", VERSIONED)
    with pytest.raises(UsageError, match="holds a model itself"):
        api.check(path, architecture=definition)


# --- HDF5 ---------------------------------------------------------------------------------


TEXT = json.dumps(SIMPLE)
ATTRIBUTES: dict[str, Callable[[str], Config]] = {
    "str": lambda text: {"model_config": text},
    "fixed bytes": lambda text: {"model_config": np.bytes_(text.encode())},
    "opaque": lambda text: {"model_config": np.void(text.encode())},
    "array of bytes": lambda text: {"model_config": np.array([text.encode()])},
    "array of str": lambda text: {"model_config": np.array([text], h5py.string_dtype())},
    "numbers": lambda text: {"model_config": np.frombuffer(text.encode(), np.uint8)},
    "parts": lambda text: {
        f"model_config{index}": np.void(text[start : start + 300].encode())
        for index, start in enumerate(range(0, len(text), 300))
    },
    "encoded twice": lambda text: {"model_config": json.dumps(text)},
}


@pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_a_config_in_any_type_of_attribute(
    attributes: Callable[[str], Config], tmp_path: Path
) -> None:
    given = {**attributes(TEXT), "note": "kept", "layer_names": np.array([b"c"])}
    path = write_h5(tmp_path / "m.h5", given, ("c",))
    assert sizes(path) == {"c": (17, 14)}
    target = tmp_path / "out.h5"
    assert api.rewrite(path, target, verify="none").written
    assert [site.padding.value for site in api.check(target).sites] == ["valid"]
    with h5py.File(path) as old, h5py.File(target) as new:
        assert new.attrs["note"] == "kept"
        others = {name for name in given if not name.startswith("model_config")}
        assert {name for name in new.attrs if not name.startswith("model_config")} == others
        for key in set(given) & {"model_config", "model_config0"}:
            assert type(new.attrs[key]) is type(old.attrs[key])


def test_an_attribute_is_read_as_it_was_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config0"] = np.void(b"x" * 10)
        text = "é" * 100_000
        write_text(file.attrs, "model_config", text)
        assert len(file.attrs) > 2
        stored = read_text(file.attrs, "model_config")
        assert isinstance(stored, bytes)
        assert stored.decode() == text


def soft(file: h5py.File, folder: Path) -> None:
    file["alias"] = h5py.SoftLink("/elsewhere")


def external_link(file: h5py.File, folder: Path) -> None:
    file["deep/alias"] = h5py.ExternalLink("other.h5", "/x")


def external_data(file: h5py.File, folder: Path) -> None:
    file.create_dataset("d", (4,), "i1", external=[(str(folder / "raw.bin"), 0, 4)])


def virtual_data(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "i1")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (4,))
    file.create_virtual_dataset("g/d", layout)


REFERENCES = {
    "a soft link": soft,
    "an external link": external_link,
    "stands in another file": external_data,
    "is virtual": virtual_data,
}


@pytest.mark.parametrize(("cause", "make"), REFERENCES.items(), ids=REFERENCES)
def test_what_leads_out_of_an_hdf5_file_is_refused(
    cause: str, make: Callable[[h5py.File, Path], None], tmp_path: Path
) -> None:
    path = write_h5(tmp_path / "m.h5", {"model_config": TEXT})
    with h5py.File(path, "r+") as file:
        make(file, tmp_path)
    with pytest.raises(LimitError, match=cause):
        api.check(path)
    with pytest.raises(LimitError, match=cause):
        api.rewrite(path, tmp_path / "out.h5", verify="none")
    assert not (tmp_path / "out.h5").exists()


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", TEXT)
        archive.writestr("model.weights.h5", bytes(80 << 20))
    with pytest.raises(LimitError, match="over 200 times its size"):
        api.check(path)


# --- dialects of calls and of nesting -----------------------------------------------------


def layer(class_name: str, name: str, nodes: list[Any], **config: Any) -> Config:
    settings = {"name": name, **config}
    return {"class_name": class_name, "name": name, "config": settings, "inbound_nodes": nodes}


CALLS: dict[str, tuple[str, Any]] = {
    "a constant in front": ("TFOpLambda", ["_CONSTANT_VALUE", -1, 2.5, {"y": ["x", 0, 0]}]),
    "a whole constant in front": ("TFOpLambda", ["_CONSTANT_VALUE", -1, 2, {"y": ["x", 0, 0]}]),
    "a constant list": ("TFOpLambda", [["_CONSTANT_VALUE", -1, [1, 2]], ["x", 0, 0, {}]]),
    "a constant argument": ("TFOpLambda", ["x", 0, 0, {"y": 1.0, "name": None}]),
    "by name": ("Add", {"b": ["x", 0, 0, {}], "a": ["x", 0, 0, {"scale": 2}]}),
    "a nested list": ("Add", [[["x", 0, 0, {}], ["x", 0, 0, {}]]]),
    "without keyword arguments": ("ReLU", [["x", 0, 0]]),
    "an object among keyword arguments": ("ReLU", [["x", 0, 0, {"m": {"k": ["x", 0, 0]}}]]),
}


@pytest.mark.parametrize(("class_name", "node"), CALLS.values(), ids=CALLS)
def test_calls_of_every_dialect_are_read(class_name: str, node: Any, tmp_path: Path) -> None:
    between = layer(class_name, "op", [node], function="math.multiply")
    follow = conv("c", "op")
    path = write_text_file(tmp_path / "m.json", model(image(), between, follow))
    graph = api.load(path).graph
    (op,) = (item for item in graph.ops() if item.name == "op")
    assert set(op.inputs) == {"x:0:0"}
    assert [site.id for site in api.check(path).sites] == ["c"]


NONSENSE: dict[str, Any] = {
    "a number": 3,
    "no tensor": [["x"]],
    "a negative call": [["x", -3, 0, {}]],
    "a call without end": [["x", 10**9, 0, {}]],
}


@pytest.mark.parametrize("node", NONSENSE.values(), ids=NONSENSE)
def test_calls_that_make_no_sense_are_an_error(node: Any, tmp_path: Path) -> None:
    path = write_text_file(tmp_path / "m.json", model(image(), layer("ReLU", "op", [node])))
    with pytest.raises(PadauditError):
        api.check(path)


def bare(record: Config) -> Config:
    return {key: value for key, value in record.items() if key != "inbound_nodes"}


def test_layers_in_a_custom_layer_are_sites_of_unknown_size(tmp_path: Path) -> None:
    inner = {"conv": bare(conv("hidden", "x")), "blocks": [bare(conv("deep", "x", strides=[1, 1]))]}
    custom = layer("pkg>Block", "block", [[["x", 0, 0, {}]]], layers=3, **inner)
    path = write_text_file(tmp_path / "m.json", model(image(), custom, conv("c", "block")))
    report = api.check(path)
    assert [site.id for site in report.sites] == [
        "block/conv/hidden",
        "block/blocks.0/deep",
        "c",
    ]
    assert report.sites[0].pads is None
    assert report.sites[1].pads == ((1, 1), (2, 2))
    result = api.rewrite(path, tmp_path / "out.json", verify="none")
    assert {item.site.id: "inside a custom layer" in item.reason for item in result.plan.kept} == {
        "block/blocks.0/deep": True,
        "block/conv/hidden": True,
        "c": False,
    }


def test_a_wrapper_hands_its_input_on(tmp_path: Path) -> None:
    node = [[["x", 0, 0, {}]]]
    wrapper = layer("SpectralNormalization", "sn", node, layer=bare(conv("hidden", "x")))
    path = write_text_file(tmp_path / "m.json", model(image(), wrapper, conv("c", "sn")))
    assert sizes(path) == {"sn/hidden": (17, 14), "c": (9, 5)}


def test_models_in_a_model_of_its_own_class(tmp_path: Path) -> None:
    parts = {
        "generator": model(image("g", (9, 8)), conv("up", "g"), name="generator"),
        "critic": model(image("d", (20, 30)), conv("down", "d"), name="critic"),
    }
    path = write_text_file(tmp_path / "m.json", {"class_name": "lab>GAN", "config": parts})
    found = {key.split("/", 1)[1]: value for key, value in sizes(path).items()}
    assert found == {"critic/down": (20, 30), "generator/up": (9, 8)}


def test_keras_3_counts_calls_from_0_in_layers_and_from_1_in_outputs(tmp_path: Path) -> None:
    """As Keras 3.15 writes a functional model that is called twice; each call halves its input."""
    keras3 = pytest.importorskip("keras", reason="Keras writes the file and tells the sizes")
    image, x = keras3.Input((None, None, 3)), keras3.Input((17, 14, 3))
    halved = keras3.layers.Conv2D(3, (3, 2), 2, padding="same", name="c")(image)
    inner = keras3.Model(image, halved, name="inner")
    once = inner(x)
    twice = inner(once)
    head = keras3.layers.Conv2D(2, (2, 5), padding="same", name="head")(once)
    written = keras3.Model(x, [twice, head, once])
    for name in ("m.h5", "m.keras"):
        written.save(tmp_path / name)
        graph = load(tmp_path / name, InputShapes()).graph
        shapes = [graph.tensor(output).shape for output in graph.outputs]
        assert [shape[1:3] for shape in shapes if shape] == [(5, 4), (9, 7), (9, 7)]
        assert sizes(tmp_path / name)["head"] == (9, 7)


def test_layers_of_one_name_in_a_sequential_of_keras_1(tmp_path: Path) -> None:
    layers = [bare(conv("c", "x", batch_input_shape=[None, 30, 31, 3])), bare(conv("c", "x"))]
    for record in layers:
        del record["name"]
    path = write_text_file(tmp_path / "m.json", {"class_name": "Sequential", "config": layers})
    assert sizes(path) == {"c": (30, 31), "c#2": (15, 11)}


def test_shapes_written_as_objects(tmp_path: Path) -> None:
    shaped = image()
    shape = {"class_name": "TensorShape", "items": [None, 17, 14, 3]}
    shaped["config"]["batch_input_shape"] = shape
    path = write_text_file(tmp_path / "m.json", model(shaped, conv("c", "x")))
    assert sizes(path) == {"c": (17, 14)}
