"""Rewriting ONNX models: what changes, what stays, and that the result computes the same.

Expected values come from torch, with amounts that are counted window by window.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import padaudit
from padaudit import api
from padaudit.rewriting.edit import Plan
from padaudit.rewriting.plan import make_plan
from padaudit.verification.evidence import Status

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import Dims, attribute, constant, conv_model, model, node_types, weights

Array = np.ndarray[Any, Any]
Build = Callable[[], ModelProto]
FIXTURES = Path(__file__).parents[2] / "fixtures"
STRIDED: dict[str, Any] = {"strides": [3, 2], "auto_pad": "SAME_UPPER"}
LATEST = onnx.defs.onnx_opset_version()


# --- helpers ------------------------------------------------------------------------------


def plan_of(proto: ModelProto, style: str = "pad") -> Plan:
    """Return what a rewrite of a model would do."""
    loaded = padaudit.load(proto)
    return make_plan(loaded.document, loaded.sites, style)


def counted_pads(
    size: int, kernel: int, stride: int, dilation: int, lower: bool
) -> tuple[int, int]:
    """Add elements one by one until as many windows fit as "same" asks for."""
    extent = len(range(0, (kernel - 1) * dilation + 1))
    wanted = len(range(0, size, stride))
    total = 0
    while len(range(0, size + total - extent + 1, stride)) < wanted:
        total += 1
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def expected_conv(
    data: Array,
    kernel: Array,
    bias: Array | None,
    strides: Sequence[int],
    dilations: Sequence[int],
    group: int,
    auto_pad: str,
) -> Array:
    """Return what a "same" convolution gives: F.pad, then torch without padding."""
    rank = kernel.ndim - 2
    axes = zip(data.shape[2:], kernel.shape[2:], strides, dilations, strict=True)
    pads = [counted_pads(*axis, auto_pad == "SAME_LOWER") for axis in axes]
    flat = [amount for pair in reversed(pads) for amount in pair]
    padded = torch.nn.functional.pad(torch.from_numpy(data.astype(np.float64)), flat)
    conv = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)
    result = conv[rank - 1](
        padded,
        torch.from_numpy(kernel.astype(np.float64)),
        None if bias is None else torch.from_numpy(bias.astype(np.float64)),
        stride=tuple(strides),
        dilation=tuple(dilations),
        groups=group,
    )
    return np.asarray(result.numpy())


def run_onnxruntime(proto: ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """Run a model as it stands, without graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(value) for value in session.run(None, feeds)]


def integers(shape: Sequence[int], seed: int = 5, dtype: Any = np.float32) -> Array:
    """Return small integers: sums of their products are exact."""
    return np.random.default_rng(seed).integers(-4, 5, tuple(shape)).astype(dtype)


def conv_nodes(proto: ModelProto) -> list[NodeProto]:
    return [node for node in every_node(proto) if node.op_type == "Conv"]


def every_node(proto: ModelProto) -> list[NodeProto]:
    """Return the nodes of the graph, of all bodies and of all functions."""

    def walk(container: Any) -> list[NodeProto]:
        found: list[NodeProto] = []
        for node in container.node:
            found.append(node)
            for item in node.attribute:
                if item.type == onnx.AttributeProto.GRAPH:
                    found += walk(item.g)
        return found

    return walk(proto.graph) + [node for function in proto.functions for node in walk(function)]


def assert_unpadded(node: NodeProto) -> None:
    """A rewritten Conv says nothing about padding any more."""
    assert attribute(node, "auto_pad") is None
    assert attribute(node, "pads") is None


def assert_same_frame(before: ModelProto, after: ModelProto) -> None:
    """Versions, inputs and outputs are not touched."""
    assert after.ir_version == before.ir_version
    assert list(after.opset_import) == list(before.opset_import)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    given = {tensor.name: tensor for tensor in after.graph.initializer}
    assert all(given[tensor.name] == tensor for tensor in before.graph.initializer)


def assert_stable(proto: ModelProto, style: str = "pad") -> ModelProto:
    """Rewriting does not touch its input, is deterministic, and a second time does nothing."""
    original = proto.SerializeToString(deterministic=True)
    once = padaudit.explicit(proto, style=style)
    assert proto.SerializeToString(deterministic=True) == original
    first = once.SerializeToString(deterministic=True)
    again = padaudit.explicit(proto, style=style)
    assert again.SerializeToString(deterministic=True) == first
    twice = padaudit.explicit(once, style=style)
    assert twice.SerializeToString(deterministic=True) == first
    assert_valid(once)
    return once


