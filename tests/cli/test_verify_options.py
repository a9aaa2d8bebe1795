"""Options of verify and rewrite that make no sense together: one sentence, exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import conv_model

from padaudit.cli.app import cli
from padaudit.errors import UsageError

CONTRADICTIONS = {
    "verify m.onnx": "verify compares two models",
    "verify m.onnx m.onnx --site conv": "--site goes with --what-if",
    "verify m.onnx m.onnx --what-if lower": "--what-if takes one model",
    "verify m.onnx --site conv": "--site goes with --what-if",
    "check m.onnx --memory-limit 500": "--memory-limit goes with --impact",
    "verify m.onnx --what-if lower --rtol 0.1": "--rtol goes with two models, not with --what-if",
    "verify m.onnx --backends all --evidence e.json": "--evidence goes with two models",
    "verify m.onnx --what-if lower --evidence m.onnx": "is a model; write to another file",
    "verify m.onnx --what-if lower --backends all": "--backends excludes --what-if",
    "verify m.onnx m.onnx --rtol nan": "--rtol nan compares nothing",
    "verify m.onnx m.onnx --atol inf": "--atol inf compares nothing",
    "verify m.onnx m.onnx --input-shape 1,2,8,12": "it fixes open sizes only",
    "verify m.onnx --what-if lower --input-shape 1,2,8,12": "it fixes open sizes only",
    "verify m.onnx m.onnx --input-shape z=1,2,9,12": "the model has no input 'z'",
    "verify m.onnx m.onnx --inputs in.npz --evidence in.npz": "is what --inputs names",
    "rewrite --explicit m.onnx --inputs in.npz --evidence in.npz": "is what --inputs names",
    "rewrite --explicit m.onnx --diff --evidence e.json": "--diff proves nothing",
    "rewrite --explicit m.onnx --verify none --inputs in.npz": "which --verify none does not run",
}


@pytest.mark.parametrize("command", CONTRADICTIONS)
def test_contradictory_options(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(conv_model((9, 12), (3, 2), auto_pad="SAME_UPPER"), "m.onnx")
    np.savez("in.npz", x=np.ones((1, 2, 9, 12)))
    before = Path("in.npz").read_bytes()
    with pytest.raises(UsageError) as caught:
        cli.main(command.split(), standalone_mode=False)
    assert CONTRADICTIONS[command] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "m.onnx"]
    assert Path("in.npz").read_bytes() == before
