"""Keras models in memory: rebuilt from an edited config."""

from __future__ import annotations

import json
from typing import Any, TypeVar

_Model = TypeVar("_Model")


def rebuilt(model: _Model, config: dict[str, Any]) -> _Model:
    """Return a new model of an edited config, with the weights of the given one.

    Weights are taken over by the path of the layer's names, so their order does not matter.

    Parameters
    ----------
    model : keras.Model
        The model that the config was made from.
    config : dict
        Its config with layers added or changed; names are kept.
    """
    import keras

    new = keras.models.model_from_json(json.dumps(config))
    old_layers = dict(_layers(model))
    for path, layer in _layers(new):
        if path in old_layers:
            layer.set_weights(old_layers[path].get_weights())
    if getattr(model, "compiled", False):
        new.compile_from_config(model.get_compile_config())  # type: ignore[attr-defined]
    return new  # type: ignore[no-any-return]


def _layers(model: Any, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for layer in model.layers:
        path = (*prefix, layer.name)
        found += _layers(layer, path) if getattr(layer, "layers", None) else [(path, layer)]
    return found