def assert_valid(proto: ModelProto) -> None:
    """Let onnx check a model; its outputs get the shape field that onnx insists on."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    graphs = [copy.graph]
    graphs += [item.g for node in every_node(copy) for item in node.attribute if item.HasField("g")]
    for value in (value for graph in graphs for value in graph.output):
        value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(copy)


def pad_amounts(proto: ModelProto, pad: NodeProto) -> list[int]:
    """Return a Pad's amounts, in whatever form its opset has them."""
    if len(pad.input) > 1:
        return [int(value) for value in constant(proto, pad.input[1])]
    return list(attribute(pad, "pads"))


# --- pairs: rewritten / left alone --------------------------------------------------------


def plain_conv(**attributes: Any) -> ModelProto:
    """Return a 4 x 3 Conv (height x width) on 17 x 14."""
    return conv_model((17, 14), (4, 3), **attributes)


def after_custom(known: bool, opset: int) -> ModelProto:
    """Return a Conv behind a Relu, or behind a node whose output size nobody knows."""
    first = helper.make_node("Relu", ["x"], ["h"], "first")
    if not known:
        first = helper.make_node("Blur", ["x"], ["h"], "first", domain="com.example")
    conv = helper.make_node("Conv", ["h", "w"], ["y"], "conv", **STRIDED)
    return model(
        [first, conv],
        {"x": (1, 2, 17, 14)},
        [weights((4, 2, 4, 3))],
        opset=opset,
        domains=() if known else ("com.example",),
    )


def called_function(*sizes: tuple[int, int]) -> ModelProto:
    """Return a local function with a "same" Conv, called once per input size."""
    inner = helper.make_node("Conv", ["a", "k"], ["c"], "inner", **STRIDED)
    function = helper.make_function(
        "local", "Padded", ["a", "k"], ["c"], [inner], [helper.make_opsetid("", 17)]
    )
    calls = [
        helper.make_node("Padded", [f"x{i}", "w"], [f"y{i}"], f"call{i}", domain="local")
        for i in range(len(sizes))
    ]
    proto = model(
        calls,
        {f"x{i}": (1, 2, *size) for i, size in enumerate(sizes)},
        [weights((4, 2, 4, 3))],
        outputs=[f"y{i}" for i in range(len(sizes))],
        domains=("local",),
    )
    proto.functions.append(function)
    return proto


PAIRS: dict[str, tuple[Build, Build, str, str]] = {
    # why: (is rewritten, stays, style, what the reason says; "" where the site is not implicit)
    "SAME_UPPER is implicit, VALID is not": (
        lambda: plain_conv(**STRIDED),
        lambda: plain_conv(strides=[3, 2], auto_pad="VALID"),
        "pad",
        "",
    ),
    "SAME_LOWER is implicit, NOTSET with pads is not": (
        lambda: plain_conv(strides=[3, 2], auto_pad="SAME_LOWER"),
        lambda: plain_conv(strides=[3, 2], auto_pad="NOTSET", pads=[1, 0, 2, 1]),
        "pad",
        "",
    ),
    "auto_pad alone is clear, auto_pad with pads is not": (
        lambda: plain_conv(**STRIDED),
        lambda: plain_conv(**STRIDED, pads=[1, 0, 2, 1]),
        "pad",
        "auto_pad stands together with pads",
    ),
    "auto_pad alone is clear, auto_pad with pads is not, as attributes": (
        lambda: plain_conv(**STRIDED),
        lambda: plain_conv(**STRIDED, pads=[1, 0, 2, 1]),
        "attrs",
        "auto_pad stands together with pads",
    ),
    "an open size at stride 2 can be computed from opset 11 on": (
        lambda: conv_model((17, "W"), (4, 3), strides=[1, 2], auto_pad="SAME_UPPER", opset=11),
        lambda: conv_model((17, "W"), (4, 3), strides=[1, 2], auto_pad="SAME_UPPER", opset=10),
        "pad",
        "Pad of opset 10 can't compute them; convert the model with --opset 11",
    ),
    "an open height is harmless at stride 1 of that axis, an open width at stride 2 is not": (
        lambda: conv_model(("H", 14), (4, 3), strides=[1, 2], auto_pad="SAME_UPPER", opset=9),
        lambda: conv_model((17, "W"), (4, 3), strides=[1, 2], auto_pad="SAME_UPPER", opset=9),
        "pad",
        "--input-shape",
    ),
    "the size behind a Relu is known, behind a custom node it is not": (
        lambda: after_custom(True, opset=10),
        lambda: after_custom(False, opset=10),
        "pad",
        "its amounts depend on a size that is open",
    ),
    "an AveragePool of open size can be sliced from opset 10 on": (
        lambda: pool("AveragePool", (17, "W"), opset=10),
        lambda: pool("AveragePool", (17, "W"), opset=9),
        "pad",
        "no Slice of opset 9 follows a size; one of --opset 10 does",
    ),
    "a MaxPool with Indices of open size can be sliced from opset 10 on": (
        lambda: pool("MaxPool", (17, "W"), ("y", "indices"), opset=10),
        lambda: pool("MaxPool", (17, "W"), ("y", "indices"), opset=9),
        "attrs",
        "no Slice of opset 9",
    ),
    "a dilated mean of open size has amounts below its kernel, or no form": (
        lambda: pool("AveragePool", (17, "W"), opset=19, dilations=[1, 1]),
        lambda: pool("AveragePool", (17, "W"), opset=19, dilations=[1, 3]),
        "auto",
        "that are not smaller than the kernel",
    ),
}


