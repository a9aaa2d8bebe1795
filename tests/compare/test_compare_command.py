"""``padaudit compare`` as a user or a pipeline sees it."""

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
from command_line import run_command
from onnx_models import attribute, conv_model, model, weights


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Any:
    """Return a function that runs the command in this process: (exit code, stdout, stderr)."""

    def compare(*arguments: str) -> tuple[int, str, str]:
        done = run_command(monkeypatch, capsys, "compare", *arguments, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return compare


def write(folder: Path, name: str, proto: ModelProto) -> None:
    (folder / name).write_bytes(proto.SerializeToString())


def strided(**attributes: Any) -> ModelProto:
    """Return a 3 x 4 Conv with strides 2 x 3 on 18 x 17: "same" is (0, 1) and (1, 1)."""
    return conv_model((18, 17), (3, 4), strides=[2, 3], **attributes)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder with an original and ports of it."""
    write(tmp_path, "original.onnx", strided(auto_pad="SAME_UPPER"))
    write(tmp_path, "right.onnx", strided(pads=[0, 1, 1, 1]))
    write(tmp_path, "wrong.onnx", strided(pads=[1, 1, 1, 1]))
    write(tmp_path, "fewer.onnx", conv_model((18, 16), (3, 4), strides=[2, 3]))
    return tmp_path


def test_a_port_that_is_the_same(models: Path, here: Any) -> None:
    code, out, err = here("original.onnx", "right.onnx")
    assert code == 0 and not err
    assert out.splitlines()[-1] == "Verdict: same"


def test_a_port_that_differs(models: Path, here: Any) -> None:
    code, out, _ = here("original.onnx", "wrong.onnx")
    assert code == 1
    assert "- it pads height (1, 1), width (1, 1)" in out
    assert "+ it should be height (0, 1), width (1, 1)" in out
    assert "F.pad(x, (1, 1, 0, 1))" in out
    assert sorted(path.name for path in models.iterdir()) == [
        "fewer.onnx",
        "original.onnx",
        "right.onnx",
        "wrong.onnx",
    ]


def test_the_report_for_machines(models: Path, here: Any) -> None:
    code, out, _ = here("original.onnx", "wrong.onnx", "--output-format", "json")
    report = json.loads(out)
    assert code == 1
    assert report["schema"] == "padaudit.compare/1"
    assert (report["original"], report["port"]) == ("original.onnx", "wrong.onnx")
    assert report["status"] == "different" and report["aligned"] == 1
    assert report["unaligned"] == {"original": [], "port": []}
    (difference,) = report["differences"]
    assert (difference["original"], difference["port"]) == ("conv", "conv")
    assert difference["port_pads"] == [[1, 1], [1, 1]]
    assert difference["expected_pads"] == [[0, 1], [1, 1]]
    assert report["max_abs_before"] > 1 and report["max_abs_after"] == 0
    assert report["fixed"] is None


def test_the_corrected_port_is_written(models: Path, here: Any) -> None:
    code, out, _ = here("original.onnx", "wrong.onnx", "--fix", "fixed.onnx")
    assert code == 1
    assert "Written: fixed.onnx" in out
    node = onnx.load(models / "fixed.onnx").graph.node[0]
    assert attribute(node, "pads") == [0, 1, 1, 1]
    assert here("original.onnx", "fixed.onnx")[0] == 0


def test_what_does_not_agree_is_not_written(models: Path, here: Any) -> None:
    other = strided(pads=[1, 1, 1, 1])
    other.graph.initializer[0].CopyFrom(weights((4, 2, 3, 4), "w", seed=9))
    write(models, "other.onnx", other)
    code, out, _ = here("original.onnx", "other.onnx", "--fix", "fixed.onnx")
    assert code == 1
    assert "something else does too" in out
    assert not (models / "fixed.onnx").exists()


def test_what_can_not_be_corrected_is_said(models: Path, here: Any) -> None:
    """No amounts give a transposed convolution what it would make of a padded input."""
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    amounts = numpy_helper.from_array(np.int64([0, 0, 1, 1, 0, 0, 0, 0]), "amounts")
    padded = [
        helper.make_node("Pad", ["x", "amounts"], ["p"], "pad"),
        helper.make_node("ConvTranspose", ["p", "w"], ["y"], "up", **window),
    ]
    plain = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", **window)
    kernel, shape = weights((2, 4, 3, 3)), {"x": (1, 2, 6, 8)}
    write(models, "up.onnx", model(padded, shape, [kernel, amounts]))
    write(models, "plain.onnx", model([plain], shape, [kernel]))
    code, out, _ = here("up.onnx", "plain.onnx", "--fix", "fixed.onnx")
    assert code == 1
    assert "not corrected: It would have to start in front of its full output" in out
    assert "not all of it could be corrected here" in out
    assert "something else" not in out
    assert not (models / "fixed.onnx").exists()


def test_a_port_that_can_not_be_edited_is_told_of(models: Path, here: Any) -> None:
    """Messages may stand in pieces, which readers put together."""
    weights_alone = ModelProto()
    whole = onnx.load(models / "wrong.onnx")
    weights_alone.graph.initializer.extend(whole.graph.initializer)
    del whole.graph.initializer[:]
    pieces = whole.SerializeToString() + weights_alone.SerializeToString()
    (models / "wrong.onnx").write_bytes(pieces)
    code, out, err = here("original.onnx", "wrong.onnx", "--fix", "fixed.onnx")
    assert code == 1 and not err
    assert "+ it should be height (0, 1), width (1, 1)" in out
    assert "not corrected: It is stored in a way that can't be edited" in out
    assert "save it again with onnx.save" in out and "rewritten" not in out
    assert not (models / "fixed.onnx").exists()


def test_models_are_compared_on_the_users_own_inputs(models: Path, here: Any) -> None:
    image = np.zeros((3, 2, 18, 17), np.float32)
    np.savez(models / "zeros.npz", x=image)
    image[2, 1, 17, 5] = 1
    np.savez(models / "edge.npz", x=image)
    reports = {}
    for name in ("zeros", "edge"):
        options = ["--inputs", f"{name}.npz", "--memory-limit", "8000", "--output-format", "json"]
        code, out, _ = here("original.onnx", "wrong.onnx", *options)
        assert code == 1
        reports[name] = json.loads(out)
    # Zeros give the bias everywhere, however they are padded.
    assert reports["zeros"]["max_abs_before"] == 0
    assert reports["edge"]["max_abs_before"] > 0 == reports["edge"]["max_abs_after"]
    np.savez(models / "other.npz", y=image)
    code, _, err = here("original.onnx", "wrong.onnx", "--inputs", "other.npz")
    assert code == 2 and "other.npz" in err


REFUSED: dict[str, tuple[list[str], str]] = {
    "a missing port": (["original.onnx", "missing.onnx"], "no such file"),
    "inputs that do not fit": (["original.onnx", "fewer.onnx"], "fits none of the port's"),
    "the port itself": (["original.onnx", "wrong.onnx", "--fix", "wrong.onnx"], "is one of the"),
    "the original": (["wrong.onnx", "original.onnx", "--fix", "wrong.onnx"], "is one of the"),
    "no folder": (["original.onnx", "wrong.onnx", "--fix", "no/f.onnx"], "there is no folder"),
    "another format": (["original.onnx", "wrong.onnx", "--fix", "fixed.h5"], "ends in .onnx"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_used(case: str, models: Path, here: Any) -> None:
    arguments, message = REFUSED[case]
    before = (models / "wrong.onnx").read_bytes()
    code, out, err = here(*arguments)
    assert code == 2 and not out
    assert message in err and err.startswith("error: ")
    assert (models / "wrong.onnx").read_bytes() == before


def test_an_operator_without_a_partner_is_listed(models: Path, here: Any) -> None:
    proto = strided(pads=[0, 1, 1, 1])
    proto.graph.node[0].output[0] = "inner"
    kernel = weights((4, 4, 1, 1), "more")
    proto.graph.initializer.append(kernel)
    proto.graph.node.append(helper.make_node("Conv", ["inner", "more"], ["y"], "added"))
    write(models, "longer.onnx", proto)
    code, out, _ = here("original.onnx", "longer.onnx", "--output-format", "json")
    report = json.loads(out)
    assert code == 1
    assert report["unaligned"] == {"original": [], "port": ["added"]}
    assert report["differences"] == []
    assert "unaligned operators" in report["reason"]


def test_models_of_open_size_are_compared_at_several_sizes(tmp_path: Path, here: Any) -> None:
    write(
        tmp_path,
        "original.onnx",
        conv_model(("H", "W"), (3, 4), strides=[2, 3], auto_pad="SAME_UPPER"),
    )
    write(tmp_path, "port.onnx", conv_model(("H", "W"), (3, 4), strides=[2, 3], pads=[0, 1, 1, 1]))
    code, out, _ = here("original.onnx", "port.onnx", "--output-format", "json", "--fix", "f.onnx")
    report = json.loads(out)
    assert code == 1
    assert report["differences"][0]["expected_pads"] is None
    assert report["max_abs_after"] == 0 and report["fixed"] == "f.onnx"
    assert here("original.onnx", "f.onnx")[0] == 0
    fixed_size = ["--input-shape", "1,2,18,17"]
    assert here("original.onnx", "port.onnx", *fixed_size)[0] == 0


def test_a_layout_is_found_out(tmp_path: Path, here: Any) -> None:
    last = model(
        [
            helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["first", "w", "b"], ["c"], strides=[2, 3], pads=[0, 1, 1, 1]),
            helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
        ],
        {"image": (1, 18, 17, 2)},
        [weights((4, 2, 3, 4)), weights((4,), "b", seed=1)],
    )
    write(tmp_path, "last.onnx", last)
    write(tmp_path, "first.onnx", strided(auto_pad="SAME_UPPER"))
    assert here("first.onnx", "last.onnx")[0] == 0
    assert here("last.onnx", "first.onnx")[0] == 0


def pooled(rectified: bool, padded: bool) -> ModelProto:
    """Return a 3 x 2 MaxPool with strides 2 x 2 on 18 x 17: "same" is (0, 1) and (0, 1)."""
    nodes = [helper.make_node("Relu" if rectified else "Identity", ["x"], ["h"])]
    settings: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2]}
    if padded:
        nodes.append(helper.make_node("Pad", ["h", "amounts"], ["p"], "pad"))
        nodes.append(helper.make_node("MaxPool", ["p"], ["y"], "pool", **settings))
    else:
        settings["auto_pad"] = "SAME_UPPER"
        nodes.append(helper.make_node("MaxPool", ["h"], ["y"], "pool", **settings))
    amounts = numpy_helper.from_array(np.int64([0, 0, 0, 0, 0, 0, 1, 1]), "amounts")
    return model(nodes, {"x": (1, 2, 18, 17)}, [amounts])


@pytest.mark.parametrize("wrong", ["port", "original"])
def test_a_max_pool_that_pads_with_zeros(wrong: str, tmp_path: Path, here: Any) -> None:
    write(tmp_path, "original.onnx", pooled(False, wrong == "original"))
    write(tmp_path, "port.onnx", pooled(False, wrong == "port"))
    code, out, _ = here("original.onnx", "port.onnx", "--output-format", "json", "--fix", "f.onnx")
    (difference,) = json.loads(out)["differences"]
    assert code == 1
    assert difference["port_pads"] == difference["expected_pads"] == [[0, 1], [0, 1]]
    assert "minus infinity" in difference["note"]
    assert here("original.onnx", "f.onnx")[0] == 0


def test_zeros_are_right_behind_a_relu(tmp_path: Path, here: Any) -> None:
    write(tmp_path, "original.onnx", pooled(True, False))
    write(tmp_path, "port.onnx", pooled(True, True))
    assert here("original.onnx", "port.onnx")[0] == 0


def skipped(**padding: Any) -> ModelProto:
    """Return a 2 x 3 Conv whose output is added to its input."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", **padding),
        helper.make_node("Add", ["x", "c"], ["y"], "add"),
    ]
    tensors = [weights((2, 2, 2, 3)), weights((2,), "b", seed=1)]
    return model(nodes, {"x": (1, 2, 18, 17)}, tensors)


def test_a_port_that_does_not_run_is_corrected(tmp_path: Path, here: Any) -> None:
    write(tmp_path, "original.onnx", skipped(auto_pad="SAME_UPPER"))
    write(tmp_path, "port.onnx", skipped(pads=[1, 1, 1, 1]))
    code, out, _ = here("original.onnx", "port.onnx", "--output-format", "json", "--fix", "f.onnx")
    report = json.loads(out)
    assert code == 1 and report["max_abs_before"] == "inf" and report["max_abs_after"] == 0
    assert report["differences"][0]["expected_pads"] == [[0, 1], [1, 1]]
    assert here("original.onnx", "f.onnx")[0] == 0


def test_models_without_padded_operators(tmp_path: Path, here: Any) -> None:
    for name, op_type in (("a.onnx", "Relu"), ("b.onnx", "Relu"), ("c.onnx", "Sigmoid")):
        node = helper.make_node(op_type, ["x"], ["y"])
        write(tmp_path, name, model([node], {"x": (1, 2, 5)}))
    assert here("a.onnx", "b.onnx")[0] == 0
    code, out, _ = here("a.onnx", "c.onnx")
    assert code == 1 and "0 padded operators aligned" in out
