"""Level 1 of the proof where pads move or serve all sizes: every mutant is caught."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import Wishes, make_plan
from padaudit.rewriting.run import load
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.proof import prove_rewrite

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import attribute, model, weights

FIXED, OPEN = (17, 14), ("H", "W")


def tensor(name: str, values: Any, dtype: Any) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def prove(
    original: ModelProto,
    folder: Path,
    style: str,
    mutate: Callable[[ModelProto], None] | None = None,
    wishes: Wishes | None = None,
) -> Verification:
    """Rewrite, change the result by one thing, write it, and prove each site alone."""
    source, written = folder / "m.onnx", folder / "written.onnx"
    source.write_bytes(original.SerializeToString())
    read = load(source, InputShapes())
    plan = make_plan(read.document, read.sites, style, wishes, read.graph)
    assert len(plan.edits) == 1
    result: ModelProto = apply_plan(read.document, plan, read.graph).document.model
    if mutate is not None:
        mutate(result)
    written.write_bytes(result.SerializeToString())
    return prove_rewrite(read, written, plan, Options(style=style, verify="site"))


def site(proto: ModelProto) -> NodeProto:
    return next(node for node in proto.graph.node if node.name == "site")


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def initializer(proto: ModelProto, suffix: str) -> TensorProto | None:
    return next((t for t in proto.graph.initializer if t.name.endswith(suffix)), None)


def amounts(proto: ModelProto) -> tuple[list[int], Callable[[list[int]], None]]:
    """Return the amounts where they stand, and how to write others there."""
    stored = initializer(proto, "site/pad/pads")
    if stored is not None:
        name = stored.name
        return numpy_helper.to_array(stored).tolist(), lambda values: stored.CopyFrom(
            tensor(name, values, np.int64)
        )
    node = site(proto)
    return attribute(node, "pads"), lambda values: set_attribute(node, "pads", values)


def add(place: int, amount: int) -> Callable[[ModelProto], None]:
    def mutate(proto: ModelProto) -> None:
        values, write = amounts(proto)
        values[place] += amount
        write(values)

    return mutate


def shifts(proto: ModelProto) -> Iterator[tuple[int, int]]:
    """Yield changes of one amount that move or lose a window: more before, less anywhere."""
    values, _ = amounts(proto)
    half = len(values) // 2
    for place, value in enumerate(values):
        padded = value > 0 or values[(place + half) % len(values)] > 0
        if padded and place < half:
            yield place, 1
        if value > 0:
            yield place, -1


@pytest.mark.parametrize("mutant", [("ceil_mode", 1), ("pads", [1, 0, 1, 1])])
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_a_mutant_of_pads_for_all_sizes_is_caught(
    op_type: str, mutant: tuple[str, Any], tmp_path: Path
) -> None:
    window = {"kernel_shape": [4, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}
    node = helper.make_node(op_type, ["x"], ["y"], "site", **window)
    original = model([node], {"x": (1, 2, *OPEN)}, opset=9)
    assert prove(original, tmp_path, "attrs").status is Status.EQUIVALENT

    def mutate(proto: ModelProto) -> None:
        assert attribute(site(proto), "pads") == [1, 0, 2, 1]
        set_attribute(site(proto), *mutant)

    assert prove(original, tmp_path, "attrs", mutate).status is not Status.EQUIVALENT


# --- hoisted and folded ---------------------------------------------------------------------


def explicit_conv(padded: bool) -> ModelProto:
    conv = helper.make_node(
        "Conv", ["h" if padded else "x", "w"], ["y"], "site", strides=[1, 1], pads=[0, 1, 1, 2]
    )
    pad = helper.make_node("Pad", ["x", "amounts"], ["h"], "ahead")
    ahead = [tensor("amounts", [0, 0, 1, 2, 0, 0, 3, 0], np.int64)]
    nodes, tensors = ([pad, conv], ahead) if padded else ([conv], [])
    return model(nodes, {"x": (1, 2, *FIXED)}, [weights((4, 2, 3, 4)), *tensors])


@pytest.mark.parametrize(("style", "padded"), [("pad", False), ("attrs", True)])
def test_hoisted_and_folded_amounts_are_proven(style: str, padded: bool, tmp_path: Path) -> None:
    wishes = Wishes(fold=True) if padded else Wishes(hoist="all")
    original = explicit_conv(padded)
    assert prove(original, tmp_path, style, None, wishes).status is Status.EQUIVALENT
    seen: list[tuple[int, int]] = []
    prove(original, tmp_path, style, lambda proto: seen.extend(shifts(proto)), wishes)
    for place, amount in seen:
        verdict = prove(original, tmp_path, style, add(place, amount), wishes)
        assert verdict.status is not Status.EQUIVALENT, (place, amount)
