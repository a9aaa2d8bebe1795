"""Models that draw random numbers are neither equivalent nor different: the verdict says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.errors import InputError
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.run import rewrite_file
from padaudit.verification.evidence import Status
from padaudit.verification.pair import verify_files
from padaudit.verification.unsteady import unsteady
from padaudit.verification.what_if import what_if

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights

SAME = {"auto_pad": "SAME_UPPER"}
RIGHT, WRONG = {"pads": [0, 1, 1, 2]}, {"pads": [1, 1, 0, 2]}
NOISE: dict[str, list[NodeProto]] = {
    "RandomNormalLike": [
        helper.make_node("RandomNormalLike", ["c"], ["n"], "noise"),
        helper.make_node("Add", ["c", "n"], ["z"]),
    ],
    "Dropout": [helper.make_node("Dropout", ["c", "ratio", "training"], ["z"], "noise")],
    "Bernoulli": [
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Bernoulli", ["s"], ["z"], "noise"),
    ],
}


def noisy(path: Path, kind: str, both: bool = False, **how: Any) -> Path:
    """Write a convolution behind which random numbers are drawn, with its plain output or not."""
    conv = helper.make_node("Conv", ["x", "w"], ["c"], "conv", strides=[2, 1], **how)
    stored = [weights((4, 2, 3, 4))]
    if kind == "Dropout":
        stored.append(numpy_helper.from_array(np.float32(0.5), "ratio"))
        stored.append(numpy_helper.from_array(np.bool_(True), "training"))
    outputs = ("c", "z") if both else ("z",)
    made = model([conv, *NOISE[kind]], {"x": (1, 2, 8, 9)}, stored, outputs=outputs)
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("kind", NOISE)
def test_a_random_model_is_not_verified(kind: str, tmp_path: Path) -> None:
    path = noisy(tmp_path / "m.onnx", kind, **SAME)
    verdict = verify_files(path, path, InputShapes())
    assert verdict.status is Status.UNVERIFIED
    assert "not deterministic" in verdict.reason and "'noise'" in verdict.reason


@pytest.mark.parametrize(("how", "status"), [(RIGHT, Status.UNVERIFIED), (WRONG, Status.DIFFERENT)])
def test_its_other_outputs_still_tell(how: dict[str, Any], status: Status, tmp_path: Path) -> None:
    first = noisy(tmp_path / "a.onnx", "RandomNormalLike", both=True, **SAME)
    second = noisy(tmp_path / "b.onnx", "RandomNormalLike", both=True, **how)
    verdict = verify_files(first, second, InputShapes())
    assert verdict.status is status
    assert verdict.first_difference == ("conv" if status is Status.DIFFERENT else None)


@pytest.mark.parametrize("verify", ["auto", "model"])
def test_a_rewrite_of_it_rests_on_its_sites(verify: str, tmp_path: Path) -> None:
    source, target = noisy(tmp_path / "m.onnx", "Dropout", **SAME), tmp_path / "out.onnx"
    result = rewrite_file(source, target, Options(verify=verify))
    proven = verify == "auto"
    assert result.written is proven
    status = Status.EQUIVALENT if proven else Status.UNVERIFIED
    assert result.verification.status is status
    assert any("not deterministic" in item for item in result.verification.not_covered)


@pytest.mark.parametrize(
    ("how", "status"), [(RIGHT, Sameness.UNVERIFIED), (WRONG, Sameness.DIFFERENT)]
)
def test_a_port_of_it_is_judged_by_its_padding(
    how: dict[str, Any], status: Sameness, tmp_path: Path
) -> None:
    original = noisy(tmp_path / "a.onnx", "RandomNormalLike", **SAME)
    result = compare_files(original, noisy(tmp_path / "b.onnx", "Dropout", **how), InputShapes())
    assert result.status is status
    assert "not deterministic" in result.reason


def test_what_padding_costs_it_is_not_told(tmp_path: Path) -> None:
    path = noisy(tmp_path / "m.onnx", "Bernoulli", **SAME)
    with pytest.raises(InputError, match=r"not deterministic.*'noise'"):
        what_if(path, "symmetric", InputShapes())


def test_roundings_are_no_random_numbers() -> None:
    values = np.float32([[1.0, 1e-3]])
    assert unsteady([[values, values]], [[values + np.float32(1e-7), values * 2]]) == {1}
    assert unsteady([None, [values]], [[values], None]) == set()
