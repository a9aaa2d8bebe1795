"""Outputs that are the same whatever the inputs are: agreement on them shows nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import padaudit
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.evidence import Status
from padaudit.verification.model_level import Tolerance
from padaudit.verification.telling import DOUBT, telling
from padaudit.verification.what_if import what_if

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights

FIRST = {"strides": [2, 1], "auto_pad": "SAME_UPPER"}
SECOND = {"strides": [1, 2], "auto_pad": "SAME_UPPER"}


def saturated(path: Path, first: dict[str, Any] = FIRST, second: dict[str, Any] = SECOND) -> Path:
    """Two convolutions whose result is multiplied with zero in the end."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "one", **first),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "two", **second),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "mean"),
        helper.make_node("Mul", ["d", "zero"], ["y"], "mute"),
    ]
    tensors = [
        weights((4, 3, 3, 2)),
        weights((5, 4, 2, 3), "w2", seed=1),
        onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32), "zero"),
    ]
    onnx.save(model(nodes, {"x": (1, 3, 10, 13)}, tensors, opset=17), path)
    return path


def test_models_whose_outputs_say_nothing_are_compared_inside(tmp_path: Path) -> None:
    source = saturated(tmp_path / "a.onnx")
    # Height 10, kernel 3, stride 2: 0 and 1; width 13, kernel 2, stride 1: 0 and 1.
    explicit = {"strides": [2, 1], "pads": [0, 0, 1, 1]}
    found = padaudit.verify(source, saturated(tmp_path / "b.onnx", explicit))
    assert (found.status, found.not_covered) == (Status.EQUIVALENT, ())
    assert found.evidence[0].counts["operators"] == 2


@pytest.mark.parametrize("wrong", [[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
def test_a_difference_that_no_output_shows_is_no_proof(wrong: list[int], tmp_path: Path) -> None:
    source = saturated(tmp_path / "a.onnx")
    other = saturated(tmp_path / "b.onnx", {"strides": [2, 1], "pads": wrong})
    found = padaudit.verify(source, other)
    assert (found.status, found.first_difference) == (Status.UNVERIFIED, "one")
    assert "do not change with the inputs" in found.reason
    assert found.error_map is not None


def test_a_difference_behind_the_first_operator_is_named(tmp_path: Path) -> None:
    source = saturated(tmp_path / "a.onnx")
    other = saturated(tmp_path / "b.onnx", second={"strides": [1, 2], "pads": [1, 1, 0, 1]})
    found = padaudit.verify(source, other)
    assert (found.status, found.first_difference) == (Status.UNVERIFIED, "two")


def test_a_rewrite_of_such_a_model_is_compared_inside(tmp_path: Path) -> None:
    result = padaudit.rewrite(saturated(tmp_path / "a.onnx"), tmp_path / "out.onnx")
    assert result.verification.status is Status.EQUIVALENT
    assert result.verification.not_covered == ()
    (level,) = (item for item in result.verification.evidence if item.level == "model")
    assert level.counts["operators"] == 2


def test_what_it_would_cost_is_said_not_to_show(tmp_path: Path) -> None:
    found = what_if(saturated(tmp_path / "a.onnx"), "symmetric", InputShapes())
    assert [cost.max_abs for cost in found.costs] == [0.0] * 3
    assert not found.telling


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([[1.0, 2.0], [1.0, 2.0]], False),
        ([[1.0, 2.0], [1.0, 2.1]], True),
        ([[1.0, 2.0], [1.0, 2.0 + 1e-7]], False),
        ([[np.nan, 2.0], [np.nan, 2.0]], False),
        ([[np.nan, 2.0], [1.0, 2.0]], True),
        ([[1.0, 2.0]], True),
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], True),
    ],
)
def test_what_is_telling(runs: list[list[float]], expected: bool) -> None:
    arrays = [[np.array(values, np.float32)] for values in runs]
    assert telling(arrays, Tolerance()) is expected


def test_a_tolerance_can_hide_what_outputs_tell() -> None:
    runs = [[np.float32([1.0, 2.0])], [np.float32([1.0, 2.001])]]
    assert telling(runs, Tolerance())
    assert not telling(runs, Tolerance(1e-2, scaled=True))


def test_one_output_that_tells_is_enough() -> None:
    anchors = np.arange(4)
    runs = [[anchors, np.float32([value])] for value in (0.1, 0.2)]
    assert telling(runs, Tolerance())
    assert not telling([values[:1] for values in runs], Tolerance())
    assert not telling([None, runs[0], runs[0]], Tolerance())
    assert "do not change" in DOUBT
