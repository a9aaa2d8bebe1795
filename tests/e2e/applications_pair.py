"""Builds one architecture of keras.applications and its ONNX ports: a process of its own each.

``python applications_pair.py NAME FOLDER`` leaves ``model.keras``, ``padaudit.onnx`` (padaudit's
translation) and, where Keras's own export has the model's inputs, ``keras.onnx``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

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
    """Give weights values that count, and normalisations roughly the statistics of their inputs."""
    import keras

    rng = np.random.default_rng(12)
    for weight in model.weights:
        value = np.asarray(weight)
        if "layer_scale" in weight.path:
            weight.assign(rng.uniform(0.3, 0.7, value.shape))
        elif weight.path.endswith(("bias", "beta", "gamma")):
            weight.assign(value + rng.uniform(-0.2, 0.2, value.shape))
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(rng.standard_normal((2, *size, 3)).astype(np.float32), training=True)
    for layer in norms:
        layer.momentum = 0.99
        variance = np.asarray(layer.moving_variance)
        layer.moving_variance.assign(variance * rng.uniform(0.7, 1.4, variance.shape))


def main(name: str, folder: Path) -> None:
    import padaudit

    model = build(name)
    model.save(folder / "model.keras")
    padaudit.rewrite(folder / "model.keras", folder / "padaudit.onnx", verify="none")
    exported = folder / "keras.onnx"
    model.export(exported, format="onnx", verbose=False)
    if len(onnx.load(exported).graph.input) != len(model.inputs):
        # Keras makes inputs of the constants of a Normalization layer.
        exported.unlink()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
