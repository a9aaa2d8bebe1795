"""``--assume``: what the user says of layers that inference can't see through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import padaudit
from padaudit.errors import UsageError
from padaudit.formats.assumptions import parse_assumptions
from padaudit.formats.keras.container import KerasDocument
from padaudit.formats.keras.read import read_graph
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open
from padaudit.ir.tensor import TensorInfo


def layer(class_name: str, name: str, source: str | None, **config: Any) -> dict[str, Any]:
    """Return the record of a layer of Keras 2 that reads one other."""
    nodes = [[[source, 0, 0, {}]]] if source else []
    record = {"class_name": class_name, "name": name, "inbound_nodes": nodes}
    return {**record, "config": {"name": name, **config}}


def document(*middle: dict[str, Any]) -> KerasDocument:
    """Return a model whose strided convolution reads what the last of some layers gives."""
    first = layer("InputLayer", "image", None, batch_input_shape=[None, 31, 20, 3])
    conv = layer(
        "Conv2D",
        "conv",
        middle[-1]["name"],
        filters=4,
        kernel_size=[3, 4],
        strides=[2, 3],
        padding="same",
    )
    config = {
        "name": "model",
        "layers": [first, *middle, conv],
        "input_layers": [["image", 0, 0]],
        "output_layers": [["conv", 0, 0]],
    }
    return KerasDocument(None, "keras-json", {"class_name": "Functional", "config": config})


def seen(read: KerasDocument, *assume: str) -> TensorInfo:
    """Return what is known of the convolution's input."""
    sizes = InputShapes(assumed=parse_assumptions(assume))
    graph = read_graph(read, sizes)
    return graph.tensor(graph.op("conv").inputs[0])


CROP = layer("MyCrop", "crop", "image")


@pytest.mark.parametrize("key", ["crop", "MyCrop"])
def test_a_layer_is_meant_by_name_or_class(key: str) -> None:
    assert seen(document(CROP), f"{key}=19x?x3").shape == (Open(), 19, Open(), 3)


def test_same_is_the_shape_of_the_input() -> None:
    assert seen(document(CROP), "crop=same").shape == (Open(), 31, 20, 3)


def test_the_name_wins_over_the_class() -> None:
    assert seen(document(CROP), "MyCrop=5x6x7", "crop=same").shape == (Open(), 31, 20, 3)


def test_without_it_the_layer_that_stops_inference_is_named() -> None:
    cause = seen(document(CROP)).cause
    assert cause == "layer 'crop' (MyCrop): layer class MyCrop is not one of Keras's"


def test_what_is_behind_an_assumption_follows_from_it() -> None:
    pool = layer("MaxPooling2D", "pool", "crop", pool_size=[2, 3])
    assert seen(document(CROP, pool), "crop=19x14x3").shape == (Open(), 9, 4, 3)


def test_an_assumption_that_contradicts_what_follows_is_refused() -> None:
    pool = layer("MaxPooling2D", "pool", "image", pool_size=[2, 3])
    with pytest.raises(UsageError, match=r"pool: 9x6x3 contradicts the 15x6x3 that follow"):
        seen(document(pool), "pool=9x6x3")


def test_an_assumption_fills_in_what_the_model_leaves_open() -> None:
    resize = layer("Lambda", "resize", "image")
    assert seen(document(resize), "Lambda=8x9x3").shape == (Open(), 8, 9, 3)


@pytest.mark.parametrize("text", ["crop", "=3x4", "crop=3x", "crop=0x4", "crop=axb", "crop=-3x4"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--assume"):
        parse_assumptions([text])


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="names 'a' twice"):
        parse_assumptions(["a=same", "a=3x4"])


def test_the_api_refuses_what_matches_no_layer(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="keras writes the file")
    model = keras.Sequential([keras.Input((31, 20, 3)), keras.layers.Conv2D(4, 3, name="conv")])
    model.save(tmp_path / "m.keras")
    with pytest.raises(UsageError, match="no layer has the name or class 'crop'"):
        padaudit.check(tmp_path / "m.keras", assume={"crop": "same"})
    sites = padaudit.check(tmp_path / "m.keras", assume={"conv": (29, 18, 4)}).sites
    assert [site.output_size for site in sites] == [(29, 18)]
