"""A Keras model that tf2onnx alone gets wrong, against ONNX: judged by Keras, named by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from padaudit import api
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.evidence import Status
from padaudit.verification.pair import verify_files


def saved(path: Path) -> Path:
    """Write a grouped convolution and a transposed one whose kernel is smaller than its stride."""
    keras = pytest.importorskip("keras", reason="Keras writes and runs the model")
    pytest.importorskip("tf2onnx", reason="tf2onnx translates it")
    layers: Any = keras.layers
    image = keras.Input((9, 12, 4))
    x = layers.Conv2D(6, (3, 2), (2, 3), padding="same", groups=2, name="grouped")(image)
    x = layers.Conv2DTranspose(3, (2, 1), (3, 2), padding="same", name="up")(x)
    x = layers.Conv2D(2, (4, 3), padding="same", name="last")(x)
    model = keras.Model(image, x)
    random = np.random.default_rng(5)
    model.set_weights([random.normal(size=w.shape, scale=0.4) for w in model.get_weights()])
    model.save(path)
    return path


def moved(path: Path, target: Path, kernel: list[int]) -> Path:
    """Move one element of padding of the convolution with a kernel from behind to before."""
    model = onnx.load(path)
    shapes = {item.name: list(item.dims) for item in model.graph.initializer}
    (node,) = (
        node
        for node in model.graph.node
        if node.op_type == "Conv" and shapes[node.input[1]][2:] == kernel
    )
    (pads,) = (item for item in node.attribute if item.name == "pads")
    pads.ints[0] += 1
    pads.ints[2] -= 1
    assert pads.ints[2] >= 0
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(
    ("kernel", "name"),
    [([3, 2], "grouped"), pytest.param([4, 3], "last", marks=pytest.mark.slow)],
)
def test_the_layer_that_differs_is_named(kernel: list[int], name: str, tmp_path: Path) -> None:
    source = saved(tmp_path / "m.keras")
    result = api.rewrite(source, tmp_path / "m.onnx", style="attrs", verify="site")
    same = verify_files(source, result.target, InputShapes())
    assert same.status is Status.EQUIVALENT
    wrong = moved(result.target, tmp_path / "wrong.onnx", kernel)
    found = verify_files(source, wrong, InputShapes())
    assert (found.status, found.first_difference) == (Status.DIFFERENT, name)


def twin(path: Path, order: str, names: dict[str, str]) -> Path:
    """Write a model that subtracts what is behind two inputs, given in an order."""
    keras = pytest.importorskip("keras", reason="Keras writes and runs the model")
    layers: Any = keras.layers
    inputs = {key: keras.Input((9, 12, 4 if key == "a" else 3), name=names[key]) for key in "ab"}
    convs = [
        layers.Conv2D(2, (3, 2), (2, 3), padding="same", name=key)(inputs[key]) for key in "ab"
    ]
    model = keras.Model([inputs[key] for key in order], layers.Subtract()(convs))
    for key in "ab":
        random = np.random.default_rng(ord(key))
        layer = model.get_layer(key)
        layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
    model.save(path)
    return path


def test_inputs_go_to_their_places_in_models_of_another_order(tmp_path: Path) -> None:
    first = twin(tmp_path / "first.keras", "ab", {"a": "left", "b": "right"})
    second = twin(tmp_path / "second.keras", "ba", {"a": "left", "b": "right"})
    found = verify_files(first, second, InputShapes())
    assert (found.status, found.max_abs) == (Status.EQUIVALENT, 0.0)