def pool(
    op_type: str, sizes: Dims, outputs: Sequence[str] = ("y",), opset: int = 17, **attributes: Any
) -> ModelProto:
    settings_ = {"kernel_shape": [4, 3], **STRIDED, **attributes}
    node = helper.make_node(op_type, ["x"], list(outputs), "pool", **settings_)
    return model([node], {"x": (1, 2, *sizes)}, opset=opset)


def test_a_sliced_pool_says_what_it_costs_and_which_site_it_belongs_to(tmp_path: Path) -> None:
    proto = pool("AveragePool", (17, "W"))
    proto.ir_version = 10
    source, target = tmp_path / "m.onnx", tmp_path / "sliced.onnx"
    source.write_bytes(proto.SerializeToString())
    result = padaudit.rewrite(source, target)
    (edit,) = result.plan.edits
    assert (edit.strategy, edit.pads) == ("onnx_sliced_pool", None)
    assert "stride 1" in edit.note
    made = onnx.load(target).graph.node[-1]
    assert {item.key: item.value for item in made.metadata_props} == {
        "padaudit.site": "pool",
        "padaudit.strategy": "onnx_sliced_pool",
    }
    assert list(made.output) == ["y"]


@pytest.mark.parametrize(("strides", "tolerance"), [([3, 2], "tolerance 0"), ([2, 3], "1e-05")])
def test_means_are_compared_exactly_where_they_are_summed_in_one_order(
    strides: list[int], tolerance: str, tmp_path: Path
) -> None:
    proto = pool("AveragePool", ("H", "W"), kernel_shape=[5, 7], strides=strides)
    source = tmp_path / "m.onnx"
    source.write_bytes(proto.SerializeToString())
    result = padaudit.rewrite(source, tmp_path / "sliced.onnx", verify="model")
    (level,) = [item for item in result.verification.evidence if item.level == "model"]
    assert result.verification.status is Status.EQUIVALENT
    assert tolerance in level.detail


@pytest.mark.parametrize("why", PAIRS)
def test_is_rewritten(why: str) -> None:
    build, _, style, _ = PAIRS[why]
    proto = build()
    plan = plan_of(proto, style)
    assert plan.edits
    assert not plan.kept
    after = assert_stable(proto, style)
    assert_same_frame(proto, after)
    assert all(attribute(node, "auto_pad") is None for node in conv_nodes(after))
    assert not any(site.implicit for site in padaudit.load(after).sites)


@pytest.mark.parametrize("why", PAIRS)
def test_is_left_alone(why: str) -> None:
    _, build, style, reason = PAIRS[why]
    proto = build()
    plan = plan_of(proto, style)
    assert not plan.edits
    assert bool(plan.kept) == bool(reason)
    assert all(reason in kept.reason for kept in plan.kept)
    after = padaudit.explicit(proto, style=style)
    assert after.SerializeToString(deterministic=True) == proto.SerializeToString(
        deterministic=True
    )


def test_the_open_stride_2_convolution_of_the_fixture_computes_its_amounts() -> None:
    proto = onnx.load(FIXTURES / "auto-pad-open.onnx")
    plan = plan_of(proto)
    assert [(edit.site.id, edit.pads) for edit in plan.edits] == [
        ("stride_1", ((1, 1), (1, 2))),
        ("stride_2", None),
    ]
    assert not plan.kept
    after = assert_stable(proto)
    assert "Shape" in [node.op_type for node in after.graph.node]


# --- structure ----------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [2, 6, 9, 10])
def test_pad_before_opset_11_has_attributes(opset: int) -> None:
    proto = plain_conv(**STRIDED, opset=opset, ir_version=3 if opset < 9 else 4)
    after = assert_stable(proto)
    pad, conv = after.graph.node
    assert (pad.op_type, list(pad.input)) == ("Pad", ["x"])
    assert attribute(pad, "pads") == [0, 0, 1, 0, 0, 0, 1, 1]
    assert attribute(pad, "value") == 0.0
    assert list(after.graph.initializer) == list(proto.graph.initializer)
    assert conv.input[0] == pad.output[0]
    assert_unpadded(conv)


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 18, 19, 21, LATEST])
def test_pad_from_opset_11_on_has_three_inputs_and_full_rank(opset: int) -> None:
    proto = plain_conv(**STRIDED, opset=opset)
    after = assert_stable(proto)
    assert_same_frame(proto, after)
    pad, conv = after.graph.node
    assert pad.op_type == "Pad"
    assert list(pad.input) == ["x", "conv/pad/pads", "conv/pad/value"]
    amounts = constant(after, "conv/pad/pads")
    assert amounts.dtype == np.int64
    assert amounts.tolist() == [0, 0, 1, 0, 0, 0, 1, 1]
    value = constant(after, "conv/pad/value")
    assert (value.dtype, value.shape, float(value)) == (np.dtype(np.float32), (), 0.0)
    assert attribute(pad, "mode") in (None, b"constant")
    assert conv.input[0] == pad.output[0]
    assert_unpadded(conv)


