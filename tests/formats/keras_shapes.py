"""Whole models read without Keras, next to the shapes that Keras itself has for them."""

from __future__ import annotations

import json
from typing import Any

from padaudit.formats.keras.container import KerasDocument
from padaudit.formats.keras.read import read_graph
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open, Shape, Unknown
from padaudit.ir.graph import Graph

Dims = tuple[int | None, ...]


def unrecorded(config: Any) -> Any:
    """Return a config without the shapes that Keras 3 wrote into it."""
    if isinstance(config, list):
        return [unrecorded(item) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "__keras_tensor__":
        return {**config, "config": {"keras_history": config["config"]["keras_history"]}}
    kept = {key: value for key, value in config.items() if key != "build_config"}
    return {key: unrecorded(value) for key, value in kept.items()}


def graph_of(model: Any) -> Graph:
    """Return the graph of a model, inferred from its config alone."""
    config = unrecorded(json.loads(model.to_json()))
    return read_graph(KerasDocument(None, "keras-json", config), InputShapes())


def inferred(model: Any) -> list[Dims | str]:
    """Return what is inferred of each output of a model: its shape, or why there is none."""
    graph = graph_of(model)
    infos = [graph.tensor(name) for name in graph.outputs]
    return [plain(info.shape) if info.shape is not None else str(info.cause) for info in infos]


def plain(shape: Shape) -> Dims:
    """Return a shape as Keras writes it: None for an open size."""
    assert not any(isinstance(size, Unknown) for size in shape)
    return tuple(size if isinstance(size, int) else None for size in shape)


def to_shape(dims: Dims) -> Shape:
    """Undo `plain`."""
    return tuple(Open() if size is None else size for size in dims)
