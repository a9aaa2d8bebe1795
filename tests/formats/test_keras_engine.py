"""``--engine keras``: what only the model's own code knows, asked of Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from padaudit import api
from padaudit.errors import InputError, UsageError
from padaudit.formats.detect import build_graph, read_document
from padaudit.formats.keras.ask import require_trust
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open
from padaudit.ir.graph import Graph

keras = pytest.importorskip("keras", reason="keras writes and reads the models")
tf_keras = pytest.importorskip("tf_keras", reason="tf_keras writes the models of Keras 2")


def lambda_model(module: Any, path: Path) -> Path:
    """Save a model in which a Lambda, also in an inner model, crops before a convolution."""
    layers = module.layers
    inner_input = module.Input((None, None, 3))
    inner = layers.Lambda(lambda x: x[:, 3:, :-2], name="crop")(inner_input)
    inner = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(inner)
    block = module.Model(inner_input, inner, name="block")
    image = module.Input((40, 31, 3), name="image")
    cropped = layers.Lambda(lambda x: x[:, 1:], name="cut")(image)
    outputs = layers.Conv2D(5, (3, 4), strides=(2, 3), padding="same", name="last")(block(cropped))
    module.Model(image, outputs).save(path)
    return path


def asked(path: Path, **shapes: Any) -> Graph:
    """Return the graph of a file, its shapes asked of Keras."""
    return build_graph(read_document(path), InputShapes(shapes, engine="keras"))


@pytest.mark.parametrize("module", [keras, tf_keras], ids=["keras 3", "keras 2"])
def test_shapes_behind_lambdas_are_those_of_keras(module: Any, tmp_path: Path) -> None:
    path = lambda_model(module, tmp_path / "m.h5")
    graph = asked(path)
    inner = graph.nested["block"][""]
    assert graph.tensor(graph.op("block").inputs[0]).shape == (Open(), 39, 31, 3)
    assert inner.tensor(inner.op("conv").inputs[0]).shape == (Open(), 36, 29, 3)
    assert graph.tensor(graph.op("last").inputs[0]).shape == (Open(), 18, 15, 4)


def test_they_are_those_of_the_sizes_that_the_user_gives(tmp_path: Path) -> None:
    layers = keras.layers
    image = keras.Input((None, None, 3), name="image")
    cropped = layers.Lambda(lambda x: x[:, 3:, :-2], name="crop")(image)
    outputs = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(cropped)
    keras.Model(image, outputs).save(tmp_path / "m.keras")
    graph = asked(tmp_path / "m.keras", image=(1, 20, 31, 3))
    assert graph.tensor(graph.op("conv").inputs[0]).shape == (1, 17, 29, 3)


def test_it_is_refused_for_a_model_that_nobody_vouches_for() -> None:
    with pytest.raises(UsageError, match=r"runs whatever code the file holds.*--trust-model"):
        require_trust("keras", trusted=False)
    require_trust("keras", trusted=True)
    require_trust("padaudit", trusted=False)


def test_a_model_that_keras_refuses_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((9, 8, 3)), layers.Conv2D(4, 3, name="conv")])
    model.save(tmp_path / "m.keras")
    document = read_document(tmp_path / "m.keras")
    (tmp_path / "m.keras").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"Keras can't tell its shapes.*--assume"):
        build_graph(document, InputShapes(engine="keras"))


def test_the_api_asks_keras_too(tmp_path: Path) -> None:
    image = keras.Input((9, 8, 3))
    hidden = keras.layers.Lambda(lambda x: x[:, 1:, :-2])(image)
    model = keras.Model(image, keras.layers.Conv2D(4, (3, 2), (2, 3), padding="same")(hidden))
    path = tmp_path / "m.keras"
    model.save(path)
    with pytest.raises(UsageError, match=r"trust_model=True"):
        api.check(path, engine="keras")
    with pytest.raises(UsageError, match="the engine is one of padaudit, keras, not 'torch'"):
        api.check(path, engine="torch")
    with pytest.raises(UsageError, match="give a path"):
        api.check(model, engine="keras", trust_model=True)
    given = {"input_shapes": (1, 9, 8, 3)}
    (unknown,) = api.check(path, **given).sites
    (site,) = api.check(path, **given, engine="keras", trust_model=True).sites
    assert (unknown.pads, site.pads) == (None, ((0, 1), (0, 0)))
    how = {"explicit": True, "verify": "none", "engine": "keras", "trust_model": True}
    result = api.rewrite(path, **how)
    assert [edit.pads for edit in result.plan.edits] == [((0, 1), (0, 0))]
    assert result.written