@pytest.mark.parametrize("opset", [1, 2, 9, 11, 17, LATEST])
def test_attrs_style_adds_no_node_at_any_opset(opset: int) -> None:
    proto = plain_conv(**STRIDED, opset=opset, ir_version=3 if opset < 9 else 8)
    after = assert_stable(proto, "attrs")
    assert_same_frame(proto, after)
    (conv,) = after.graph.node
    assert attribute(conv, "auto_pad") is None
    assert attribute(conv, "pads") == [1, 0, 1, 1]
    assert list(after.graph.initializer) == list(proto.graph.initializer)


@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_nothing_to_pad_only_removes_the_attribute(style: str) -> None:
    proto = conv_model((15, 14), (1, 2), strides=[3, 2], auto_pad="SAME_UPPER")
    after = assert_stable(proto, style)
    assert node_types(after) == ["Conv"]
    assert_unpadded(after.graph.node[0])


def test_only_padding_attributes_of_the_conv_change() -> None:
    proto = conv_model(
        (17, 14), (4, 3), kernel_shape=[4, 3], group=2, strides=[3, 2], auto_pad="SAME_LOWER"
    )
    proto.graph.node[0].doc_string = "written by hand"
    after = assert_stable(proto)
    conv, before = after.graph.node[1], proto.graph.node[0]
    for name in ("kernel_shape", "strides", "group"):
        assert attribute(conv, name) == attribute(before, name)
    assert (conv.name, conv.doc_string) == ("conv", "written by hand")
    assert list(conv.input[1:]) == ["w", "b"]
    assert list(conv.output) == ["y"]


def test_metadata_and_everything_around_stay() -> None:
    proto = plain_conv(**STRIDED)
    helper.set_model_props(proto, {"author": "someone"})
    proto.producer_name, proto.graph.doc_string = "an exporter", "a graph"
    known = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 6, 7))
    proto.graph.value_info.append(known)
    after = assert_stable(proto)
    for field in ("producer_name", "metadata_props", "ir_version", "opset_import"):
        assert getattr(after, field) == getattr(proto, field)
    assert after.graph.doc_string == "a graph"
    assert after.graph.value_info == proto.graph.value_info


# --- names --------------------------------------------------------------------------------


def two_convs(first: str, second: str) -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], first, **STRIDED),
        helper.make_node("Conv", ["h", "w2"], ["y"], second, strides=[2, 1], auto_pad="SAME_LOWER"),
    ]
    return model(
        nodes, {"x": (1, 2, 17, 14)}, [weights((3, 2, 4, 3)), weights((4, 3, 2, 4), "w2", seed=2)]
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("", ""), ("same", "same"), ("", "Conv_0"), ("a", "a/pad"), ("a/pad", "a")],
    ids=["unnamed", "duplicate", "like the substitute", "like the new one", "reversed"],
)
def test_new_names_are_unique_and_results_equal(first: str, second: str) -> None:
    proto = two_convs(first, second)
    after = assert_stable(proto)
    assert node_types(after) == ["Pad", "Conv", "Pad", "Conv"]
    assert [node.name for node in conv_nodes(after)] == [first, second]
    pads = [node.name for node in after.graph.node if node.op_type == "Pad"]
    assert len({*pads, first, second}) == len({first, second}) + 2
    feed = {"x": integers((1, 2, 17, 14))}
    # onnxruntime refuses two nodes of one name; onnx's own evaluator does not.
    (got,) = ReferenceEvaluator(after).run(None, feed)
    inner = expected_conv(feed["x"], constant(proto, "w"), None, (3, 2), (1, 1), 1, "SAME_UPPER")
    expected = expected_conv(inner, constant(proto, "w2"), None, (2, 1), (1, 1), 1, "SAME_LOWER")
    np.testing.assert_array_equal(got, expected)


