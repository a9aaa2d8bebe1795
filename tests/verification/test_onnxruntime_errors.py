"""Models on which onnxruntime is wrong, or that it refuses: a right verdict, and the reason."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import conv_model, model, weights

import padaudit
from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.errors import InputError
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.evidence import Evidence, Status, Verification, join
from padaudit.verification.model_level import (
    NO_ELEMENTS,
    ModelPair,
    Tolerance,
    compare_models,
    same_feeds,
)
from padaudit.verification.pair import verify_files
from padaudit.verification.runner import Limits
from padaudit.verification.what_if import what_if

KERNEL = (3, 2)
SIZE = (12, 9)
LEAST = -np.inf


@dataclass(frozen=True)
class Row:
    """An operator, what it means spelled out, and what onnxruntime does with it.

    ``ahead`` are the amounts of a Pad in front of the right form (height and width, before
    and after), ``moved`` those of a shifted one.
    """

    op: str
    how: dict[str, Any]
    right: dict[str, Any]
    reason: str
    wrong: dict[str, Any] = field(default_factory=dict)
    ahead: tuple[int, int, int, int] | None = None
    moved: tuple[int, int, int, int] | None = None
    opset: int = 17
    size: tuple[int, int] = SIZE


UPPER, LOWER, VALID = ({"auto_pad": f"{mode}"} for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"))
FAR = {"strides": [7, 6]}
"""Kernel 3 x 2 on 14 x 12: the windows fall 4 short of either axis; SAME starts at 0."""
ROWS = {
    "dilated convolution": Row(
        "Conv",
        {**LOWER, "dilations": [2, 3]},
        {"pads": [2, 2, 2, 1], "dilations": [2, 3]},
        "refuses auto_pad with the dilation",
        {"pads": [2, 1, 2, 2], "dilations": [2, 3]},
    ),
    "convolution, kernel far below the stride": Row(
        "Conv",
        {**LOWER, **FAR},
        FAR,
        "misplaces the windows",
        {**FAR, "pads": [1, 0, 0, 0]},
        size=(14, 12),
    ),
    "auto_pad beside pads": Row(
        "Conv",
        {**UPPER, "pads": [0, 0, 0, 0]},
        {"pads": [1, 0, 1, 1]},
        "refuses auto_pad together with the pads",
        {"pads": [1, 1, 1, 0]},
    ),
    "auto_pad VALID beside zero pads": Row(
        "Conv",
        {**VALID, "pads": [0, 0, 0, 0], "strides": [2, 3]},
        {"strides": [2, 3]},
        "was changed to run it, as onnxruntime refuses auto_pad together with pads",
        {"strides": [2, 3], "pads": [1, 0, 0, 0]},
    ),
    "dilated max pool": Row(
        "MaxPool",
        {**UPPER, "dilations": [2, 3]},
        {"dilations": [2, 3]},
        "ignores the dilation",
        ahead=(2, 1, 2, 2),
        moved=(2, 2, 2, 1),
    ),
    "dilated mean": Row(
        "AveragePool",
        {**UPPER, "dilations": [3, 1], "count_include_pad": 1},
        {"dilations": [3, 1], "count_include_pad": 1},
        "ignores the dilation",
        ahead=(3, 0, 3, 1),
        moved=(3, 1, 3, 0),
        opset=19,
    ),
    "dilated norm": Row(
        "LpPool",
        {**LOWER, "dilations": [1, 3]},
        {"dilations": [1, 3]},
        "ignores the dilation",
        ahead=(1, 2, 1, 1),
        moved=(1, 1, 1, 2),
        opset=18,
    ),
    "max pool, kernel below the stride": Row(
        "MaxPool",
        {**UPPER, **FAR},
        FAR,
        "misplaces the windows",
        {"strides": [6, 5]},
        size=(14, 12),
    ),
    "mean, kernel below the stride": Row(
        "AveragePool",
        {**UPPER, **FAR},
        FAR,
        "misplaces the windows",
        {**FAR, "pads": [1, 0, 0, 0]},
        opset=11,
        size=(14, 12),
    ),
    "norm, kernel below the stride": Row(
        "LpPool",
        {**UPPER, **FAR},
        FAR,
        "misplaces the windows",
        {**FAR, "pads": [1, 0, 0, 0]},
        opset=11,
        size=(14, 12),
    ),
    "transposed convolution, kernel below the stride": Row(
        "ConvTranspose",
        {**UPPER, "strides": [4, 5]},
        {"strides": [4, 5], "output_padding": [1, 3]},
        "does not extend the output",
        {"strides": [4, 5], "pads": [1, 0, 0, 0], "output_padding": [2, 3]},
        size=(5, 4),
    ),
}


def written(path: Path, row: Row, how: dict[str, Any], ahead: Any = None) -> Path:
    """Write one operator, behind a Pad where amounts are given."""
    pool = row.op.endswith("Pool")
    given = {"kernel_shape": KERNEL, **how} if pool else how
    nodes, tensors, source = [], [], "x"
    if ahead is not None:
        top, left, bottom, right = ahead
        pads = np.array([0, 0, top, left, 0, 0, bottom, right])
        value = np.float32(LEAST if row.op == "MaxPool" else 0)
        tensors += [numpy_helper.from_array(pads, "p"), numpy_helper.from_array(value, "v")]
        nodes.append(helper.make_node("Pad", ["x", "p", "v"], ["padded"], name="pad"))
        source = "padded"
    if not pool:
        tensors.append(weights((8, 8, *KERNEL)))
    inputs = [source] if pool else [source, "w"]
    nodes.append(helper.make_node(row.op, inputs, ["y"], name="op", **given))
    onnx.save(model(nodes, {"x": (1, 8, *row.size)}, tensors, row.opset), path)
    return path


def pair(folder: Path, row: Row) -> tuple[Path, Path]:
    return (
        written(folder / "a.onnx", row, row.how),
        written(folder / "b.onnx", row, row.right, row.ahead),
    )


@pytest.mark.parametrize("case", ROWS)
def test_what_onnxruntime_gets_wrong_is_judged_rightly(case: str, tmp_path: Path) -> None:
    row = ROWS[case]
    original, right = pair(tmp_path, row)
    same = verify_files(original, right, InputShapes())
    assert (same.status, same.max_abs) == (Status.EQUIVALENT, 0.0), same.reason
    (note,) = same.not_covered
    assert row.reason in note and str(original) in note


@pytest.mark.slow
@pytest.mark.parametrize("case", ROWS)
def test_what_differs_from_it_is_named(case: str, tmp_path: Path) -> None:
    row = ROWS[case]
    original, _ = pair(tmp_path, row)
    shifted = written(tmp_path / "c.onnx", row, row.wrong or row.right, row.moved)
    other = verify_files(original, shifted, InputShapes())
    assert (other.status, other.first_difference) == (Status.DIFFERENT, "op")


@pytest.mark.parametrize(
    "case", ["dilated max pool", "transposed convolution, kernel below the stride"]
)
def test_a_naive_port_is_measured_against_what_the_model_means(case: str, tmp_path: Path) -> None:
    original, right = pair(tmp_path, ROWS[case])
    found = what_if(original, "symmetric", InputShapes(), site="op")
    # The same, asked of the model whose padding is spelled out, which onnxruntime gets right.
    meant = what_if(right, "symmetric", InputShapes(), site="op")
    assert ROWS[case].reason in found.note and not meant.note
    assert [cost.max_abs for cost in found.costs] == [cost.max_abs for cost in meant.costs]
    assert found.costs and found.costs[0].max_abs > 0


@pytest.mark.parametrize("extra", [True, False], ids=["one more window", "as many"])
def test_what_two_readings_of_onnx_make_of_a_pool_is_said(extra: bool, tmp_path: Path) -> None:
    # Kernel 3 x 2 at stride 2 x 3: 11 x 8 is filled by whole steps, 12 x 8 is not.
    row = Row("MaxPool", {}, {}, "", size=(12, 8) if extra else (11, 8))
    how = {"strides": [2, 3]}
    ceil = written(tmp_path / "a.onnx", row, {**how, **VALID, "ceil_mode": 1})
    floor = written(tmp_path / "b.onnx", row, {**how, **VALID})
    found = verify_files(ceil, floor, InputShapes())
    assert found.status is (Status.DIFFERENT if extra else Status.EQUIVALENT)
    notes = [note for note in found.not_covered if "ceil_mode beside auto_pad VALID" in note]
    assert len(notes) == extra


def test_two_nodes_of_one_name_are_no_obstacle(tmp_path: Path) -> None:
    def chain(path: Path, names: tuple[str, str], pads: list[int]) -> Path:
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["a"], name=names[0], pads=pads),
            helper.make_node("Relu", ["a"], ["y"], name=names[1]),
        ]
        onnx.save(model(nodes, {"x": (1, 8, *SIZE)}, [weights((8, 8, *KERNEL))]), path)
        return path

    twins = chain(tmp_path / "a.onnx", ("n", "n"), [1, 0, 1, 1])
    same = verify_files(twins, chain(tmp_path / "b.onnx", ("n", "m"), [1, 0, 1, 1]), InputShapes())
    assert same.status is Status.EQUIVALENT
    assert "refuses two nodes of one name" in same.not_covered[0]
    moved = chain(tmp_path / "c.onnx", ("n", "n"), [1, 1, 1, 0])
    other = verify_files(twins, moved, InputShapes())
    assert (other.status, other.first_difference) == (Status.DIFFERENT, "Conv_0")


def test_outputs_without_elements_prove_nothing(tmp_path: Path) -> None:
    paths = []
    for name, pads in (("a", [1, 0, 1, 1]), ("b", [0, 0, 2, 1])):
        node = helper.make_node("Conv", ["x", "w"], ["y"], name="op", pads=pads)
        proto = model([node], {"x": ("N", 8, *SIZE)}, [weights((8, 8, *KERNEL))])
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0
        paths.append(tmp_path / f"{name}.onnx")
        onnx.save(proto, paths[-1])
    found = verify_files(*paths, InputShapes())
    assert (found.status, found.reason) == (Status.UNVERIFIED, NO_ELEMENTS)
    with pytest.raises(InputError, match="no output holds an element"):
        what_if(paths[0], "symmetric", InputShapes())


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    infos = [
        ("i", TensorProto.INT64, []),
        ("keep", TensorProto.BOOL, []),
        ("v", TensorProto.FLOAT, [2]),
    ]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep"], ["again"]),
            helper.make_node("Neg", ["v"], ["w"]),
        ],
        "body",
        [helper.make_tensor_value_info(*info) for info in infos],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]),
        ],
    )
    loop = helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)
    true = numpy_helper.from_array(np.array(True), "true")
    path = tmp_path / "endless.onnx"
    onnx.save(model([loop], {"x": (2,)}, [true]), path)
    return path


def test_an_endless_model_is_stopped(endless: Path) -> None:
    found = verify_files(endless, endless, InputShapes(), limits=Limits(timeout=1))
    assert found.status is Status.UNVERIFIED
    assert "stopped after 1 s, the timeout for one job" in found.reason


GREEDY = model(
    [
        helper.make_node("Expand", ["x", "n"], ["much"]),
        helper.make_node("ReduceMax", ["much"], ["y"], axes=[0], keepdims=0),
    ],
    {"x": (2,)},
    [numpy_helper.from_array(np.array([2**30, 2]), "n")],
)
SAME = model([helper.make_node("Identity", ["x"], ["y"])], {"x": (2,)})
UNLIKE = model([helper.make_node("Neg", ["x"], ["y"])], {"x": (2,)})
BROKEN = model([helper.make_node("Neg", ["nowhere"], ["y"])], {"x": (2,)})


@pytest.mark.parametrize(
    ("rewritten", "status", "reason"),
    [
        ("endless", Status.UNVERIFIED, "was stopped after 1 s"),
        pytest.param(
            "greedy",
            Status.UNVERIFIED,
            "ran out of memory (the limit is 1000 MiB)",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS"),
        ),
        ("broken", Status.DIFFERENT, "the rewritten model does not"),
        ("unlike", Status.DIFFERENT, "output 'y' differs"),
        ("same", Status.EQUIVALENT, ""),
    ],
)
def test_a_rewritten_model_that_a_limit_ends_is_unverified_and_not_different(
    rewritten: str, status: Status, reason: str, endless: Path
) -> None:
    protos = {"greedy": GREEDY, "broken": BROKEN, "unlike": UNLIKE, "same": SAME}
    second = endless if rewritten == "endless" else protos[rewritten].SerializeToString()
    feed = {"x": np.float32([1, 2])}
    pair = ModelPair(SAME.SerializeToString(), second)
    level = compare_models(pair, same_feeds([feed]), Tolerance(), 1, 1000)
    assert level.status is status and reason in level.reason
    proven = Verification(Status.EQUIVALENT, (Evidence("site", "onnxruntime"),))
    assert join((proven, level)).status is status


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(0.01), "was stopped after 0.01 s, the timeout"),
        (Limits(600, 20), "(the limit is 20 MiB)"),
    ],
    ids=["time", "memory"],
)
def test_a_what_if_keeps_to_its_limits_and_names_their_options(
    limits: Limits, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(conv_model((9, 12), (3, 2), auto_pad="SAME_UPPER"), path)
    with pytest.raises(InputError) as caught:
        what_if(path, "symmetric", InputShapes(), limits=limits)
    assert said in str(caught.value)
    assert "--timeout and --memory-limit" in str(caught.value)


def test_a_port_of_a_model_that_onnxruntime_refuses_is_compared_with_what_that_means(
    tmp_path: Path,
) -> None:
    """Its data stands beside it, so that an explicit form has to take the data along."""
    row = ROWS["dilated convolution"]
    original, right = pair(tmp_path, row)
    moved = tmp_path / "data" / "a.onnx"
    moved.parent.mkdir()
    onnx.save_model(
        onnx.load(original), moved, save_as_external_data=True, location="w", size_threshold=0
    )
    same = compare_files(moved, right, InputShapes())
    assert same.status is Sameness.SAME
    assert any(row.reason in note for note in same.notes)
    shifted = written(tmp_path / "c.onnx", row, row.wrong)
    other = compare_files(moved, shifted, InputShapes())
    assert other.status is Sameness.DIFFERENT
    assert other.after is not None and other.after.max_abs == 0


def test_what_runs_in_another_type_or_not_at_all_is_said_by_the_users_names(tmp_path: Path) -> None:
    """onnxruntime has no convolution in bfloat16."""
    path = tmp_path / "half.onnx"
    kernel = helper.make_tensor("w", TensorProto.BFLOAT16, [4, 2, 3, 2], [1.0] * 48)
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", auto_pad="SAME_UPPER")
    shape = {"x": (1, 2, 9, 12)}
    onnx.save(model([node], shape, [kernel], dtype=TensorProto.BFLOAT16), path)
    found = padaudit.rewrite(path, tmp_path / "out.onnx").verification
    (level,) = (item for item in found.evidence if item.level == "site")
    assert found.status is Status.EQUIVALENT and level.detail.endswith("bfloat16 as float32")
    with pytest.raises(InputError) as caught:
        what_if(path, "symmetric", InputShapes())
    assert f"Load model from {path} failed" in str(caught.value)
