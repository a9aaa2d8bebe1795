"""Level "definition": what was not to be changed is as it was, wherever it stands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper

import padaudit
from padaudit.errors import InputError
from padaudit.formats.onnx.document import OnnxDocument
from padaudit.formats.onnx.leftovers import containers
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.plan import Wishes, make_plan
from padaudit.rewriting.run import loaded
from padaudit.verification.evidence import Status
from padaudit.verification.proof import prove_definition

sys.path.insert(0, str(Path(__file__).parents[1]))
from nested_nets import nets
from onnx_models import model

FAMILIES = (None, frozenset({"conv"}), frozenset({"max_pool", "avg_pool"}))


def places(proto: ModelProto, before: ModelProto) -> Iterator[tuple[Any, NodeProto]]:
    """Yield the nodes that were there before, and Pads; each with what holds it."""
    known = {node.name for container in containers(before) for node in container.node}
    for container in containers(proto):
        for node in container.node:
            if node.name in known or node.op_type == "Pad":
                yield container, node


def rewired(data: st.DataObject, container: Any, node: NodeProto) -> None:
    """Let a node read another tensor that stands ahead of it."""
    place = list(container.node).index(node)
    ahead = [name for item in list(container.node)[:place] for name in item.output if name]
    ahead += [item if isinstance(item, str) else item.name for item in container.input]
    slots = [slot for slot, name in enumerate(node.input) if name]
    if node.op_type == "Pad":
        slots = slots[:1]
    assume(slots)
    slot = data.draw(st.sampled_from(slots))
    others = [name for name in ahead if name != node.input[slot] and "/pad" not in name]
    assume(others)
    node.input[slot] = data.draw(st.sampled_from(others))


def reset(data: st.DataObject, container: Any, node: NodeProto) -> None:
    """Give a node that pads another attribute."""
    lists = [item for item in node.attribute if item.name in ("strides", "kernel_shape")]
    assume(lists)
    item = data.draw(st.sampled_from(lists))
    item.ints[data.draw(st.integers(0, 1))] += 1


def retyped(data: st.DataObject, container: Any, node: NodeProto) -> None:
    """Make an operator another one."""
    others = {"Relu": "Abs", "Add": "Sub", "Mul": "Add", "MaxPool": "AveragePool"}
    assume(node.op_type in others)
    node.op_type = others[node.op_type]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.parametrize("how", [rewired, reset, retyped], ids=lambda how: how.__name__)
def test_what_was_not_planned_is_as_it_was(how: Any, data: st.DataObject) -> None:
    proto: ModelProto = data.draw(nets())
    original = padaudit.load(proto)
    wishes = Wishes(families=data.draw(st.sampled_from(FAMILIES)))
    style = data.draw(st.sampled_from(["pad", "attrs"]))
    plan = make_plan(original.document, original.sites, style, wishes, original.graph)
    after: ModelProto = apply_plan(original.document, plan, original.graph).document.model
    if plan.edits:
        assert definition(original, after, plan) is Status.EQUIVALENT
    container, node = data.draw(st.sampled_from(list(places(after, proto))))
    before = after.SerializeToString()
    how(data, container, node)
    assume(after.SerializeToString() != before)
    assert definition(original, after, plan) is Status.DIFFERENT


def definition(original: Any, after: ModelProto, plan: Any) -> Status:
    source = after.SerializeToString()
    document = OnnxDocument(None, ModelProto.FromString(source), source)
    try:
        found = prove_definition(original, loaded(document, InputShapes()), plan)
    except InputError:  # it reads what nothing makes
        return Status.DIFFERENT
    return found.status


@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_the_data_of_a_site_may_not_come_from_elsewhere(style: str) -> None:
    """Two tensors of one shape: no operator alone tells which one it has to read."""
    window = {"kernel_shape": [3, 4], "auto_pad": "SAME_UPPER"}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["y"], "pool", **window),
    ]
    original = padaudit.load(model(nodes, {"x": (1, 2, 9, 8)}))
    plan = make_plan(original.document, original.sites, style, None, original.graph)
    after: ModelProto = apply_plan(original.document, plan, original.graph).document.model
    assert definition(original, after, plan) is Status.EQUIVALENT
    reader = next(node for node in after.graph.node if node.input[0] == "r")
    reader.input[0] = "x"
    assert definition(original, after, plan) is Status.DIFFERENT