def test_tensors_that_already_have_the_new_names_are_not_captured() -> None:
    taken = ["conv/pad", "conv/pad/pads", "conv/pad/value", "x/conv/pad"]
    nodes = [helper.make_node("Identity", ["x"], [taken[0]], taken[0])]
    nodes += [helper.make_node("Neg", [a], [b]) for a, b in pairwise(taken)]
    nodes.append(helper.make_node("Conv", ["x", "w"], ["h"], "conv", **STRIDED))
    nodes.append(helper.make_node("Identity", [taken[-1]], ["z"]))
    proto = model(nodes, {"x": (1, 2, 17, 14)}, [weights((4, 2, 4, 3))], outputs=("h", "z"))
    after = assert_stable(proto)
    feed = {"x": integers((1, 2, 17, 14))}
    results = zip(run_onnxruntime(proto, feed), run_onnxruntime(after, feed), strict=True)
    for before, now in results:
        np.testing.assert_array_equal(before, now)
    pad = next(node for node in after.graph.node if node.op_type == "Pad")
    assert not {pad.name, *pad.input[1:], *pad.output} & set(taken)


def test_names_inside_bodies_count_as_taken() -> None:
    proto = if_model()
    body = proto.graph.node[0].attribute[0].g
    body.node[0].output[0] = body.output[0].name = "outside/pad"
    proto.graph.node[1].name = "outside"
    after = assert_stable(proto)
    names = [name for node in every_node(after) for name in (*node.output, node.name) if name]
    assert len(names) == len(set(names)) + sum(
        node.name in node.output for node in every_node(after)
    )


# --- shapes, groups, types ----------------------------------------------------------------

WINDOWS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1-D, even kernel": ((21,), (4,), {"strides": [2]}),
    "1-D, stride over kernel": ((22,), (2,), {"strides": [5]}),
    "2-D, even and odd": ((17, 14), (4, 3), {"strides": [3, 2]}),
    "2-D, stride over kernel on one axis": ((17, 14), (2, 5), {"strides": [4, 1]}),
    "2-D, dilated": ((17, 14), (3, 2), {"strides": [1, 2], "dilations": [2, 3]}),
    "2-D, kernel over input": ((3, 2), (6, 7), {"strides": [2, 1]}),
    "3-D": ((7, 10, 9), (2, 3, 4), {"strides": [2, 1, 3]}),
    "3-D, dilated": ((7, 10, 9), (3, 2, 4), {"strides": [1, 2, 3], "dilations": [2, 1, 3]}),
}


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("style", ["pad", "attrs"])
@pytest.mark.parametrize("window", WINDOWS)
def test_every_rank_computes_what_torch_computes(window: str, style: str, mode: str) -> None:
    size, kernel, attributes = WINDOWS[window]
    proto = conv_model(size, kernel, auto_pad=mode, **attributes)
    after = assert_stable(proto, style)
    assert_conv_result(after, mode)


@pytest.mark.parametrize(
    ("group", "channels", "filters"),
    [(1, 2, 4), (3, 6, 9), (4, 4, 8), (5, 5, 5)],
    ids=["one group", "three groups", "depthwise x 2", "depthwise"],
)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_groups_and_bias(group: int, channels: int, filters: int, bias: bool) -> None:
    proto = conv_model((17, 14), (4, 3), group=group, channels=channels, filters=filters, **STRIDED)
    if not bias:
        del proto.graph.node[0].input[2]
        del proto.graph.initializer[1]
    after = assert_stable(proto)
    assert len(conv_nodes(after)[0].input) == 2 + bias
    assert_conv_result(after, "SAME_UPPER")


def assert_conv_result(after: ModelProto, mode: str) -> None:
    """Compare a rewritten one-Conv model of fixed size with torch."""
    conv = conv_nodes(after)[0]
    kernel = constant(after, conv.input[1])
    bias = constant(after, conv.input[2]) if len(conv.input) > 2 else None
    rank = kernel.ndim - 2
    data = integers([dim.dim_value for dim in after.graph.input[0].type.tensor_type.shape.dim])
    expected = expected_conv(
        data,
        kernel,
        bias,
        attribute(conv, "strides") or [1] * rank,
        attribute(conv, "dilations") or [1] * rank,
        attribute(conv, "group") or 1,
        mode,
    )
    np.testing.assert_array_equal(run_onnxruntime(after, {"x": data})[0], expected)


@pytest.mark.parametrize(
    ("element", "dtype"),
    [(TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64)],
    ids=["float16", "double"],
)
@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_the_pad_value_has_the_type_of_the_data(element: int, dtype: Any, style: str) -> None:
    kernel = integers((4, 2, 4, 3), seed=1, dtype=dtype)
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **STRIDED)
    proto = model(
        [node], {"x": (1, 2, 17, 14)}, [numpy_helper.from_array(kernel, "w")], dtype=element
    )
    after = assert_stable(proto, style)
    if style == "pad":
        assert constant(after, "conv/pad/value").dtype == np.dtype(dtype)
    data = integers((1, 2, 17, 14), dtype=dtype)
    # onnxruntime has no Conv for double; onnx's own evaluator does.
    (got,) = ReferenceEvaluator(after).run(None, {"x": data})
    expected = expected_conv(data, kernel, None, (3, 2), (1, 1), 1, "SAME_UPPER")
    np.testing.assert_array_equal(np.asarray(got, np.float64), expected)


