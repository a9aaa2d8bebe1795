"""Level "definition" of Keras files: all but the planned padding is as it was, weights too."""

from __future__ import annotations

import copy
import io
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import padaudit
from padaudit.errors import InputError
from padaudit.formats.keras.dialect import padding_key
from padaudit.formats.keras.edit import record_at
from padaudit.formats.keras.weights import order_changed
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.edit import Plan
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import Loaded, load, loaded
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.proof import prove_definition

sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_configs import Config, functional, layer, tensor, write

FIXTURES = Path(__file__).parents[2] / "fixtures"
DIALECTS = ("digits.keras", "digits-keras2.h5", "digits-keras2-sequential.h5", "digits-keras1.h5")
EVERY = {"digits.keras": 3, "digits.h5": 9}
"""Of large models one in so many settings or variables is changed."""
WEIGHTS = "model.weights.h5"
BRANCHED = "branched.keras"


def planned(path: Path) -> tuple[Loaded, Plan, Config]:
    """Return a model, what is to be done, and the definition that comes of it."""
    model = load(path, InputShapes())
    plan = make_plan(model.document, model.sites, "pad", None, model.graph)
    assert plan.edits
    written: Any = apply_plan(model.document, plan).document
    return model, plan, written.config


def judged(model: Loaded, plan: Plan, config: Config) -> Status:
    read: Any = model.document
    document = replace(read, path=None, config=config)
    try:
        return prove_definition(model, loaded(document, InputShapes()), plan).status
    except InputError:  # nobody could read it
        return Status.DIFFERENT


def records(model: Any) -> Iterator[Config]:
    """Yield the records of all layers, those of inner models and in wrappers too."""
    inner = model["config"]
    for record in inner if isinstance(inner, list) else inner.get("layers", ()):
        yield record
        yield from records(record)
    if isinstance(inner, dict) and isinstance(inner.get("layer"), dict):
        yield inner["layer"]


def other(value: Any) -> Any:
    """Return a value of the same kind that is another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, 1]
    return {**value, "more": 1} if isinstance(value, dict) else f"{value or ''}x"


@pytest.mark.parametrize("name", DIALECTS)
def test_no_setting_of_any_layer_may_change(name: str) -> None:
    model, plan, config = planned(FIXTURES / name)
    assert judged(model, plan, config) is Status.EQUIVALENT
    paths = [edit.site.op.origin.path for edit in plan.edits]
    padded = [record_at(original(model), path)["config"]["name"] for path in paths]
    missed, tried = [], 0
    before = [record["config"].get("name") for record in records(original(model))]
    for record in records(config):
        settings = record["config"]
        if not isinstance(settings, dict) or settings.get("name") not in before:
            continue
        skipped = {"layers", "layer", "input_layers", "output_layers"}
        if settings["name"] in padded:
            skipped.add(padding_key(settings))
        for key in sorted(settings.keys() - skipped)[:: EVERY.get(name, 1)]:
            kept, settings[key] = settings[key], other(settings[key])
            tried += 1
            if judged(model, plan, config) is not Status.DIFFERENT:
                missed.append((settings["name"], key))
            settings[key] = kept
    assert not missed
    assert tried > 20


def test_no_other_layer_is_new_than_one_that_pads() -> None:
    model, plan, config = planned(FIXTURES / "digits-keras2-sequential.h5")
    inner = config["config"]
    layers = inner if isinstance(inner, list) else inner["layers"]
    layers.insert(1, layer("Activation", "extra", activation="relu"))
    assert judged(model, plan, config) is Status.DIFFERENT


def original(model: Loaded) -> Config:
    document: Any = model.document
    config: Config = document.config
    return config


def joined(first: str = "a", second: str = "b", **kwargs: Any) -> Config:
    """Return a model whose two branches are of one shape."""
    shape = (None, 9, 8, 2)
    conv = {"filters": 2, "kernel_size": [3, 2], "strides": [1, 1], "padding": "same"}
    branches = [
        {**layer("Conv2D", name, **conv), "name": name, "inbound_nodes": [node(("image", shape))]}
        for name in ("a", "b")
    ]
    both = {
        **layer("Subtract", "both"),
        "name": "both",
        "inbound_nodes": [node((first, shape), (second, shape), **kwargs)],
    }
    return functional({"image": shape}, [*branches, both], "both")


def node(*sources: tuple[str, Any], **kwargs: Any) -> Config:
    tensors = [tensor(*source) for source in sources]
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": kwargs}


REWIRED = {
    "operands swapped": lambda both: both["inbound_nodes"][0]["args"][0].reverse(),
    "one operand twice": lambda both: both["inbound_nodes"][0]["args"][0].__setitem__(
        1, copy.deepcopy(both["inbound_nodes"][0]["args"][0][0])
    ),
    "an argument more": lambda both: both["inbound_nodes"][0]["kwargs"].update(training=True),
}


@pytest.mark.parametrize("how", REWIRED)
def test_every_layer_reads_what_it_read(how: str, tmp_path: Path) -> None:
    model, plan, config = planned(write(tmp_path / "m.keras", joined()))
    assert judged(model, plan, config) is Status.EQUIVALENT
    both = next(record for record in records(config) if record["config"]["name"] == "both")
    REWIRED[how](both)
    assert judged(model, plan, config) is Status.DIFFERENT


@pytest.mark.parametrize("key", ["name", "output_layers", "trainable"])
def test_the_model_itself_is_as_it_was(key: str, tmp_path: Path) -> None:
    model, plan, config = planned(write(tmp_path / "m.keras", joined()))
    values = {"name": "other", "trainable": False, "output_layers": [["a", 0, 0]]}
    config["config"][key] = values[key]
    assert judged(model, plan, config) is Status.DIFFERENT


# --- what is stored -----------------------------------------------------------------------


def stored(path: Path) -> list[str]:
    """Return the paths of all variables of a file."""
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(name)

    with weights(path) as file:
        file.visititems(visit)
    return found


def weights(path: Path) -> Any:
    if path.suffix == ".h5":
        return h5py.File(path)
    with zipfile.ZipFile(path) as archive:
        return h5py.File(io.BytesIO(archive.read(WEIGHTS)))


def with_members(path: Path, **data: bytes) -> None:
    """Write an archive anew with other contents of some members, by the first part of the name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, old in members.items():
            archive.writestr(name, data.get(name.split(".")[0], old))


