"""Keras configs written by hand, and files that hold them without any weights."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py

Config = dict[str, Any]
Shape = Sequence[int | None]


def layer(class_name: str, name: str, **settings: Any) -> Config:
    """Return the record of a layer of Keras 3, without its calls."""
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": {"name": name, "trainable": True, "dtype": "float32", **settings},
        "registered_name": None,
    }


def wrapped(class_name: str, name: str, inner: Config, **settings: Any) -> Config:
    """Return the record of a wrapper."""
    return layer(class_name, name, layer=inner, **settings)


def tensor(source: str, shape: Shape, call: int = 0, dtype: str = "float32") -> Config:
    """Return the record of a tensor of Keras 3."""
    history = [source, call, 0]
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": list(shape), "dtype": dtype, "keras_history": history},
    }


def called(record: Config, *sources: Config) -> Config:
    """Return a record with one call for each tensor."""
    nodes = [{"args": [source], "kwargs": {}} for source in sources]
    return {**record, "name": record["config"]["name"], "inbound_nodes": nodes}


def functional(inputs: dict[str, Shape], layers: Sequence[Config], *outputs: str) -> Config:
    """Return a functional model of Keras 3."""
    images = [
        {**layer("InputLayer", name, batch_shape=list(shape)), "name": name, "inbound_nodes": []}
        for name, shape in inputs.items()
    ]
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "model",
            "trainable": True,
            "layers": [*images, *layers],
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [[name, 0, 0] for name in outputs],
        },
        "registered_name": "Functional",
    }


def sequential(shape: Shape, *layers: Config) -> Config:
    """Return a Sequential model of Keras 3."""
    image = layer("InputLayer", "image", batch_shape=list(shape))
    return {"class_name": "Sequential", "config": {"name": "line", "layers": [image, *layers]}}


def write(path: Path, config: Config, version: str = "3.10.0") -> Path:
    """Write a file that holds a definition and no weights."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": version}))
            archive.writestr("config.json", json.dumps(config))
        return path
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config)
    return path
