"""Ports that pad as much as they should, or not, but with another value or in another mode."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights

from padaudit.compare.align import align
from padaudit.compare.differences import differences
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.run import compare_files
from padaudit.compare.units import units_of
from padaudit.formats.shape_options import InputShapes
from padaudit.report.compare import compare_json, compare_lines
from padaudit.rewriting.run import load

RIGHT = ((2, 1), (1, 3))
OTHER = ((1, 2), (2, 2))
ZEROS = ("constant", 0.0)


def padded(pads: Any, mode: str, value: float, attribute: bool = False) -> ModelProto:
    """Return a 4 x 5 Conv with strides 2 x 1 on 13 x 12, behind a Pad or with amounts itself."""
    (top, bottom), (left, right) = pads
    settings: dict[str, Any] = {"strides": [2, 1]}
    tensors = [weights((4, 2, 4, 5)), weights((4,), "b", seed=1)]
    nodes: list[Any] = []
    if attribute:
        settings["pads"] = [top, left, bottom, right]
    else:
        amounts = np.int64([0, 0, top, left, 0, 0, bottom, right])
        tensors.append(numpy_helper.from_array(amounts, "amounts"))
        tensors.append(numpy_helper.from_array(np.float32(value), "value"))
        operands = ["x", "amounts", "value"] if mode == "constant" else ["x", "amounts"]
        nodes.append(helper.make_node("Pad", operands, ["p"], "pad", mode=mode))
    source = "x" if attribute else "p"
    nodes.append(helper.make_node("Conv", [source, "w", "b"], ["y"], "conv", **settings))
    return model(nodes, {"x": (1, 2, 13, 12)}, tensors)


def compared(folder: Path, original: ModelProto, port: ModelProto) -> Comparison:
    paths = folder / "original.onnx", folder / "port.onnx"
    for path, proto in zip(paths, (original, port), strict=True):
        path.write_bytes(proto.SerializeToString())
    return compare_files(*paths, InputShapes(), folder / "fixed.onnx")


Case = tuple[dict[str, Any], dict[str, Any]]
CASES: dict[str, Case] = {
    "zeros for a reflection": (
        {"pads": RIGHT, "mode": "constant", "value": 0.0, "attribute": True},
        {"pads": RIGHT, "mode": "reflect", "value": 0.0},
    ),
    "a value for zeros": (
        {"pads": RIGHT, "mode": "constant", "value": 0.5},
        {"pads": RIGHT, "mode": "constant", "value": 0.0},
    ),
    "a value that is nearly another": (
        {"pads": RIGHT, "mode": "constant", "value": 1.0078125},
        {"pads": RIGHT, "mode": "constant", "value": 1.0},
    ),
    "a reflection for other zeros": (
        {"pads": RIGHT, "mode": "reflect", "value": 0.0},
        {"pads": OTHER, "mode": "constant", "value": 0.0, "attribute": True},
    ),
    "edges for another reflection": (
        {"pads": RIGHT, "mode": "edge", "value": 0.0},
        {"pads": OTHER, "mode": "reflect", "value": 0.0},
    ),
    "other amounts of a reflection": (
        {"pads": RIGHT, "mode": "reflect", "value": 0.0},
        {"pads": OTHER, "mode": "reflect", "value": 0.0},
    ),
}
SLOW = ("a value for zeros", "edges for another reflection")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES]
)
def test_what_is_padded_is_named_and_corrected(case: str, tmp_path: Path) -> None:
    original, port = CASES[case]
    result = compared(tmp_path, padded(**original), padded(**port))
    assert result.status is Sameness.DIFFERENT
    assert result.after is not None and result.after.max_abs == 0
    (difference,) = json.loads(json.dumps(compare_json(result), default=str))["differences"]
    assert difference["port_pads"] == [list(pair) for pair in port["pads"]]
    assert difference["expected_pads"] == [list(pair) for pair in RIGHT]
    fills = [{"mode": item["mode"], "value": item["value"]} for item in (port, original)]
    expected = {"port": fills[0], "expected": fills[1]} if fills[0] != fills[1] else None
    assert difference["fill"] == expected
    assert {node.op_type for node in onnx.load(tmp_path / "fixed.onnx").graph.node} == (
        {"Conv"} if original.get("attribute") else {"Pad", "Conv"}
    )


def test_both_lines_say_how_it_is_padded(tmp_path: Path) -> None:
    result = compared(tmp_path, padded(RIGHT, "edge", 0.0), padded(RIGHT, "constant", 0.5))
    lines = [line.plain for line in compare_lines(result)]
    assert "  - it pads height (2, 1), width (1, 3) with 0.5" in lines
    assert "  + it should be height (2, 1), width (1, 3) with mode edge" in lines
    hint = 'x = F.pad(x, (1, 3, 2, 1), mode="replicate")'
    assert f"    in PyTorch: {hint}, then padding=0" in lines


def test_amounts_beside_the_file_are_read(tmp_path: Path) -> None:
    """onnxruntime runs no such file, but its padding is what it is."""
    proto = padded(OTHER, "constant", 0.0)
    settings = {"save_as_external_data": True, "size_threshold": 16, "location": "port.data"}
    onnx.save(proto, tmp_path / "port.onnx", **settings)
    (tmp_path / "original.onnx").write_bytes(padded(RIGHT, *ZEROS, True).SerializeToString())
    paths = tmp_path / "original.onnx", tmp_path / "port.onnx"
    alignment = align(*(units_of(load(path, InputShapes())) for path in paths))
    (item,) = differences(alignment)
    assert (item.port_pads, item.expected_pads) == (OTHER, RIGHT)
