"""Level 1 catches wrong amounts in branches, loops and functions, and those of another place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper

import padaudit
from padaudit.formats.onnx.document import OnnxDocument, container_at
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.edit import Plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import Loaded, loaded
from padaudit.verification import site_level
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.proof import prove_definition, prove_site_level

sys.path.insert(0, str(Path(__file__).parents[1]))
from nested_nets import nets
from onnx_amounts import Amounts, amounts_of
from onnx_models import model, weights
from onnx_runs import run_here

MANY: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_level, "run", run_here)


def rewritten(proto: ModelProto, style: str) -> tuple[Loaded, Plan, ModelProto]:
    before = padaudit.load(proto)
    plan = make_plan(before.document, before.sites, style, Options().wishes, before.graph)
    assert not plan.kept
    return before, plan, apply_plan(before.document, plan, before.graph).document.model


def read(proto: ModelProto) -> Loaded:
    source = proto.SerializeToString()
    return loaded(OnnxDocument(None, ModelProto.FromString(source), source), InputShapes())


def proof(before: Loaded, plan: Plan, after: ModelProto) -> Verification:
    again = read(after)
    found = prove_definition(before, again, plan)
    if found.status is Status.EQUIVALENT:
        found = prove_site_level(before, again, plan, 60)
    return found


def moved(amounts: Amounts) -> list[list[int]]:
    """Return amounts with the windows of one axis moved by one; the sizes stay."""
    values, found = amounts.values, []
    rank = len(values) // 2
    for axis in range(rank):
        for step in (1, -1):
            changed = list(values)
            changed[axis] += step
            changed[axis + rank] -= step
            if min(changed) >= 0:
                found.append(changed)
    return found


@settings(max_examples=15, **MANY)
@given(st.data())
@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_moved_amounts_are_caught_wherever_they_stand(style: str, data: st.DataObject) -> None:
    proto: ModelProto = data.draw(nets(("branch", "loop", "scan", "call", "branch in call")))
    before, plan, after = rewritten(proto, style)
    assert proof(before, plan, after).status is Status.EQUIVALENT
    sites = read(after).sites
    site = data.draw(st.sampled_from(sites))
    found = amounts_of(after, site)
    changes = moved(found) if found is not None else []
    if found is None or not changes:
        return
    found.write(data.draw(st.sampled_from(changes)))
    verdict = proof(before, plan, after)
    assert verdict.status is Status.DIFFERENT, site.id
    same = [item.id for item in sites if item.op.origin == site.op.origin]
    assert verdict.first_difference in same


# --- amounts of another place -------------------------------------------------------------


def conv(name: str, data: str, result: str, **how: Any) -> NodeProto:
    settings = {"auto_pad": "SAME_UPPER", "strides": [2, 2], **how}
    return helper.make_node("Conv", [data, "w"], [result], name, **settings)


def two_calls(nested: bool) -> ModelProto:
    """A function is called at two sizes whose amounts differ, or within another function."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    inner = helper.make_function(
        "local", "Inner", ["data", "w"], ["result"], [conv("c", "data", "result")], imports
    )
    call = helper.make_node("Inner", ["data", "w"], ["result"], "inside", domain="local")
    outer = helper.make_function("local", "Outer", ["data", "w"], ["result"], [call], imports)
    kind = "Outer" if nested else "Inner"
    nodes = [
        helper.make_node(kind, ["x", "w"], ["y"], "first", domain="local"),
        helper.make_node(kind, ["z", "w"], ["v"], "second", domain="local"),
    ]
    return model(
        nodes,
        {"x": (1, 2, 12, 9), "z": (1, 2, 11, 10)},
        [weights((3, 2, 3, 4))],
        outputs=("y", "v"),
        domains=("local",),
        functions=[inner, outer] if nested else [inner],
    )


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_a_call_of_the_other_copy_is_caught(style: str, nested: bool) -> None:
    before, plan, after = rewritten(two_calls(nested), style)
    assert len(after.functions) == (4 if nested else 2)
    assert proof(before, plan, after).status is Status.EQUIVALENT
    first, second = after.graph.node
    for swapped in ((second.op_type, first.op_type), (first.op_type,) * 2, (second.op_type,) * 2):
        changed = ModelProto()
        changed.CopyFrom(after)
        for node, op_type in zip(changed.graph.node, swapped, strict=True):
            node.op_type = op_type
        verdict = proof(before, plan, changed)
        assert verdict.status is Status.DIFFERENT
        assert (verdict.first_difference or "").startswith(("first/", "second/"))


@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_amounts_of_the_other_branch_are_caught(style: str) -> None:
    bodies = {
        label: helper.make_graph(
            [conv("c", "x", f"{label}/y", **how)],
            label,
            [],
            [helper.make_tensor_value_info(f"{label}/y", 1, None)],
        )
        for label, how in (
            ("then_branch", {}),
            ("else_branch", {"auto_pad": "SAME_LOWER"}),
        )
    }
    choose = helper.make_node("If", ["choose"], ["y"], "choice", **bodies)
    proto = model([choose], {"x": (1, 2, 12, 9)}, [weights((3, 2, 3, 4))])
    proto.graph.input.append(helper.make_tensor_value_info("choose", 9, []))
    before, plan, after = rewritten(proto, style)
    found = [amounts_of(after, site) for site in read(after).sites]
    values = [item.values for item in found if item is not None]
    assert sorted(values) == [[0, 1, 1, 2], [1, 2, 0, 1]]
    for item, other in zip(found, values[::-1], strict=True):
        assert item is not None
        item.write(other)
    assert proof(before, plan, after).status is Status.DIFFERENT


@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_one_right_call_does_not_vouch_for_another(style: str) -> None:
    """Both calls are alike, so that they share a function; one of them gets a wrong copy."""
    proto = two_calls(False)
    proto.graph.input[1].type.CopyFrom(proto.graph.input[0].type)
    before, plan, after = rewritten(proto, style)
    assert len(after.functions) == 1
    copy = after.functions.add()
    copy.CopyFrom(after.functions[0])
    copy.name = "Wrong"
    after.graph.node[1].op_type = "Wrong"
    site = next(item for item in read(after).sites if item.id.startswith("second/"))
    assert container_at(after, site.op.origin.steps).name == "Wrong"
    found = amounts_of(after, site)
    assert found is not None
    found.write(moved(found)[0])
    verdict = proof(before, plan, after)
    assert (verdict.status, verdict.first_difference) == (Status.DIFFERENT, site.id)
