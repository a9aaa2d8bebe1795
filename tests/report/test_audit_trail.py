"""The audit trail: what it holds is true, and it is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from padaudit import __version__
from padaudit.cli.app import cli
from padaudit.errors import InputError, UsageError
from padaudit.report.audit_trail import write_evidence

WEIGHTS = np.random.default_rng(3).standard_normal((4, 3, 3, 5)).astype(np.float32)


def model(path: Path, external: bool = False, **how: Any) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c", strides=[2, 3], **how)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 10, 13])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if external:
        convert_model_to_external_data(proto, location="w.bin", size_threshold=0)
    onnx.save(proto, path)
    return path


def main(arguments: list[str]) -> Any:
    """Run a command; its exit code."""
    return cli.main(arguments, standalone_mode=False)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def told(path: Path) -> dict[str, Any]:
    trail: dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert trail["schema"] == "padaudit.evidence/1"
    return trail


@pytest.mark.parametrize("external", [False, True])
def test_a_rewrite_is_told_with_hashes_versions_and_figures(external: bool, tmp_path: Path) -> None:
    source = model(tmp_path / "m.onnx", external, auto_pad="SAME_UPPER")
    out, trail_file = tmp_path / "out.onnx", tmp_path / "proof.json"
    arguments = ["rewrite", "--explicit", str(source), "-o", str(out), "--memory-limit", "4096"]
    assert main([*arguments, "--evidence", str(trail_file)]) == 0
    trail = told(trail_file)
    assert trail["models"]["input"]["sha256"] == digest(source)
    assert trail["models"]["output"]["sha256"] == digest(out)
    data = trail["models"]["input"]["external_data"]
    assert [item["sha256"] for item in data] == ([digest(tmp_path / "w.bin")] if external else [])
    assert trail["versions"] == {
        "padaudit": __version__,
        **{name: metadata.version(name) for name in ("numpy", "onnx", "onnxruntime", "h5py")},
    }
    assert trail["platform"]["python"] == platform.python_version()
    assert trail["options"]["memory_limit"] == 4096
    assert trail["written"] is True
    assert [item["site"] for item in trail["rewritten"]] == ["c"]
    levels = {item["level"]: item for item in trail["verification"]["evidence"]}
    form = levels["site"]["setup"]["forms"][0]
    assert form["in_model"] == {"input_size": [10, 13], "group": 1}
    assert form["input_shapes"] == [[2, 2, 10, 13]]
    shapes = levels["model"]["setup"]["input_shapes"]
    assert shapes == [{"x": ["float32", 1, 3, 10, 13]}, {"x": ["float32", 2, 3, 10, 13]}]
    assert levels["model"]["setup"]["tolerance"]["rtol"] == 0
    assert set(trail["inputs"]["kinds"]) == {"random", "border", "constant"}


def test_a_model_that_was_replaced_is_told_as_it_was(tmp_path: Path) -> None:
    source = model(tmp_path / "m.onnx", auto_pad="SAME_UPPER")
    before, trail_file = digest(source), tmp_path / "proof.json"
    arguments = ["rewrite", "--explicit", "--in-place", "--verify", "site", str(source)]
    assert main([*arguments, "--evidence", str(trail_file)]) == 0
    models = told(trail_file)["models"]
    assert models["input"]["sha256"] == before
    assert models["output"]["sha256"] == digest(source) != before


def test_a_difference_is_told_with_its_place_and_the_users_inputs(tmp_path: Path) -> None:
    first = model(tmp_path / "a.onnx", auto_pad="SAME_UPPER")
    second = model(tmp_path / "b.onnx", pads=[1, 2, 0, 2])
    inputs = tmp_path / "in.npz"
    np.savez(inputs, x=np.random.default_rng(1).random((5, 3, 10, 13), np.float32))
    trail_file = tmp_path / "proof.json"
    arguments = ["verify", str(first), str(second), "--inputs", str(inputs)]
    assert main([*arguments, "--evidence", str(trail_file)]) == 1
    trail = told(trail_file)
    assert trail["verification"]["status"] == "different"
    assert trail["verification"]["first_difference"] == "c"
    assert trail["verification"]["error_map"]["shape"] == [5, 4, 5, 5]
    assert trail["inputs"]["file"]["sha256"] == digest(inputs)
    assert trail["models"]["b"]["sha256"] == digest(second)


def test_what_was_not_written_has_no_hash(tmp_path: Path) -> None:
    sequence = helper.make_sequence_type_proto(
        helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 3, 10, 13])
    )
    nodes = [
        helper.make_node("SequenceAt", ["s", "zero"], ["x"]),
        helper.make_node("Conv", ["x", "w"], ["y"], name="c", auto_pad="SAME_UPPER"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_value_info("s", sequence)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.array(0), "zero")],
    )
    opsets = [helper.make_opsetid("", 17)]
    source = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), source)
    trail_file = tmp_path / "proof.json"
    arguments = ["rewrite", "--explicit", "--verify", "model", str(source)]
    assert main([*arguments, "--evidence", str(trail_file)]) == 1
    trail = told(trail_file)
    assert trail["written"] is False
    assert trail["models"]["output"] is None
    assert trail["verification"]["status"] == "unverified"
    assert any("'s' is a sequence" in text for text in trail["verification"]["not_covered"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing/proof.json", "there is no folder"), ("m.onnx", "is a model"), (".", "is a folder")],
)
def test_a_place_that_can_not_be_written_is_refused_before_anything_runs(
    name: str, reason: str, tmp_path: Path
) -> None:
    source = model(tmp_path / "m.onnx", auto_pad="SAME_UPPER")
    before = digest(source)
    arguments = ["rewrite", "--explicit", str(source), "--evidence", str(tmp_path / name)]
    with pytest.raises(UsageError, match=reason):
        main(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]
    assert digest(source) == before


def test_a_file_that_was_there_stays_whole_where_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "proof.json"
    target.write_text("before")
    with pytest.raises(TypeError):
        write_evidence(target, {"unwritable": object()})
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["proof.json"]
    with pytest.raises(InputError, match="check the folder"):
        write_evidence(tmp_path / "missing" / "proof.json", {})


FIXTURES = Path(__file__).parents[2] / "fixtures"
KERAS = ("keras", "tensorflow", "tf_keras", "tf2onnx")


def forms(trail: dict[str, Any], level: str) -> dict[str, Any]:
    """Return how a level was run."""
    (found,) = (i for i in trail["verification"]["evidence"] if i["level"] == level)
    return dict(found)


@pytest.mark.parametrize(
    ("source", "target"),
    [("digits.h5", "w.h5"), ("digits.keras", "w.keras"), ("digits.h5", "w.onnx")],
)
def test_what_is_told_of_keras_files_is_true(source: str, target: str, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    model, out, proof = FIXTURES / source, tmp_path / target, tmp_path / "proof.json"
    assert (
        main(["rewrite", "--explicit", str(model), "-o", str(out), "--evidence", str(proof)]) == 0
    )
    trail = told(proof)
    files = {"input": model, "output": out}
    assert {key: item["sha256"] for key, item in trail["models"].items()} == {
        key: digest(path) for key, path in files.items()
    }
    assert [item["bytes"] for item in trail["models"].values()] == [
        path.stat().st_size for path in files.values()
    ]
    versions = trail["versions"]
    assert {name: versions[name] for name in KERAS} == {n: metadata.version(n) for n in KERAS}
    assert trail["inputs"]["seed"] == 0 and len(trail["inputs"]["kinds"]) == 3
    level = forms(trail, "source")
    assert f"Keras {versions['keras']}, TensorFlow {versions['tensorflow']} CPU" in level["runtime"]
    image = ["float32", 1, 17, 14, 1]
    assert level["setup"]["input_shapes"] == [
        {"image": image},
        {"image": ["float32", 2, *image[2:]]},
    ]
    exact = not target.endswith(".onnx")
    tolerance = {"rtol": 0.0 if exact else 1e-5, "atol": 0.0, "of_magnitude": not exact}
    assert level["setup"]["tolerance"] == tolerance
    # What did not run there is not told of.
    assert ("provider" in level["setup"]) is ("onnxruntime" in level["runtime"]) is not exact
    assert forms(trail, "site")["sites"] == len(trail["rewritten"]) == 6


def test_what_is_told_of_a_comparison_of_keras_and_onnx_is_true(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    first, second, proof = FIXTURES / "digits.h5", FIXTURES / "digits.onnx", tmp_path / "proof.json"
    assert main(["verify", str(first), str(second), "--evidence", str(proof)]) == 0
    trail = told(proof)
    assert {key: item["sha256"] for key, item in trail["models"].items()} == {
        "a": digest(first),
        "b": digest(second),
    }
    assert [item["format"] for item in trail["models"].values()] == ["keras-h5", "onnx"]
    level = forms(trail, "model")
    assert "Keras" in level["runtime"] and "onnxruntime" in level["runtime"]
    assert level["setup"]["tolerance"] == {"rtol": 1e-4, "atol": 0.0, "of_magnitude": True}
    assert 0 < level["max_abs"] == trail["verification"]["max_abs"] < 1e-4


@pytest.mark.parametrize("own", [False, True], ids=["made up", "own inputs"])
def test_a_what_if_is_told_with_its_figures(own: bool, tmp_path: Path) -> None:
    source, proof = model(tmp_path / "m.onnx", auto_pad="SAME_UPPER"), tmp_path / "proof.json"
    inputs = tmp_path / "in.npz"
    np.savez(inputs, x=np.random.default_rng(1).random((5, 3, 10, 13), np.float32))
    given = ["--inputs", str(inputs)] if own else []
    arguments = ["verify", str(source), "--what-if", "symmetric", "--evidence", str(proof), *given]
    assert main(arguments) == 0
    trail = told(proof)
    assert trail["models"]["a"]["sha256"] == digest(source)
    assert trail["options"]["what_if"] == "symmetric"
    assert trail["runtime"] == f"onnxruntime {metadata.version('onnxruntime')} CPU"
    assert set(trail["inputs"]["kinds"]) == (set() if own else {"random", "border"})
    assert (trail["inputs"]["file"] or {}).get("sha256") == (digest(inputs) if own else None)
    assert [item["site"] for item in trail["what_if"]] == ["all", "c"]
    assert trail["what_if"][0]["max_abs"] > 0
