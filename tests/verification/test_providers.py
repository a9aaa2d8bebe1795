"""Whole models on another execution provider than the CPU's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import conv_model

from padaudit.cli.app import cli
from padaudit.errors import UsageError
from padaudit.verification.model_level import OTHER_RTOL, Tolerance, on_provider
from padaudit.verification.providers import CPU, in_use, resolved, short, using
from padaudit.verification.runner import Job, available_providers, run
from padaudit.verification.worker import _where

OTHERS = [name for name in available_providers()[1] if name != CPU]
another = pytest.mark.skipif(not OTHERS, reason="this onnxruntime has the CPU's provider only")


def padaudit(*arguments: str) -> Any:
    return cli.main(list(arguments), standalone_mode=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(conv_model((9, 12), (3, 2), strides=[2, 3], auto_pad="SAME_UPPER"), path)
    return path


def test_names_are_taken_short_or_whole_in_any_case() -> None:
    assert resolved("cpu") == resolved("CPUExecutionProvider") == resolved("CPU") == CPU
    for name in OTHERS:
        assert resolved(name) == resolved(short(name).lower()) == resolved(name.upper()) == name


def test_a_provider_that_is_missing_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"--provider nope: onnxruntime [\d.]+ has no .*; it has "):
        resolved("nope")
    with pytest.raises(UsageError) as caught, using("nope"):
        pass
    assert str(caught.value).endswith("it has " + ", ".join(available_providers()[1]))
    assert in_use() == CPU


@pytest.mark.parametrize(
    "command",
    [
        ["rewrite", "--explicit", "a.onnx"],
        ["verify", "a.onnx", "b.onnx"],
        ["verify", "a.onnx", "--what-if", "lower"],
        ["compare", "a.onnx", "b.onnx"],
    ],
    ids=" ".join,
)
def test_that_is_said_before_a_file_is_looked_at(command: list[str]) -> None:
    with pytest.raises(UsageError, match="no such execution provider"):
        padaudit(*command, "--provider", "nope")


@another
def test_the_evidence_tells_which_provider_ran_which_level(model: Path, tmp_path: Path) -> None:
    trail = tmp_path / "trail.json"
    target = tmp_path / "out.onnx"
    arguments = ["--provider", short(OTHERS[0]).lower(), "--evidence", str(trail)]
    assert padaudit("rewrite", "--explicit", str(model), "-o", str(target), *arguments) == 0
    told = json.loads(trail.read_text())
    levels = {item["level"]: item for item in told["verification"]["evidence"]}
    assert levels["site"]["runtime"].endswith(" CPU")
    assert f" {short(OTHERS[0])}" in levels["model"]["runtime"]
    assert levels["model"]["setup"]["provider"] == OTHERS[0]
    assert levels["model"]["setup"]["tolerance"]["rtol"] == OTHER_RTOL
    assert told["options"]["provider"] == short(OTHERS[0]).lower()


@another
def test_what_a_provider_leaves_to_the_cpu_is_told(model: Path) -> None:
    feed = {"x": np.ones((1, 2, 9, 12), np.float32)}
    plain, other = run([Job(model, (feed,))])[0], run([Job(model, (feed,))], provider=OTHERS[0])[0]
    assert plain.outputs is not None
    assert other.outputs is not None, other.error
    np.testing.assert_allclose(other.outputs[0][0], plain.outputs[0][0], rtol=OTHER_RTOL)
    if OTHERS[0] == "AzureExecutionProvider":
        assert other.runtime.endswith("Azure, which took no operator of it: all ran on the CPU")


def test_a_profile_tells_what_ran_where(tmp_path: Path) -> None:
    def kernels(*ran: tuple[str, str]) -> Path:
        path = tmp_path / "profile.json"
        events = [
            {"cat": "Node", "name": name, "args": {"provider": f"{who}ExecutionProvider"}}
            for name, who in ran * 2  # two runs
        ]
        path.write_text(json.dumps([{"cat": "Session", "name": "load", "args": {}}, *events]))
        return path

    cuda = "CUDAExecutionProvider"
    assert _where(cuda, kernels(("a", "CUDA"), ("b", "CUDA"))) == "CUDA"
    assert _where(cuda, kernels(("a", "CUDA"), ("b", "CPU"))) == "CUDA, with 1 operator on the CPU"
    assert "took no operator" in _where(cuda, kernels(("a", "CPU")))
    assert not (tmp_path / "profile.json").exists()


@another
def test_whole_models_are_compared_less_strictly_there() -> None:
    assert on_provider(Tolerance()) == Tolerance()
    with using(OTHERS[0]):
        assert on_provider(Tolerance()) == Tolerance(OTHER_RTOL, scaled=True)
        assert on_provider(Tolerance(0.5, 2.0)) == Tolerance(0.5, 2.0)
    assert in_use() == CPU


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["check", "m.onnx", "--provider", "cuda"], "goes with --impact"),
        (
            ["rewrite", "--explicit", "m.onnx", "--verify", "site", "--provider", "cuda"],
            "which --verify site does not run",
        ),
        (
            ["verify", "m.keras", "--backends", "all", "--provider", "cuda"],
            "goes with two models, not with --backends",
        ),
    ],
    ids=["check", "sites alone", "backends"],
)
def test_where_no_provider_runs_anything_the_option_is_refused(
    command: list[str], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        padaudit(*command)
