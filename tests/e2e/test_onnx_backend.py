"""The ONNX backend tests that the onnx package ships: audited, rewritten, run on their data."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import onnxruntime
import pytest
from onnx.backend.test.loader import load_model_tests

import padaudit
from padaudit.verification.evidence import Status

DATA = Path(onnx.backend.test.__file__).parent / "data"
LIGHT = sorted((DATA / "light").glob("*.onnx"))


def node_cases() -> list[Any]:
    """Return every node test of the package that carries a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in load_model_tests(kind="node") if case.model is not None]


def test_every_node_test_is_audited_without_error() -> None:
    cases = node_cases()
    reports = {case.name: padaudit.check(case.model) for case in cases}
    implicit = {name for name, report in reports.items() if report.implicit}
    assert len(reports) > 1000
    assert implicit == {
        "test_averagepool_2d_precomputed_same_upper",
        "test_averagepool_2d_same_lower",
        "test_averagepool_2d_same_upper",
        "test_conv_with_autopad_same",
        "test_convtranspose_autopad_same",
        "test_lppool_2d_same_lower",
        "test_lppool_2d_same_upper",
        "test_maxpool_2d_precomputed_same_upper",
        "test_maxpool_2d_same_lower",
        "test_maxpool_2d_same_upper",
    }


@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_the_rewritten_convolution_passes_its_test_data(style: str) -> None:
    case = next(case for case in node_cases() if case.name == "test_conv_with_autopad_same")
    rewritten = padaudit.explicit(case.model, style=style)
    types = [node.op_type for node in rewritten.graph.node]
    assert types == (["Pad", "Conv"] if style == "pad" else ["Conv"])
    session = onnxruntime.InferenceSession(rewritten.SerializeToString())
    names = [value.name for value in rewritten.graph.input]
    for inputs, outputs in case.data_sets:
        got = session.run(None, dict(zip(names, inputs, strict=True)))
        np.testing.assert_allclose(got[0], outputs[0], rtol=case.rtol, atol=case.atol)


def test_every_shipped_model_file_is_audited_without_error() -> None:
    files = sorted(DATA.rglob("*.onnx"))
    reports = [padaudit.check(path) for path in files]
    assert len(reports) > 100
    assert sum(len(report.sites) for report in reports) > 400


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_networks_are_known_throughout(path: Path) -> None:
    report = padaudit.check(path)
    assert report.sites
    assert all(isinstance(size, int) for site in report.sites for size in site.input_size)
    assert not [finding for finding in report.findings if finding.rule == "PAD001"]


def test_a_network_with_nothing_to_do_is_copied_byte_for_byte(tmp_path: Path) -> None:
    target = tmp_path / "copy.onnx"
    result = padaudit.rewrite(LIGHT[0], target)
    assert result.verification.status is Status.EQUIVALENT
    assert target.read_bytes() == LIGHT[0].read_bytes()
