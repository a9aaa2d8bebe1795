"""A port with a wrong stride, dilation or kernel: the operator is named, and its window told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from pairs import export

from padaudit.compare.align import align
from padaudit.compare.differences import differences
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.run import compare_files
from padaudit.compare.units import units_of
from padaudit.compare.unlike import pair_unlike
from padaudit.formats.shape_options import InputShapes
from padaudit.report.compare import compare_json, compare_lines
from padaudit.rewriting.run import load

SIZE = (3, 40, 52)


class Net(nn.Module):
    """Convolutions, pools and a residual sum, each with a window of its own."""

    def __init__(self, **windows: Any) -> None:
        super().__init__()
        torch.manual_seed(7)
        right: dict[str, Any] = {"stem": 2, "wide": (1, 2), "pool": (3, 2), "mean": 3, "last": 1}
        chosen = right | windows
        self.stem = nn.Conv2d(3, 6, 3, chosen["stem"], 1)
        dilation = chosen["wide"]
        self.wide = nn.Conv2d(6, 6, 3, 1, dilation, dilation)
        self.branch = nn.Conv2d(6, 6, 3, 1, 1)
        self.pool = nn.MaxPool2d(chosen["pool"][0], chosen["pool"][1], 1)
        self.mean = nn.AvgPool2d(chosen["mean"], 1, chosen["mean"] // 2)
        self.down = nn.Conv2d(6, 6, 3, 2, chosen.get("down", 1))
        self.whole = nn.AvgPool2d((5, 7), chosen["last"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(x))
        x = functional.relu(self.wide(x)) + self.branch(x)
        return self.whole(self.down(self.mean(self.pool(x))))


CASES: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "stride": ({"stem": (2, 1)}, {"/stem/Conv"}, "stride 2x1 where 2x2 is right"),
    "dilation": ({"wide": (2, 1)}, {"/wide/Conv"}, "dilation 2x1 where 1x2 is right"),
    "kernel of a pool": ({"pool": (2, 2)}, {"/pool/MaxPool"}, "kernel 2x2 where 3x3 is right"),
    "stride of a pool": ({"pool": (3, 1)}, {"/pool/MaxPool"}, "stride 1x1 where 2x2 is right"),
    "kernel of a mean": ({"mean": 5}, {"/mean/AveragePool"}, "kernel 5x5 where 3x3 is right"),
    "two": ({"stem": 1, "pool": (3, 1)}, {"/stem/Conv", "/pool/MaxPool"}, "stride 1x1"),
    "the stride of a single window": ({"last": 5}, set(), ""),
}


def unlike(folder: Path, **windows: Any) -> Any:
    paths = export(Net(), SIZE, folder / "a.onnx"), export(Net(**windows), SIZE, folder / "b.onnx")
    return pair_unlike(align(*(units_of(load(path, InputShapes())) for path in paths)))


@pytest.mark.parametrize("case", CASES)
def test_operators_with_another_window_are_paired(case: str, tmp_path: Path) -> None:
    windows, wrong, note = CASES[case]
    alignment, found = unlike(tmp_path, **windows)
    assert {item.port.id for item in found} == wrong
    assert all(item.port.id == item.original.id for item in found)
    assert all(note in item.note for item in found)
    assert not alignment.original and not alignment.port
    assert not differences(alignment)


def compared(folder: Path, **windows: Any) -> Comparison:
    original = export(Net(), SIZE, folder / "original.onnx")
    port = export(Net(**windows), SIZE, folder / "port.onnx")
    return compare_files(original, port, InputShapes(), folder / "fixed.onnx")


def test_a_window_and_an_amount(tmp_path: Path) -> None:
    result = compared(tmp_path, wide=(2, 1), down=(2, 1))
    report = json.loads(json.dumps(compare_json(result), default=str))
    window, amount = report["differences"]
    assert report["status"] == "different" and report["aligned"] == 7
    assert report["unaligned"] == {"original": [], "port": []}
    assert window["original"] == window["port"] == "/wide/Conv"
    assert window["window"]["port"]["dilations"] == [2, 1]
    assert window["window"]["expected"]["dilations"] == [1, 2]
    assert window["not_corrected"]
    assert amount["port"] == "/down/Conv" and amount["window"] is None
    assert amount["expected_pads"] == [[1, 1], [1, 1]]
    assert "windows and paddings differ" in result.reason
    assert not (tmp_path / "fixed.onnx").exists()
    lines = [line.plain for line in compare_lines(result)]
    assert any("dilation 2x1 where 1x2 is right" in line for line in lines)


def test_a_stride_without_an_effect_is_no_difference(tmp_path: Path) -> None:
    result = compared(tmp_path, last=5)
    assert result.status is Sameness.SAME
    assert not result.windows and not result.notes and len(result.alignment.pairs) == 7
