"""Where onnxruntime errs on padded operators is known: elsewhere it agrees with the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from padaudit.formats.onnx.document import OnnxDocument
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.run import loaded
from padaudit.verification import oracle
from padaudit.verification.known_errors import (
    onnxruntime_errs,
    read_in_two_ways,
    refused_by_onnxruntime,
)
from padaudit.verification.runner import Job, RunOutcome, run

Array = NDArray[Any]
MODES = {
    "NOTSET": "explicit",
    "VALID": "valid",
    "SAME_UPPER": "same_upper",
    "SAME_LOWER": "same_lower",
}
OPSETS = {
    "Conv": (11, 22),
    "ConvTranspose": (11, 22),
    "MaxPool": (8, 10, 12, 22),
    "AveragePool": (7, 10, 11, 19, 22),
    "LpPool": (11, 18, 22),
}
DILATED_FROM = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}
CEIL_FROM = {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}


@dataclass(frozen=True)
class Case:
    """An operator on integers, what the oracle says of it, and its model."""

    site: PaddingSite
    model: bytes
    data: Array
    expected: Array

    @property
    def known(self) -> bool:
        """Whether something is said of what onnxruntime does with it."""
        judges = (onnxruntime_errs, refused_by_onnxruntime, read_in_two_ways)
        return any(judge(self.site) for judge in judges)


def drawn(rng: np.random.Generator) -> Case | None:
    """Draw an operator; None where the oracle has no output to compare."""
    op = str(rng.choice(list(OPSETS)))
    opset, rank = int(rng.choice(OPSETS[op])), int(rng.integers(1, 4))
    kernel, strides, size = (rng.integers(1, limit, rank).tolist() for limit in (5, 6, 13))
    dilated = rng.random() < 0.35 and opset >= DILATED_FROM.get(op, 0)
    dilations = rng.integers(1, 4, rank).tolist() if dilated else [1] * rank
    mode = str(rng.choice(list(MODES)))
    how: dict[str, Any] = {"strides": strides, "dilations": dilations}
    if not dilated:
        del how["dilations"]
    placed = {"strides": strides, "dilations": dilations, "mode": MODES[mode]}
    if mode == "NOTSET":
        pads = [int(rng.integers(0, k)) for k in kernel * 2]
        how["pads"] = pads
        placed["pads"] = list(zip(pads[:rank], pads[rank:], strict=True))
    else:
        how["auto_pad"] = mode
    data = rng.integers(-9, 10, (1, 2, *size)).astype(np.float32)
    if op in CEIL_FROM:
        return pooled(op, opset, kernel, how, placed, data, rng)
    return convolved(op, opset, kernel, how, placed, data, rng)


def pooled(
    op: str,
    opset: int,
    kernel: list[int],
    how: dict[str, Any],
    placed: dict[str, Any],
    data: Array,
    rng: np.random.Generator,
) -> Case | None:
    how["kernel_shape"] = kernel
    explicit = placed["mode"] == "explicit"
    if rng.random() < 0.4 and opset >= CEIL_FROM[op]:
        how["ceil_mode"] = 1
        placed["ceil_mode"] = explicit
    if op == "AveragePool":
        how["count_include_pad"] = int(rng.integers(2))
        found = oracle.average_pool(
            data, kernel, count_include_pad=bool(how["count_include_pad"]), **placed
        )
    elif op == "LpPool":
        found = oracle.lp_pool(data, kernel, **placed)
    else:
        found = oracle.max_pool(data, kernel, **placed)[0]
    return case(op, opset, how, data, found, [])


def convolved(
    op: str,
    opset: int,
    kernel: list[int],
    how: dict[str, Any],
    placed: dict[str, Any],
    data: Array,
    rng: np.random.Generator,
) -> Case | None:
    weights = rng.integers(-3, 4, (2, 2, *kernel)).astype(np.float32)
    function = oracle.convolve if op == "Conv" else oracle.conv_transpose
    try:
        found = function(data, weights, **placed)
    except ValueError:  # more is cropped than there is
        return None
    return case(op, opset, how, data, found, [numpy_helper.from_array(weights, "w")])


def case(
    op: str, opset: int, how: dict[str, Any], data: Array, found: Array, weights: list[Any]
) -> Case | None:
    if found.size == 0:
        return None
    node = helper.make_node(op, ["x", *(item.name for item in weights)], ["y"], "op", **how)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(data.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    opsets = [helper.make_opsetid("", opset)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (site,) = loaded(OnnxDocument(None, proto), InputShapes()).sites
    return Case(site, proto.SerializeToString(), data, found)


def cases(seed: int, count: int) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    while count:
        found = drawn(rng)
        if found is not None:
            count -= 1
            yield found


def agrees(item: Case, outcome: RunOutcome) -> bool:
    if outcome.outputs is None:
        return False
    (result,) = outcome.outputs[0]
    if result.shape != item.expected.shape:
        return False
    # What a window gives that holds no element is defined by nobody.
    defined = np.isfinite(item.expected)
    return bool(np.allclose(result[defined], item.expected[defined], rtol=1e-5, atol=1e-5))


def surprises(seed: int, count: int) -> tuple[list[str], int]:
    """Return where onnxruntime disagrees unexpectedly, and how often it was known to."""
    drawn_cases = list(cases(seed, count))
    outcomes = run([Job(item.model, ({"x": item.data},)) for item in drawn_cases], timeout=60)
    wrong = [
        item
        for item, outcome in zip(drawn_cases, outcomes, strict=True)
        if not agrees(item, outcome)
    ]
    told = [f"{item.site.op} on {item.data.shape}" for item in wrong if not item.known]
    return told, len([item for item in wrong if item.known])


def test_onnxruntime_disagrees_with_the_oracle_only_where_that_is_known() -> None:
    told, known = surprises(0, 250)
    assert not told
    assert known > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_so_it_is_over_many_operators(seed: int) -> None:
    told, known = surprises(seed, 1500)
    assert not told
    assert known > 120
