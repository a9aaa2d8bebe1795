"""What stands around an operator counts as its padding, and only that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights

from padaudit.compare.unit import Unit
from padaudit.compare.units import units_of
from padaudit.errors import InputError
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load

SIZE = (17, 14)
SOURCE = (1, 2, *SIZE)


def node(op_type: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(op_type, inputs, [output], output, **attributes)


def unit(folder: Path, nodes: list[NodeProto], **tensors: Any) -> Unit:
    """Return the one padded operator of a model of some nodes; its weights are 3 x 4."""
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    proto = model(nodes, {"x": SOURCE}, [weights((4, 2, 3, 4)), *values])
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    (found,) = units_of(load(path, InputShapes()))
    return found


AMOUNTS = {"amounts": np.int64([0, 0, 1, 2, 0, 0, 3, 4])}
CONV = node("Conv", ["p", "w"], "y", strides=[1, 2], pads=[1, 0, 0, 2])
PAD = node("Pad", ["x", "amounts"], "p")


def effective(found: Unit) -> list[Any]:
    return [found.effective(axis, size) for axis, size in enumerate(SIZE)]


def test_a_pad_in_front_is_added_to_the_operators_own(tmp_path: Path) -> None:
    found = unit(tmp_path, [PAD, CONV], **AMOUNTS)
    assert effective(found) == [(2, 3), (2, 6)]
    assert [found.size(axis) for axis in (0, 1)] == [17, 14]
    assert found.placement(0, 17) == (2, 17 + 5 - 3 + 1)
    assert found.placement(1, 14) == (2, (14 + 8 - 4) // 2 + 1)


def test_what_is_padded_ahead_of_a_transposition_reaches_the_right_axes(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", ["x"], "last", perm=[0, 2, 3, 1]),
        node("Pad", ["last", "amounts"], "padded"),
        node("Relu", ["padded"], "rectified"),
        node("Transpose", ["rectified"], "p", perm=[0, 3, 1, 2]),
        CONV,
    ]
    found = unit(tmp_path, nodes, amounts=np.int64([0, 1, 2, 0, 0, 3, 4, 0]))
    assert effective(found) == [(2, 3), (2, 6)]


def test_named_axes_count_from_the_end_too(tmp_path: Path) -> None:
    nodes = [node("Pad", ["x", "amounts", "", "axes"], "p"), CONV]
    found = unit(tmp_path, nodes, amounts=np.int64([5, 6]), axes=np.int64([-1]))
    assert effective(found) == [(1, 0), (5, 8)]


def test_a_slice_behind_is_taken_away_in_strides(tmp_path: Path) -> None:
    nodes = [
        PAD,
        node("Conv", ["p", "w"], "c", strides=[1, 2], pads=[1, 0, 0, 2]),
        node("Slice", ["c", "starts", "ends", "axes"], "y"),
    ]
    crops = {"starts": np.int64([2, 1]), "ends": np.int64([2**62, -3]), "axes": np.int64([2, 3])}
    found = unit(tmp_path, nodes, **AMOUNTS, **crops)
    assert effective(found) == [(0, 3), (0, 0)]
    assert found.placement(0, 17) == (0, 20 - 2)
    assert found.placement(0, 17, cropped=False) == (2, 20)
    assert found.placement(1, 14) == (0, 10 - 4)


NOT_PADDING: dict[str, list[NodeProto]] = {
    "reflected": [node("Pad", ["x", "amounts"], "p", mode="reflect"), CONV],
    "behind something that makes zeros other numbers": [
        node("Pad", ["x", "amounts"], "q"),
        node("Sigmoid", ["q"], "p"),
        CONV,
    ],
    "of channels": [node("Pad", ["x", "channels"], "q"), node("Slice", ["q", *"bec"], "p"), CONV],
}


@pytest.mark.parametrize("case", NOT_PADDING)
def test_what_is_no_padding_of_the_operator(case: str, tmp_path: Path) -> None:
    tensors = {
        **AMOUNTS,
        "channels": np.int64([0, 1, 0, 0, 0, 0, 0, 0]),
        **{name: np.int64([value]) for name, value in {"b": 0, "e": 2, "c": 1}.items()},
    }
    found = unit(tmp_path, NOT_PADDING[case], **tensors)
    assert found.ahead == ((0, 0), (0, 0)) and found.settled


def test_amounts_that_the_file_does_not_state_are_not_guessed(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMax", ["x"], "most", keepdims=0),
        node("Cast", ["most"], "whole", to=7),
        node("Mul", ["whole", "amounts"], "p/amounts"),
        node("Pad", ["x", "p/amounts"], "p"),
        CONV,
    ]
    found = unit(tmp_path, nodes, **AMOUNTS)
    assert not found.settled
    assert found.placement(0, 17) is None and found.effective(1, 14) is None


def test_an_order_of_axes_that_makes_no_sense_is_an_error_of_the_file(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], "p", perm=[0, 1]), CONV]
    with pytest.raises(InputError, match="wrong value"):
        unit(tmp_path, nodes)