# --- where weights and constants stand ----------------------------------------------------


def weights_as_constant() -> ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["w"], "weights", value=weights((4, 2, 4, 3))),
        helper.make_node("Conv", ["x", "w"], ["y"], "conv", **STRIDED),
    ]
    return model(nodes, {"x": (1, 2, 17, 14)})


def weights_as_input() -> ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **STRIDED)
    return model([node], {"x": (1, 2, 17, 14), "w": (4, 2, 4, 3)})


def weights_cast() -> ModelProto:
    half = numpy_helper.from_array(integers((4, 2, 4, 3), seed=0, dtype=np.float16), "half")
    nodes = [
        helper.make_node("Cast", ["half"], ["w"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "w"], ["y"], "conv", **STRIDED),
    ]
    return model(nodes, {"x": (1, 2, 17, 14)}, [half])


def weights_in_initializer() -> ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **STRIDED)
    return model([node], {"x": (1, 2, 17, 14)}, [weights((4, 2, 4, 3))])


def weights_of_ir_3() -> ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **STRIDED)
    return model([node], {"x": (1, 2, 17, 14)}, [weights((4, 2, 4, 3))], opset=11, ir_version=3)


@pytest.mark.parametrize(
    "build",
    [weights_in_initializer, weights_as_constant, weights_as_input, weights_cast, weights_of_ir_3],
)
@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_wherever_the_weights_come_from(build: Build, style: str) -> None:
    proto = build()
    assert len(plan_of(proto, style).edits) == 1
    after = assert_stable(proto, style)
    assert_same_frame(proto, after)
    kernel = integers((4, 2, 4, 3), seed=0)
    feed = {"x": integers((1, 2, 17, 14)), "w": kernel}
    given = {value.name for value in after.graph.input} - {
        tensor.name for tensor in after.graph.initializer
    }
    got = run_onnxruntime(after, {name: feed[name] for name in given})[0]
    expected = expected_conv(feed["x"], kernel, None, (3, 2), (1, 1), 1, "SAME_UPPER")
    np.testing.assert_array_equal(got, expected)


def test_ir_version_3_gets_constant_nodes_because_initializers_would_be_inputs() -> None:
    after = padaudit.explicit(weights_of_ir_3())
    assert node_types(after) == ["Constant", "Constant", "Pad", "Conv"]
    assert [tensor.name for tensor in after.graph.initializer] == ["w"]
    assert pad_amounts(after, after.graph.node[2]) == [0, 0, 1, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("ir_version", [4, 8, 9, 10, 11])
def test_newer_ir_versions_get_initializers(ir_version: int) -> None:
    proto = plain_conv(**STRIDED, ir_version=ir_version)
    after = assert_stable(proto)
    assert node_types(after) == ["Pad", "Conv"]
    names = [tensor.name for tensor in after.graph.initializer]
    assert names == ["w", "b", "conv/pad/pads", "conv/pad/value"]


# --- bodies and functions -----------------------------------------------------------------


def if_model() -> ModelProto:
    """Return an If whose branches convolve an input of the outer graph, and a Conv after it."""

    def branch(name: str, mode: str, strides: list[int]) -> GraphProto:
        node = helper.make_node(
            "Conv", ["x", "w"], [f"{name}_out"], name, strides=strides, auto_pad=mode
        )
        output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [output])

    choice = helper.make_node(
        "If",
        ["condition"],
        ["h"],
        "choice",
        then_branch=branch("then", "SAME_UPPER", [3, 2]),
        else_branch=branch("else", "SAME_LOWER", [2, 3]),
    )
    last = helper.make_node(
        "Conv", ["x", "w2"], ["y"], "last", strides=[2, 1], auto_pad="SAME_LOWER"
    )
    proto = model(
        [choice, last],
        {"x": (1, 2, 17, 14)},
        [weights((4, 2, 4, 3)), weights((3, 2, 2, 4), "w2", seed=3)],
        outputs=("h", "y"),
    )
    proto.graph.input.append(helper.make_tensor_value_info("condition", TensorProto.BOOL, []))
    return proto


