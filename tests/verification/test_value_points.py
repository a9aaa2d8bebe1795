"""The first differing operator where forms of it differ, and where it can't be looked at."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import padaudit
from padaudit.formats.shape_options import InputShapes
from padaudit.verification import differing_site, model_level, site_level
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.model_level import Tolerance
from padaudit.verification.pair import verify_files

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights
from onnx_runs import run_here

FLOAT = TensorProto.FLOAT
SHAPE = (1, 2, 9, 8)
KERNELS = [weights((2, 2, 3, 4), f"w{place}", place) for place in range(3)]
SAME, MOVED = [1, 1, 1, 2], [2, 1, 0, 2]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (differing_site, model_level, site_level):
        monkeypatch.setattr(module, "run", run_here)


def conv(place: int, data: str, result: str, pads: Sequence[int], *more: str, **how: Any) -> Any:
    inputs = [data, f"w{place}", *more]
    return helper.make_node("Conv", inputs, [result], f"c{place}", pads=pads, **how)


def sliced(data: str, result: str, starts: str, ends: str) -> Any:
    return helper.make_node("Slice", [data, starts, ends, "axes"], [result], f"{result}/slice")


def int64s(name: str, *values: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def verified(
    folder: Path, first: ModelProto, second: ModelProto, tolerance: Tolerance | None = None
) -> Verification:
    paths = folder / "a.onnx", folder / "b.onnx"
    for path, proto in zip(paths, (first, second), strict=True):
        path.write_bytes(proto.SerializeToString())
    return verify_files(*paths, InputShapes(), tolerance)


def test_an_operator_that_is_cropped_behind_is_compared_behind_the_slice(tmp_path: Path) -> None:
    def net(crop: bool, last: Sequence[int]) -> ModelProto:
        first = [conv(0, "x", "a", SAME)]
        if crop:
            wide = [2, 2, 2, 3]
            first = [conv(0, "x", "wide", wide), sliced("wide", "a", "ones", "minus_ones")]
        nodes = [*first, conv(1, "a", "b", SAME), conv(2, "b", "y", last)]
        bounds = [int64s("ones", 1, 1), int64s("minus_ones", -1, -1), int64s("axes", 2, 3)]
        return model(nodes, {"x": SHAPE}, [*KERNELS, *bounds])

    assert verified(tmp_path, net(False, SAME), net(True, SAME)).status is Status.EQUIVALENT
    for crop in (False, True):
        found = verified(tmp_path, net(crop, SAME), net(not crop, MOVED))
        assert found.first_difference == "c2", found.reason
        assert found.error_map is not None


def test_a_slice_whose_bounds_are_computed_is_passed(tmp_path: Path) -> None:
    """The one more row and column are counted from the size of the input."""

    def net(crop: bool, last: Sequence[int]) -> ModelProto:
        first = [conv(0, "x", "a", SAME)]
        if crop:
            size = helper.make_node("Shape", ["x"], ["size"], start=2)
            ends = helper.make_node("Add", ["size", "ones"], ["ends"])
            wide = conv(0, "x", "wide", [2, 2, 1, 2])
            first = [size, ends, wide, sliced("wide", "a", "ones", "ends")]
        nodes = [*first, conv(1, "a", "b", SAME), conv(2, "b", "y", last)]
        bounds = [int64s("ones", 1, 1), int64s("axes", 2, 3)]
        return model(nodes, {"x": ("N", 2, "H", "W")}, [*KERNELS, *bounds])

    assert verified(tmp_path, net(False, SAME), net(True, SAME)).status is Status.EQUIVALENT
    for crop in (False, True):
        found = verified(tmp_path, net(crop, SAME), net(not crop, MOVED))
        assert found.first_difference == "c2", found.reason


def test_a_sliced_pool_is_the_same_operator(tmp_path: Path) -> None:
    window = {"kernel_shape": [4, 5], "strides": [3, 2], "auto_pad": "SAME_UPPER"}
    pool = helper.make_node("AveragePool", ["x"], ["a"], "pool", **window)
    proto = model(
        [pool, conv(0, "a", "b", SAME), conv(1, "b", "y", SAME)],
        {"x": ("N", 2, "H", "W")},
        KERNELS,
    )
    written = padaudit.explicit(proto)
    assert [node.op_type for node in written.graph.node].count("Slice") == 1
    near = Tolerance(1e-5, scaled=True)
    assert verified(tmp_path, proto, written, near).status is Status.EQUIVALENT
    wrong = ModelProto()
    wrong.CopyFrom(written)
    last = next(node for node in wrong.graph.node if node.name == "c1")
    next(item for item in last.attribute if item.name == "pads").ints[:] = MOVED
    for pair in ((proto, wrong), (wrong, proto)):
        assert verified(tmp_path, *pair, near).first_difference == "c1"
    most = next(item for item in written.graph.initializer if item.name.endswith("/most"))
    most.CopyFrom(int64s(most.name, 2, 2))
    for pair in ((proto, written), (written, proto)):
        assert verified(tmp_path, *pair, near).first_difference == "pool"


def test_a_bias_is_the_same_as_an_add_behind(tmp_path: Path) -> None:
    bias = weights((2,), "bias", 5)
    column = weights((2, 1, 1), "column", 5)

    def net(added: bool, last: Sequence[int]) -> ModelProto:
        first = [conv(0, "x", "a", SAME, "bias")]
        if added:
            add = helper.make_node("Add", ["column", "plain"], ["a"], "add")
            first = [conv(0, "x", "plain", SAME), add]
        return model([*first, conv(1, "a", "y", last)], {"x": SHAPE}, [*KERNELS, bias, column])

    near = Tolerance(1e-5)
    assert verified(tmp_path, net(False, SAME), net(True, SAME), near).status is Status.EQUIVALENT
    for added in (False, True):
        found = verified(tmp_path, net(added, SAME), net(not added, MOVED), near)
        assert found.first_difference == "c1", found.reason


def test_a_normalisation_that_one_of_them_has_folded_is_compared_behind(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    scale, offset, mean = (rng.uniform(1, 3, 2).astype(np.float32) for _ in range(3))
    names = ("scale", "offset", "mean")
    normal = [
        numpy_helper.from_array(a, n) for a, n in zip((scale, offset, mean), names, strict=True)
    ]
    normal.append(numpy_helper.from_array(np.float32([1, 1]), "var"))
    kernel = numpy_helper.to_array(KERNELS[0]) * scale[:, None, None, None]
    folded = numpy_helper.from_array(kernel, "w0")
    bias = numpy_helper.from_array(offset - mean * scale, "bias")

    def net(fold: bool, last: Sequence[int]) -> ModelProto:
        if fold:
            nodes, tensors = [conv(0, "x", "a", SAME, "bias")], [folded, bias]
        else:
            batch = ["plain", *names, "var"]
            norm = helper.make_node("BatchNormalization", batch, ["a"], "norm", epsilon=0.0)
            zero = numpy_helper.from_array(np.zeros(2, np.float32), "zero")
            nodes, tensors = (
                [conv(0, "x", "plain", SAME, "zero"), norm],
                [KERNELS[0], zero, *normal],
            )
        return model([*nodes, conv(1, "a", "y", last)], {"x": SHAPE}, [*tensors, KERNELS[1]])

    near = Tolerance(1e-4, 1e-3)
    assert verified(tmp_path, net(False, SAME), net(True, SAME), near).status is Status.EQUIVALENT
    for fold in (False, True):
        found = verified(tmp_path, net(fold, SAME), net(not fold, MOVED), near)
        assert found.first_difference == "c1", found.reason


def loop(first: Sequence[int], second: Sequence[int], alternating: bool = False) -> ModelProto:
    """A Loop of two convolutions; or one in which each pass takes another branch of an If."""
    nodes = [conv(0, "state", "a", first), conv(1, "a", "b", second)]
    if alternating:
        branches = {
            label: helper.make_graph(
                [conv(place, "state", f"b{place}", pads)],
                label,
                [],
                [helper.make_tensor_value_info(f"b{place}", FLOAT, None)],
            )
            for place, (label, pads) in enumerate((("then_branch", first), ("else_branch", second)))
        }
        parity = helper.make_node("Mod", ["i", "two"], ["rest"])
        nodes = [
            parity,
            helper.make_node("Cast", ["rest"], ["odd"], to=TensorProto.BOOL),
            helper.make_node("If", ["odd"], ["b"], "choice", **branches),
        ]
    nodes += [
        helper.make_node("Mul", ["b", "scale"], ["next"]),
        helper.make_node("Identity", ["go"], ["on"]),
    ]
    infos = [("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("state", FLOAT, SHAPE)]
    given = [helper.make_tensor_value_info(*info) for info in infos]
    results = [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("next", FLOAT, None),
    ]
    body = helper.make_graph(nodes, "step", given, results)
    constants = [
        helper.make_tensor("count", TensorProto.INT64, [], [4]),
        helper.make_tensor("two", TensorProto.INT64, [], [2]),
        helper.make_tensor("true", TensorProto.BOOL, [], [True]),
        helper.make_tensor("scale", FLOAT, [], [0.125]),
    ]
    around = helper.make_node("Loop", ["count", "true", "x"], ["y"], "loop", body=body)
    return model([around], {"x": SHAPE}, [*KERNELS, *constants])


def test_of_a_loop_the_operator_counts_that_differs_in_the_earliest_pass(tmp_path: Path) -> None:
    """In the second pass the first convolution reads what the second one has made wrong."""
    found = verified(tmp_path, loop(SAME, SAME), loop(SAME, MOVED))
    assert found.first_difference == "loop/body/c1"
    assert "in pass 1 of 'loop'" in found.reason
    assert found.error_map is not None
    assert found.error_map.shape == (1, 2, 9, 8)
    assert (
        verified(tmp_path, loop(SAME, SAME), loop(MOVED, SAME)).first_difference == "loop/body/c0"
    )


def test_what_cannot_be_handed_outwards_is_named_by_what_encloses_it(tmp_path: Path) -> None:
    """Passes of a loop that take different branches can't be stacked."""
    found = verified(tmp_path, loop(SAME, SAME, True), loop(SAME, MOVED, True))
    assert found.first_difference == "loop"
    assert "'loop/body/choice/else_branch/c1'" in found.reason
    assert found.error_map is not None


def test_the_two_sides_of_a_difference_meet_at_the_border_that_is_filled(tmp_path: Path) -> None:
    """A Pad that repeats the edge differs from one of zeros in what windows at the border see."""

    def net(mode: str) -> ModelProto:
        how = {"mode": mode}
        pad = helper.make_node("Pad", ["x", "amounts"], ["p"], "pad", **how)
        amounts = int64s("amounts", 0, 0, 1, 0, 0, 0, 0, 0)
        made = conv(0, "p", "y", [0, 1, 1, 2])
        return model([pad, made], {"x": SHAPE}, [*KERNELS, amounts])

    found = verified(tmp_path, net("constant"), net("edge"))
    assert found.first_difference == "c0"
    where = found.error_map
    assert where is not None
    assert where.extent[0] == (0, 0)
    assert where.interior == 0
    assert where.border > 0
    assert np.isfinite(where.max_abs)
