"""Networks of many kinds, exported with both of PyTorch's exporters: exactly what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
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

STATED = [name for name in NETS if name != "measured"]
"""Those whose amounts are all in their files."""


@pytest.mark.parametrize("name", STATED)
def test_all_wrong_layers_are_named(name: str, tmp_path: Path) -> None:
    every = list(layers(NETS[name]))
    assert_named(name, [(), every], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", STATED)
def test_each_wrong_layer_is_named(name: str, tmp_path: Path) -> None:
    assert_named(name, [[layer] for layer in layers(NETS[name])], tmp_path)


def assert_named(name: str, cases: Sequence[Collection[str]], folder: Path) -> None:
    """Compare what is wrong with what is found, without running anything."""
    kind = NETS[name]
    original = units_of(load(written(kind(), folder / "original.onnx", False), InputShapes()))
    for place, wrong in enumerate(cases):
        model = kind(wrong)
        port = units_of(load(written(model, folder / f"{place}.onnx", False), InputShapes()))
        alignment, windows = pair_unlike(align(original, port))
        assert not windows and not alignment.original and not alignment.port
        # Units of a TorchScript export have the names of their layers.
        named = {item.port.id.strip("/").split("/")[0] for item in differences(alignment)}
        assert named == really_wrong(model), wrong


@pytest.mark.slow
@pytest.mark.parametrize("exporters", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("name", NETS)
def test_naive_ports_are_corrected(name: str, exporters: tuple[bool, bool], tmp_path: Path) -> None:
    if any(exporters):
        pytest.importorskip("onnxscript", reason="onnxscript is what PyTorch's exporter needs")
    kind = NETS[name]
    wrong = kind(list(layers(kind)))
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