@pytest.mark.parametrize("style", ["pad", "attrs"])
@pytest.mark.parametrize("condition", [True, False])
def test_if_branches_that_read_the_outer_graph(style: str, condition: bool) -> None:
    proto = if_model()
    assert {edit.site.id for edit in plan_of(proto, style).edits} == {
        "choice/then_branch/then",
        "choice/else_branch/else",
        "last",
    }
    after = assert_stable(proto, style)
    assert all(attribute(node, "auto_pad") is None for node in conv_nodes(after))
    if style == "pad":
        bodies = {item.name: item.g for item in after.graph.node[0].attribute}
        for body in bodies.values():
            assert [node.op_type for node in body.node] == ["Pad", "Conv"]
    feed = {"x": integers((1, 2, 17, 14)), "condition": np.asarray(condition)}
    chosen, last = run_onnxruntime(after, feed)
    mode, strides = ("SAME_UPPER", (3, 2)) if condition else ("SAME_LOWER", (2, 3))
    kernel, second = constant(after, "w"), constant(after, "w2")
    np.testing.assert_array_equal(
        chosen, expected_conv(feed["x"], kernel, None, strides, (1, 1), 1, mode)
    )
    np.testing.assert_array_equal(
        last, expected_conv(feed["x"], second, None, (2, 1), (1, 1), 1, "SAME_LOWER")
    )


@pytest.mark.parametrize("style", ["pad", "attrs"])
@pytest.mark.parametrize(
    "sizes",
    [((17, 14), (17, 14)), ((17, 14), (20, 12))],
    ids=["equal sizes", "unequal sizes that need equal amounts"],
)
def test_a_function_is_rewritten_once_for_all_of_its_calls(
    sizes: tuple[tuple[int, int], ...], style: str
) -> None:
    proto = called_function(*sizes)
    plan = plan_of(proto, style)
    assert [edit.site.id for edit in plan.edits] == ["call0/inner", "call1/inner"]
    assert len({edit.pads for edit in plan.edits}) == 1
    after = assert_stable(proto, style)
    assert after.graph == proto.graph
    (function,) = after.functions
    types = [node.op_type for node in function.node]
    assert types == (["Constant", "Constant", "Pad", "Conv"] if style == "pad" else ["Conv"])
    feed = {f"x{i}": integers((1, 2, *size), seed=i) for i, size in enumerate(sizes)}
    kernel = constant(after, "w")
    for data, got in zip(feed.values(), run_onnxruntime(after, feed), strict=True):
        expected = expected_conv(data, kernel, None, (3, 2), (1, 1), 1, "SAME_UPPER")
        np.testing.assert_array_equal(got, expected)


def referring_function(*modes: str) -> ModelProto:
    """Return a function whose Conv takes ``auto_pad`` from its call; one call per mode."""
    inner = helper.make_node("Conv", ["a", "k"], ["c"], "inner", strides=[3, 2])
    reference = inner.attribute.add()
    reference.name, reference.ref_attr_name = "auto_pad", "padding"
    reference.type = onnx.AttributeProto.STRING
    function = helper.make_function(
        "local", "Padded", ["a", "k"], ["c"], [inner], [helper.make_opsetid("", 17)], ["padding"]
    )
    calls = [
        helper.make_node("Padded", ["x", "w"], [f"y{i}"], f"call{i}", domain="local", padding=mode)
        for i, mode in enumerate(modes)
    ]
    proto = model(
        calls,
        {"x": (1, 2, 17, 14)},
        [weights((4, 2, 4, 3))],
        outputs=[f"y{i}" for i in range(len(modes))],
        domains=("local",),
    )
    proto.functions.append(function)
    return proto


@pytest.mark.parametrize("style", ["pad", "attrs"])
@pytest.mark.parametrize(
    "modes",
    [
        ("SAME_UPPER", "SAME_UPPER"),
        ("SAME_UPPER", "SAME_LOWER"),
        ("SAME_LOWER", "VALID"),
    ],
)
def test_a_function_whose_calls_choose_the_padding_computes_the_same(
    modes: tuple[str, str], style: str
) -> None:
    proto = referring_function(*modes)
    after = padaudit.explicit(proto, style=style)
    feed = {"x": integers((1, 2, 17, 14))}
    before, now = run_onnxruntime(proto, feed), run_onnxruntime(after, feed)
    assert len(now) == len(modes)
    for a, b in zip(before, now, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_body_inside_a_function_gets_the_pad_of_the_functions_opset() -> None:
    branches = {}
    for name, strides in {"then": [3, 2], "else": [2, 3]}.items():
        node = helper.make_node(
            "Conv", ["a", "k"], [f"{name}_out"], name, strides=strides, auto_pad="SAME_UPPER"
        )
        output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
        branches[f"{name}_branch"] = helper.make_graph([node], name, [], [output])
    choice = helper.make_node("If", ["choose"], ["c"], "choice", **branches)
    function = helper.make_function(
        "local", "Choose", ["a", "k", "choose"], ["c"], [choice], [helper.make_opsetid("", 9)]
    )
    call = helper.make_node("Choose", ["x", "w", "condition"], ["y"], "call", domain="local")
    proto = model(
        [call], {"x": (1, 2, 17, 14)}, [weights((4, 2, 4, 3))], opset=9, domains=("local",)
    )
    proto.functions.append(function)
    proto.opset_import[0].version = 17
    condition = helper.make_tensor_value_info("condition", TensorProto.BOOL, [])
    proto.graph.input.append(condition)
    after = padaudit.explicit(proto)
    pads = [node for node in every_node(after) if node.op_type == "Pad"]
    assert len(pads) == 2
    assert [len(pad.input) for pad in pads] == [1, 1]


def test_a_custom_domain_node_beside_it_stays_byte_for_byte() -> None:
    custom = helper.make_node(
        "Blur", ["x"], ["z"], "blur", domain="com.example", auto_pad="SAME_UPPER", sigma=1.5
    )
    custom.attribute.append(helper.make_attribute("table", weights((2, 3), "table")))
    conv = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **STRIDED)
    proto = model(
        [custom, conv],
        {"x": (1, 2, 17, 14)},
        [weights((4, 2, 4, 3))],
        outputs=("y", "z"),
        domains=("com.example",),
    )
    after = assert_stable(proto)
    assert node_types(after) == ["Blur", "Pad", "Conv"]
    assert after.graph.node[0].SerializeToString(deterministic=True) == custom.SerializeToString(
        deterministic=True
    )