def changed(path: Path, how: Any) -> None:
    """Change the stored variables of a file."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            how(file)
        return
    with zipfile.ZipFile(path) as archive:
        buffer = io.BytesIO(archive.read(WEIGHTS))
    with h5py.File(buffer, "r+") as file:
        how(file)
    with_members(path, model=buffer.getvalue())


def branched(path: Path) -> Path:
    """Write a model of which the padding in one branch moves another layer to the front."""
    shape = (None, 9, 8, 2)
    reads = {"b0": "image", "a0": "image", "b1": "b0", "a1": "a0"}
    layers = []
    for name, source in reads.items():
        kernel = {"kernel_size": [3, 2] if name == "a1" else [1, 1], "filters": 2}
        conv = layer("Conv2D", name, padding="same" if name == "a1" else "valid", **kernel)
        layers.append({**conv, "name": name, "inbound_nodes": [node((source, shape))]})
    both = {**layer("Subtract", "both"), "name": "both"}
    both["inbound_nodes"] = [node(("b1", shape), ("a1", shape))]
    config = functional({"image": shape}, [*layers, both], "both")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for place, name in enumerate(reads):
            group = file.create_group(f"layers/conv2d{f'_{place}' if place else ''}/vars")
            kernel_shape = (3, 2, 2, 2) if name == "a1" else (1, 1, 2, 2)
            group["0"] = np.arange(np.prod(kernel_shape)).reshape(kernel_shape) + 10.0 * place
            group["1"] = np.float32([place, -place])
    write(path, config)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(WEIGHTS, buffer.getvalue())
    return path


def rewritten(name: str, folder: Path) -> tuple[Loaded, Plan, Path]:
    source, target = FIXTURES / name, folder / f"written{Path(name).suffix}"
    if name == BRANCHED:
        source = branched(folder / name)
    result = padaudit.rewrite(source, target, verify="none")
    model, written = load(source, InputShapes()), load(target, InputShapes())
    assert order_changed(original(model), original(written)) is (name == BRANCHED)
    return model, result.plan, target


def of_file(model: Loaded, plan: Plan, path: Path) -> Verification:
    return prove_definition(model, load(path, InputShapes()), plan)


@pytest.mark.parametrize("name", ["digits.h5", "digits.keras", "digits-keras2.h5", BRANCHED])
def test_every_stored_number_is_as_it_was(name: str, tmp_path: Path) -> None:
    model, plan, target = rewritten(name, tmp_path)
    assert of_file(model, plan, target).status is Status.EQUIVALENT
    good = tmp_path / f"good{target.suffix}"
    shutil.copyfile(target, good)
    for variable in stored(good)[:: EVERY.get(name, 1)]:

        def flip(file: Any, variable: str = variable) -> None:
            values = np.asarray(file[variable][()])
            values.reshape(-1)[-1:] += 1
            file[variable][...] = values

        shutil.copyfile(good, target)
        changed(target, flip)
        found = of_file(model, plan, target)
        assert found.status is Status.DIFFERENT, variable
        assert "not as" in found.reason or "not those" in found.reason


@pytest.mark.parametrize("name", ["digits.h5", "digits.keras", BRANCHED])
def test_weights_of_one_shape_belong_to_their_layers(name: str, tmp_path: Path) -> None:
    model, plan, target = rewritten(name, tmp_path)
    shapes: dict[Any, list[str]] = {}
    with weights(target) as file:
        for variable in stored(target):
            if "optimizer" not in variable:
                shapes.setdefault(file[variable].shape, []).append(variable)
    first, second, *_ = next(names for shape, names in shapes.items() if len(names) > 1 and shape)

    def swap(file: Any) -> None:
        a, b = file[first][()], file[second][()]
        assert (a != b).any()
        file[first][...], file[second][...] = b, a

    changed(target, swap)
    assert of_file(model, plan, target).status is Status.DIFFERENT


def test_other_members_and_attributes_are_as_they_were(tmp_path: Path) -> None:
    model, plan, target = rewritten("digits.keras", tmp_path)
    with_members(target, metadata=b'{"keras_version": "3.0.0"}')
    assert "'metadata.json'" in of_file(model, plan, target).reason
    model, plan, target = rewritten("digits.h5", tmp_path)
    with h5py.File(target, "r+") as file:
        file.attrs["training_config"] = "{}"
    assert "'@training_config'" in of_file(model, plan, target).reason
