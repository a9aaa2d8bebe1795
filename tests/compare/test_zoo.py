"""Networks of many kinds, exported with both of PyTorch's exporters: exactly what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from zoo import NETS, layers, really_wrong, written

from padaudit.compare.align import align
from padaudit.compare.differences import differences
from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.compare.units import units_of
from padaudit.compare.unlike import pair_unlike
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load


@pytest.mark.parametrize("name", [name for name in NETS if name != "measured"])
def test_each_wrong_layer_is_named(name: str, tmp_path: Path) -> None:
    """One at a time, and all together, without running anything."""
    kind = NETS[name]
    original = units_of(load(written(kind(), tmp_path / "original.onnx", False), InputShapes()))
    every = list(layers(kind))
    for place, wrong in enumerate([*([layer] for layer in every), every]):
        model = kind(wrong)
        port = units_of(load(written(model, tmp_path / f"{place}.onnx", False), InputShapes()))
        alignment, windows = pair_unlike(align(original, port))
        assert not windows and not alignment.original and not alignment.port
        # Units of a TorchScript export have the names of their layers.
        named = {item.port.id.strip("/").split("/")[0] for item in differences(alignment)}
        assert named == really_wrong(model), wrong


@pytest.mark.slow
@pytest.mark.parametrize("exporters", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("name", NETS)
def test_naive_ports_are_corrected(name: str, exporters: tuple[bool, bool], tmp_path: Path) -> None:
    kind = NETS[name]
    every = list(layers(kind))
    wrong = kind(every)
    original = written(kind(), tmp_path / "original.onnx", exporters[0])
    right = written(kind(), tmp_path / "right.onnx", exporters[1])
    port = written(wrong, tmp_path / "port.onnx", exporters[1])
    same = compare_files(original, right, InputShapes())
    assert same.status is Sameness.SAME and not same.differences and not same.windows
    result = compare_files(original, port, InputShapes(), tmp_path / "fixed.onnx")
    print(name, exporters, len(result.alignment.pairs), len(result.differences), result.after)
    assert len(result.differences) == len(really_wrong(wrong))
    assert result.fixed is not None, (result.reason, result.unfixed)
    assert compare_files(original, result.fixed, InputShapes()).status is Sameness.SAME