def test_files_come_out_as_models_in_memory_do(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    proto = plain_conv(**STRIDED)
    source.write_bytes(proto.SerializeToString())
    original = source.read_bytes()
    outputs = []
    for name in ("first.onnx", "second.onnx"):
        result = api.rewrite(source, tmp_path / name, verify="site")
        assert result.written
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1]
    assert ModelProto.FromString(outputs[0]) == padaudit.explicit(proto)
    assert source.read_bytes() == original
    again = api.rewrite(tmp_path / "first.onnx", tmp_path / "third.onnx", verify="site")
    assert not again.plan.edits
    assert (tmp_path / "third.onnx").read_bytes() == outputs[0]


def test_the_package_offers_functions_whatever_was_imported_before() -> None:
    assert callable(api.rewrite)
    assert padaudit.rewrite is api.rewrite
    assert padaudit.verify is api.verify


# --- any window, any opset ----------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a convolution whose axes differ from each other."""
    rank = draw(st.integers(1, 3))
    limit = (24, 13, 7)[rank - 1]
    group = draw(st.sampled_from([1, 1, 2, 3]))

    def axes(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    return {
        "size": axes(1, limit),
        "kernel": axes(1, 5),
        "strides": axes(1, 6),
        "dilations": axes(1, 3),
        "group": group,
        "channels": group * draw(st.integers(1, 2)),
        "filters": group * draw(st.integers(1, 2)),
        "auto_pad": draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"])),
        "opset": draw(st.sampled_from([9, 11, 13, 17, 21])),
        "ir_version": draw(st.sampled_from([3, 4, 8])),
    }


@settings(max_examples=120, deadline=None)
@given(case=cases(), style=st.sampled_from(["pad", "attrs"]))
def test_any_rewritten_convolution_computes_what_torch_computes(
    case: dict[str, Any], style: str
) -> None:
    size, kernel = case.pop("size"), case.pop("kernel")
    proto = conv_model(size, kernel, **case)
    after = padaudit.explicit(proto, style=style)
    assert "auto_pad" not in {item.name for item in conv_nodes(after)[0].attribute}
    assert_conv_result(after, case["auto_pad"])


# --- another opset ------------------------------------------------------------------------


def saved_for_opset_9(folder: Path, external: bool) -> Path:
    proto = conv_model((17, "W"), (4, 3), strides=[3, 2], auto_pad="SAME_UPPER", opset=9)
    path = folder / "old.onnx"
    onnx.save(proto, path, save_as_external_data=external, location="old.bin", size_threshold=0)
    return path


@pytest.mark.parametrize("external", [False, True], ids=["inside", "external"])
def test_a_converted_model_is_proven_against_the_file_it_came_from(
    external: bool, tmp_path: Path
) -> None:
    result = padaudit.rewrite(saved_for_opset_9(tmp_path, external), opset=13)
    assert result.written
    assert not result.verification.not_covered
    levels = [item.level for item in result.verification.evidence]
    assert levels == ["definition", "site", *([] if external else ["model"]), "source"]


def test_a_conversion_that_changes_results_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = onnx.version_converter.convert_version

    def wrong(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        made = convert(proto, opset)
        (bias,) = (item for item in made.graph.initializer if item.name == "b")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, "b"))
        return made

    monkeypatch.setattr(onnx.version_converter, "convert_version", wrong)
    result = padaudit.rewrite(saved_for_opset_9(tmp_path, external=False), opset=13)
    assert result.verification.status is Status.DIFFERENT
    assert not result.written
    assert sorted(item.name for item in tmp_path.iterdir()) == ["old.onnx"]
