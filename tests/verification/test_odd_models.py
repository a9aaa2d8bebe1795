"""Models that are odd in what they take or give: a right verdict, and a sentence that helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from padaudit.formats.shape_options import InputShapes
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.pair import verify_files

FLOAT, TEXT, WIDE = TensorProto.FLOAT, TensorProto.STRING, TensorProto.DOUBLE
EQUIVALENT, DIFFERENT, UNVERIFIED = Status.EQUIVALENT, Status.DIFFERENT, Status.UNVERIFIED


@dataclass(frozen=True)
class Made:
    """A model: nodes on an input ``x`` of 1 x 4, weights, and the types of its outputs."""

    nodes: tuple[NodeProto, ...]
    outputs: tuple[tuple[str, int], ...] = (("y", FLOAT),)
    weights: tuple[tuple[str, Any], ...] = ()
    dtype: int = FLOAT
    given: tuple[str, ...] = ()
    ir_version: int = 10

    def save(self, path: Path) -> Path:
        """Write it; weights in ``given`` are inputs with a default too."""
        stored = dict(self.weights)
        inputs = [helper.make_tensor_value_info("x", self.dtype, [1, 4])]
        inputs += [helper.make_tensor_value_info(name, FLOAT, [4]) for name in self.given]
        graph = helper.make_graph(
            list(self.nodes),
            "g",
            inputs,
            [helper.make_tensor_value_info(name, kind, None) for name, kind in self.outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
        )
        opsets = [helper.make_opsetid("", 21)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version), path)
        return path


def node(op_type: str, *inputs: str, output: str = "y", **attributes: Any) -> NodeProto:
    return helper.make_node(op_type, list(inputs), [output], name=output, **attributes)


def scaled(last: float, given: tuple[str, ...] = ()) -> Made:
    factors = np.float32([1, 2, 3, last])
    return Made((node("Mul", "x", "w"),), weights=(("w", factors),), given=given)


def divided(*zeros: int) -> Made:
    by = np.ones(4, np.float32)
    by[list(zeros)] = 0
    return Made((node("Div", "x", "w"),), weights=(("w", by),))


def branching(other: str) -> Made:
    """Return a model that takes the first branch for small sums, and the second for others."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(op_type, "x", output=name)],
            name,
            [],
            [helper.make_tensor_value_info(name, FLOAT, None)],
        )
        for name, op_type in (("then", "Abs"), ("else", other))
    }
    nodes = (
        node("ReduceSum", "x", output="sum", keepdims=0),
        node("Less", "sum", "limit", output="small"),
        node("If", "small", **branches),
    )
    return Made(nodes, weights=(("limit", np.float32(1)),))


RELU = Made((node("Relu", "x"),))
LOG = Made((node("Log", "x"),))
STORED = Made(RELU.nodes, (("y", FLOAT), ("w", FLOAT)), (("w", np.float32([1, 2])),))
RESTORED = Made(RELU.nodes, (("y", FLOAT), ("w", FLOAT)), (("w", np.float32([1, 3])),))
SILENT = Made((node("Relu", "x", output="unused"),), ())
LISTED = Made((node("SequenceConstruct", "x", "x"),))

PAIRS: dict[str, tuple[Made, Made, Status, str]] = {
    "no outputs": (SILENT, SILENT, UNVERIFIED, "has no outputs that could be compared"),
    "no outputs against one": (SILENT, RELU, DIFFERENT, "has no outputs, and the other has"),
    "one output against two": (RELU, STORED, DIFFERENT, "has 1 output, the second 2"),
    "an output that is a weight": (STORED, RESTORED, DIFFERENT, "output 'w' differs"),
    "a weight that could be given": (scaled(4, ("w",)), scaled(4), EQUIVALENT, ""),
    "another default of it": (scaled(4, ("w",)), scaled(5), DIFFERENT, "the worst at (0, 3)"),
    "NaN at the same places": (
        LOG,
        Made((node("Identity", "x", output="i"), node("Log", "i"))),
        EQUIVALENT,
        "",
    ),
    "NaN where the other has numbers": (
        LOG,
        Made((node("Abs", "x", output="i"), node("Log", "i"))),
        DIFFERENT,
        "against nan",
    ),
    "infinities elsewhere": (divided(1), divided(2), DIFFERENT, "2 of 4 elements"),
    "one axis less": (
        RELU,
        Made(
            (node("Relu", "x", output="r"), node("Squeeze", "r", "axis")), weights=(("axis", [0]),)
        ),
        DIFFERENT,
        "shape (1, 4) against (4,)",
    ),
    "another type": (
        RELU,
        Made((node("Relu", "x", output="r"), node("Cast", "r", to=WIDE)), (("y", WIDE),)),
        DIFFERENT,
        "type float64 against float32",
    ),
    "numbers against text": (
        RELU,
        Made((node("Cast", "x", to=TEXT),), (("y", TEXT),)),
        DIFFERENT,
        "type text against float32",
    ),
    "a branch that is not always taken": (
        branching("Relu"),
        branching("Neg"),
        DIFFERENT,
        "output 'y' differs",
    ),
    "random numbers": (
        *[Made((node("RandomNormalLike", "x", output="r"), node("Add", "x", "r")))] * 2,
        UNVERIFIED,
        "is not deterministic",
    ),
    "float8 inputs": (
        *[Made((node("Identity", "x"),), (("y", kind),), dtype=kind) for kind in (19, 19)],
        UNVERIFIED,
        "input 'x' holds float8_e5m2 elements, for which no test values can be made up",
    ),
    "a newer form of the file": (
        Made(RELU.nodes, ir_version=99),
        RELU,
        UNVERIFIED,
        "Unsupported model IR version: 99",
    ),
}


def compared(first: Made, second: Made, folder: Path) -> Verification:
    paths = first.save(folder / "a.onnx"), second.save(folder / "b.onnx")
    return verify_files(*paths, InputShapes())


@pytest.mark.parametrize("case", PAIRS)
def test_the_verdict_and_its_reason(case: str, tmp_path: Path) -> None:
    first, second, status, reason = PAIRS[case]
    found = compared(first, second, tmp_path)
    assert found.status is status, found.reason
    assert reason in found.reason
    assert "/onnxruntime/core/" not in found.reason  # where in its own source it failed


def listed(path: Path) -> None:
    proto = onnx.load(path)
    proto.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", FLOAT, None))
    onnx.save(proto, path)


def stripped(path: Path) -> None:
    onnx.save_model(
        onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    (path.parent / "w.bin").unlink()


@pytest.mark.parametrize(
    ("made", "change", "reason"),
    [
        (LISTED, listed, "output 'y' is a sequence, and only tensors can be compared"),
        (scaled(4), stripped, "External data path does not exist"),
    ],
    ids=["sequence", "external data missing"],
)
def test_what_can_not_be_run_is_unverified(
    made: Made, change: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    path = made.save(tmp_path / "a.onnx")
    change(path)
    found = verify_files(path, path, InputShapes())
    assert found.status is UNVERIFIED
    assert reason in found.reason
