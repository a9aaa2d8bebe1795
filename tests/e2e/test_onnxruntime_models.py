"""Models that onnxruntime's own optimizer and quantizer write: FusedConv, QLinearConv, NHWC."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import padaudit
from padaudit.verification.evidence import Status

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights

SHAPE = (1, 3, 33, 46)
TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
FORMATS = {"qdq": QuantFormat.QDQ, "operators": QuantFormat.QOperator}


def network() -> ModelProto:
    """Return convolutions, plain and grouped, and both pools, all with auto_pad."""
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", "b"], ["c1"], "c1", strides=[2, 3], auto_pad="SAME_UPPER"
        ),
        helper.make_node("Relu", ["c1"], ["r1"], "r1"),
        helper.make_node(
            "MaxPool",
            ["r1"],
            ["p1"],
            "max",
            kernel_shape=[3, 2],
            strides=[2, 1],
            auto_pad="SAME_LOWER",
        ),
        helper.make_node(
            "Conv",
            ["p1", "w2", "b2"],
            ["c2"],
            "c2",
            strides=[1, 2],
            auto_pad="SAME_UPPER",
            group=4,
        ),
        helper.make_node("Relu", ["c2"], ["r2"], "r2"),
        helper.make_node(
            "AveragePool",
            ["r2"],
            ["p2"],
            "average",
            kernel_shape=[3, 2],
            strides=[2, 2],
            auto_pad="SAME_UPPER",
        ),
        helper.make_node("Conv", ["p2", "w3"], ["y"], "c3", auto_pad="SAME_UPPER"),
    ]
    tensors = [
        weights((8, 3, 3, 4)),
        weights((8,), "b", seed=1),
        weights((8, 2, 3, 5), "w2", seed=2),
        weights((8,), "b2", seed=3),
        weights((4, 8, 2, 3), "w3", seed=4),
    ]
    return model(nodes, {"x": SHAPE}, tensors, opset=15)


class Readings(CalibrationDataReader):  # type: ignore[misc]
    """Data to calibrate quantisation with."""

    def __init__(self) -> None:
        generator = np.random.default_rng(7)
        data = ({"x": generator.normal(size=SHAPE).astype(np.float32)} for _ in range(3))
        self.data: Iterator[dict[str, Any]] = iter(data)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.data, None)


def optimized(source: Path, target: Path, level: str) -> Path:
    """Let onnxruntime write the model as it would run it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return target


def quantized(folder: Path, form: str, dtype: str) -> Path:
    source, target = folder / "float.onnx", folder / f"{form}-{dtype}.onnx"
    onnx.save(network(), source)
    quantize_static(
        str(source),
        str(target),
        Readings(),
        quant_format=FORMATS[form],
        activation_type=TYPES[dtype],
        weight_type=QuantType.QInt8,
    )
    return target


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def assert_explicit(path: Path, folder: Path, style: str) -> Path:
    """Rewrite a model; all five sites must be explicit, and proven whole."""
    result = padaudit.rewrite(path, folder / "explicit.onnx", style=style)
    assert len(result.plan.edits) == 5
    assert not result.plan.kept
    assert all(edit.pads is not None for edit in result.plan.edits)
    assert result.verification.status is Status.EQUIVALENT
    assert {item.level for item in result.verification.evidence} >= {"site", "model"}
    return result.target


STYLES = ("auto", "pad", "attrs")


@pytest.mark.parametrize("style", STYLES)
def test_an_optimized_model(style: str, tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "float.onnx")
    path = optimized(tmp_path / "float.onnx", tmp_path / "fused.onnx", "ORT_ENABLE_EXTENDED")
    assert kinds(path)["FusedConv"] == 2
    assert_explicit(path, tmp_path, style)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_quantized_model(form: str, dtype: str, style: str, tmp_path: Path) -> None:
    path = quantized(tmp_path, form, dtype)
    explicit = assert_explicit(path, tmp_path, style)
    run_as = optimized(explicit, tmp_path / "run.onnx", "ORT_ENABLE_ALL")
    assert kinds(run_as)["QLinearConv"] == 3
    assert kinds(run_as)["Conv"] == 0


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_quantized_model_with_channels_last(form: str, dtype: str, tmp_path: Path) -> None:
    path = optimized(quantized(tmp_path, form, dtype), tmp_path / "nhwc.onnx", "ORT_ENABLE_ALL")
    assert {"NhwcMaxPool", "QLinearAveragePool", "QLinearConv"} <= set(kinds(path))
    for style in STYLES:
        assert_explicit(path, tmp_path, style)
