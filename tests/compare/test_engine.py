"""Models that Keras itself does not run are run as padaudit translates them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model

from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.formats.shape_options import InputShapes

keras = pytest.importorskip("keras", reason="keras is what does not run the model")


def test_what_keras_does_not_run_is_translated(tmp_path: Path) -> None:
    """TensorFlow refuses depthwise convolutions of unequal strides, and tf2onnx takes the first."""
    keras.utils.set_random_seed(0)
    image = keras.Input((17, 22, 3))
    depthwise = keras.layers.DepthwiseConv2D((3, 4), (2, 3), padding="same", name="uneven")
    keras.Model(image, depthwise(image)).save(tmp_path / "m.keras")
    kernel = np.ascontiguousarray(np.asarray(depthwise.kernel).transpose(2, 3, 0, 1))
    settings = {"strides": [2, 3], "pads": [1, 1, 1, 2], "group": 3}
    port = model(
        [helper.make_node("Conv", ["x", "w"], ["y"], "uneven", **settings)],
        {"x": (1, 3, 17, 22)},
        [numpy_helper.from_array(kernel, "w")],
    )
    (tmp_path / "port.onnx").write_bytes(port.SerializeToString())
    result = compare_files(tmp_path / "m.keras", tmp_path / "port.onnx", InputShapes())
    (note,) = result.notes
    assert "equal length stride" in note and note.endswith("its translation was run")
    assert "\x1b" not in note
    assert result.status is Sameness.SAME and not result.differences
