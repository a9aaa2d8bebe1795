"""Ports whose wrong operators stand in functions, each of which is called several times."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import FunctionProto, ModelProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights

from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.formats.shape_options import InputShapes

SIZES = ((19, 30), (10, 15), (5, 8))
"""What each of three 3 x 3 convolutions of stride 2 reads."""
RIGHT = ((1, 0, 1, 1), (0, 1, 1, 1), (1, 1, 1, 0))
"""Top, left, bottom, right of each."""


def plain(pads: Sequence[Sequence[int]]) -> ModelProto:
    """Return the convolutions one after the other."""
    nodes = [
        helper.make_node(
            "Conv",
            [f"t{place}" if place else "x", f"w{place}"],
            ["y" if place == 2 else f"t{place + 1}"],
            f"conv{place}",
            strides=[2, 2],
            pads=own,
        )
        for place, own in enumerate(pads)
    ]
    return model(nodes, {"x": (1, 2, *SIZES[0])}, kernels())


def kernels() -> list[onnx.TensorProto]:
    return [weights((2, 2, 3, 3), f"w{place}", seed=place) for place in range(3)]


def called(pads: Sequence[int], wrapped: bool = False, padded: bool = False) -> ModelProto:
    """Return them as calls of one function, which another one may call."""
    body = [helper.make_node("Conv", ["a", "k"], ["b"], "conv", strides=[2, 2], pads=pads)]
    if padded:
        amounts = numpy_helper.from_array(np.int64([0, 0, *pads[:2], 0, 0, *pads[2:]]))
        body = [
            helper.make_node("Constant", [], ["amounts"], "amounts", value=amounts),
            helper.make_node("Pad", ["a", "amounts"], ["p"], "pad"),
            helper.make_node("Conv", ["p", "k"], ["b"], "conv", strides=[2, 2]),
        ]
    functions = [function("Down", body)]
    if wrapped:
        inner = helper.make_node("Down", ["a", "k"], ["b"], "inner", domain="f")
        functions.append(function("Block", [inner]))
    name = "Block" if wrapped else "Down"
    nodes = [
        helper.make_node(
            name,
            [f"t{place}" if place else "x", f"w{place}"],
            ["y" if place == 2 else f"t{place + 1}"],
            f"call{place}",
            domain="f",
        )
        for place in range(3)
    ]
    shape = {"x": (1, 2, *SIZES[0])}
    return model(nodes, shape, kernels(), functions=functions, domains=["f"])


def function(name: str, nodes: Sequence[onnx.NodeProto]) -> FunctionProto:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["a", "k"], ["b"], list(nodes), imports)


CASES = {
    "all calls want the same": ([(1, 1, 1, 1)] * 3, called((0, 0, 2, 2)), {0, 1, 2}, 1),
    "every call wants its own": (RIGHT, called((2, 2, 0, 0)), {0, 1, 2}, 3),
    "one call is right": (RIGHT, called((0, 1, 1, 1)), {0, 2}, 3),
    "a function in a function": (RIGHT, called((0, 1, 1, 1), wrapped=True), {0, 2}, 6),
    "a Pad in the function": (RIGHT, called((0, 1, 1, 1), padded=True), {0, 2}, 3),
}


@pytest.mark.parametrize("case", CASES)
def test_calls_are_corrected(case: str, tmp_path: Path) -> None:
    pads, port, wrong, functions = CASES[case]
    (tmp_path / "original.onnx").write_bytes(plain(pads).SerializeToString())
    (tmp_path / "port.onnx").write_bytes(port.SerializeToString())
    original, target = tmp_path / "original.onnx", tmp_path / "fixed.onnx"
    result = compare_files(original, tmp_path / "port.onnx", InputShapes(), target)
    assert {item.original.id for item in result.differences} == {f"conv{n}" for n in wrong}
    assert result.fixed is not None, (result.reason, result.unfixed, result.after)
    assert result.after is not None and result.after.max_abs == 0
    assert len(onnx.load(target).functions) == functions
    assert compare_files(original, target, InputShapes()).status is Sameness.SAME
