"""Models of open sizes that do not run at every size: skip connections, frames of sound."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import padaudit
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.evidence import Status
from padaudit.verification.what_if import what_if

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights


def with_skip(path: Path) -> Path:
    """A pool, an enlargement and a skip connection around them: even sizes only."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "first", auto_pad="SAME_UPPER"),
        helper.make_node("MaxPool", ["a"], ["b"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["b", "", "twice"], ["c"], "up"),
        helper.make_node("Concat", ["a", "c"], ["d"], "skip", axis=1),
        helper.make_node("Conv", ["d", "w2"], ["y"], "last", auto_pad="SAME_UPPER"),
    ]
    tensors = [
        weights((4, 3, 3, 2)),
        weights((5, 8, 2, 3), "w2", seed=1),
        numpy_helper.from_array(np.float32([1, 1, 2, 2]), "twice"),
    ]
    onnx.save(model(nodes, {"x": (1, 3, "H", "W")}, tensors, opset=17), path)
    return path


def of_sound(path: Path) -> Path:
    """A convolution behind a reflection of 100 samples: at least 101 are needed."""
    nodes = [
        helper.make_node("Pad", ["x", "edges"], ["a"], "reflect", mode="reflect"),
        helper.make_node("Conv", ["a", "w"], ["y"], "conv", auto_pad="SAME_UPPER", strides=[1]),
    ]
    tensors = [
        weights((4, 2, 4)),
        numpy_helper.from_array(np.int64([0, 0, 100, 0, 0, 100]), "edges"),
    ]
    onnx.save(model(nodes, {"x": (1, 2, "samples")}, tensors, opset=17), path)
    return path


@pytest.mark.parametrize("make", [with_skip, of_sound])
def test_a_model_is_run_at_sizes_that_it_takes(make: object, tmp_path: Path) -> None:
    source = make(tmp_path / "a.onnx")  # type: ignore[operator]
    result = padaudit.rewrite(source, tmp_path / "b.onnx")
    assert result.verification.status is Status.EQUIVALENT
    assert "model" in {item.level for item in result.verification.evidence}
    assert result.verification.not_covered == ()
    assert padaudit.verify(source, result.target).status is Status.EQUIVALENT
    found = what_if(source, "symmetric", InputShapes())
    assert found.telling
    assert found.costs[0].max_abs > 0


def test_a_model_that_runs_at_no_size_says_why_at_the_first(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["a"], "never"),
        helper.make_node("Conv", ["a", "w"], ["y"], "conv", auto_pad="SAME_UPPER"),
    ]
    tensors = [weights((4, 7, 3, 2)), numpy_helper.from_array(np.int64([1, 7, 11, 13]), "shape")]
    onnx.save(model(nodes, {"x": (1, 3, "H", "W")}, tensors, opset=17), tmp_path / "a.onnx")
    result = padaudit.rewrite(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert result.verification.status is Status.EQUIVALENT
    assert {item.level for item in result.verification.evidence} == {"definition", "site"}
    assert any("32" in reason for reason in result.verification.not_covered)
