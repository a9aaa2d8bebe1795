"""Builds one architecture of keras.applications and its ONNX ports: a process of its own each.

``python applications_pair.py NAME FOLDER`` leaves ``model.keras``, ``padaudit.onnx`` (padaudit's
translation) and, where Keras itself can export, ``keras.onnx``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (96, 101)
SQUARE = (96, 96)
CLASSES = 7


def build(name: str) -> Any:
    """Return an architecture through which much of an input gets to the output."""
    import keras

    keras.utils.set_random_seed(11)
    size = SQUARE if name.startswith("NASNet") else SIZE
    made = getattr(keras.applications, name)(
        weights=None, input_shape=(*size, 3), classes=CLASSES, classifier_activation=None
    )
    _calibrate(made, size)
    return made


def _calibrate(model: Any, size: tuple[int, int]) -> None:
    """Give normalisations the statistics of their inputs, roughly, and scales values that count."""
    import keras

    rng = np.random.default_rng(12)
    layers = [layer for layer in model._flatten_layers() if not hasattr(layer, "_flatten_all")]
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(rng.uniform(-1, 1, (2, *size, 3)).astype(np.float32), training=True)
    for layer in norms:
        layer.momentum = 0.99
    for weight in model.weights:
        value = np.asarray(weight)
        if value.ndim != 1:
            continue
        if type(weight.path.split("/")[-1]) is str and "layer_scale" in weight.path:
            weight.assign(rng.uniform(0.3, 0.7, value.shape))
        elif weight.path.endswith("moving_variance"):
            weight.assign(value * rng.uniform(0.7, 1.4, value.shape) + 1e-3)
        elif weight.path.endswith(("bias", "beta", "gamma")):
            weight.assign(value + rng.uniform(-0.2, 0.2, value.shape))


def main(name: str, folder: Path) -> None:
    import padaudit

    model = build(name)
    model.save(folder / "model.keras")
    padaudit.rewrite(folder / "model.keras", folder / "padaudit.onnx", verify="none")
    try:
        model.export(folder / "keras.onnx", format="onnx", verbose=False)
    except Exception as error:
        (folder / "keras.txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
