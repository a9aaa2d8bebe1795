"""Constant amounts in a port whose original pads by a size that is open."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import conv_model

from padaudit.compare.align import align
from padaudit.compare.differences import PaddingDifference, difference, differences
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.units import units_of
from padaudit.formats.shape_options import InputShapes
from padaudit.report.compare import compare_json, compare_lines
from padaudit.rewriting.run import load

WINDOW = (3, 4)
STRIDES = [2, 3]


def found(folder: Path, original: dict[str, Any], port: dict[str, Any]) -> Comparison:
    """Return what differs between convolutions of open height and width."""
    units = []
    for name, settings in (("original", original), ("port", port)):
        proto = conv_model(("H", "W"), WINDOW, strides=STRIDES, **settings)
        (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
        units.append(units_of(load(folder / f"{name}.onnx", InputShapes())))
    alignment = align(*units)
    paths = folder / "original.onnx", folder / "port.onnx"
    return Comparison(*paths, Sameness.DIFFERENT, alignment, differences(alignment))


def only(result: Comparison) -> PaddingDifference:
    (item,) = result.differences
    return item


def test_what_the_port_pads_is_said(tmp_path: Path) -> None:
    """Of 3 by 2, "same" is (0, 1) or (1, 1); of 4 by 3, it is (0, 1), (1, 2) or (1, 1)."""
    result = found(tmp_path, {"auto_pad": "SAME_UPPER"}, {"pads": [0, 1, 1, 2]})
    item = only(result)
    assert (item.port_pads, item.expected_pads) == (((0, 1), (1, 2)), None)
    assert "only where height % 2 = 0 and width % 3 = 1 or 2;" in item.note
    (report,) = json.loads(json.dumps(compare_json(result)))["differences"]
    assert report["port_pads"] == [[0, 1], [1, 2]] and report["expected_pads"] is None
    assert report["by_remainder"]["port"] == [[[0, 1]], [[1, 2]]]
    cases = [[[0, 1], [1, 1]], [[0, 1], [1, 2], [1, 1]]]
    assert report["by_remainder"]["expected"] == cases
    lines = [line.plain for line in compare_lines(result)]
    assert "  - it pads height (0, 1), width (1, 2)" in lines
    assert any("F.pad by (total // 2, total - total // 2) per axis" in line for line in lines)


def test_amounts_that_are_right_at_no_size(tmp_path: Path) -> None:
    item = only(found(tmp_path, {"auto_pad": "SAME_LOWER"}, {"pads": [2, 0, 0, 1]}))
    assert "right at no size" in item.note


def test_amounts_that_last_are_given(tmp_path: Path) -> None:
    """A port by size whose original has constants is told these."""
    item = only(found(tmp_path, {"pads": [0, 1, 1, 2]}, {"auto_pad": "SAME_UPPER"}))
    assert item.port_pads is None and item.expected_pads == ((0, 1), (1, 2))


@pytest.mark.parametrize("height", range(12, 18))
@pytest.mark.parametrize("width", range(12, 18))
def test_where_a_port_is_right_nothing_differs(height: int, width: int, tmp_path: Path) -> None:
    """The note, against the same networks of a fixed size."""
    paths = []
    for name, settings in (
        ("original", {"auto_pad": "SAME_UPPER"}),
        ("port", {"pads": [0, 1, 1, 2]}),
    ):
        paths.append(tmp_path / f"{name}.onnx")
        proto = conv_model((height, width), WINDOW, strides=STRIDES, **settings)
        paths[-1].write_bytes(proto.SerializeToString())
    (ours,), (theirs,) = (units_of(load(path, InputShapes())) for path in paths)
    right = height % 2 == 0 and width % 3 in (1, 2)
    assert (difference(ours, theirs) is None) == right
