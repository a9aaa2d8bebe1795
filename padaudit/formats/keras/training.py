"""What a model's training configuration says of its outputs, by name."""

from __future__ import annotations

import json
from typing import Any, Final

from padaudit.formats.keras.container import KerasDocument

_BY_NAME: Final = ("loss", "loss_weights", "metrics", "weighted_metrics")


def trained_outputs(document: KerasDocument) -> set[str]:
    """Return the names of outputs that losses or metrics are given for.

    Keras names an output after the layer that makes it, so that a layer put behind it would
    part it from its loss.
    """
    settings = document.config.get("compile_config") or _training_config(document) or {}
    if not isinstance(settings, dict):
        return set()
    named = (settings.get(key) for key in _BY_NAME)
    return {str(name) for value in named if isinstance(value, dict) for name in value}


def _training_config(document: KerasDocument) -> Any:
    if document.format != "keras-h5" or document.path is None:
        return None
    import h5py

    with h5py.File(document.path, "r") as file:
        text = file.attrs.get("training_config")
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return None
