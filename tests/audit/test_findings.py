"""Sites -> findings: which rules fire together, in which order, and with what words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padaudit.audit.findings import Finding, audit
from padaudit.audit.sites import find_sites
from padaudit.ir.dims import Open, Unknown
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.tensor import TensorInfo

BuildGraph = Callable[..., Graph]
LAMBDA = Unknown("the Lambda layer 'blur' was not run")


def found(graph: Graph) -> tuple[Finding, ...]:
    return audit(graph, find_sites(graph))


def rules(graph: Graph) -> list[str]:
    return [finding.rule for finding in found(graph)]


@pytest.mark.parametrize(
    ("height", "attributes", "expected"),
    [
        pytest.param(225, {"auto_pad": "SAME_UPPER"}, ["PAD101"], id="equal"),
        pytest.param(224, {"auto_pad": "SAME_UPPER"}, ["PAD102"], id="unequal"),
        pytest.param(224, {"auto_pad": "SAME_LOWER"}, ["PAD104"], id="lower-wins-over-unequal"),
        pytest.param(225, {"auto_pad": "SAME_LOWER"}, ["PAD101"], id="lower-but-equal"),
        pytest.param(Open(), {"auto_pad": "SAME_LOWER"}, ["PAD103"], id="open-wins-over-lower"),
        pytest.param(Open(), {"pads": [0, 1, 1, 1]}, ["PAD106"], id="frozen-wins-over-explicit"),
        pytest.param(224, {"pads": [0, 1, 1, 1]}, ["PAD107"], id="explicit-unequal"),
        pytest.param(224, {"pads": [1, 1, 1, 1]}, [], id="explicit-equal"),
        pytest.param(224, {"auto_pad": "VALID"}, [], id="valid"),
        pytest.param(LAMBDA, {"auto_pad": "SAME_UPPER"}, ["PAD001"], id="unknown-is-no-PAD1"),
    ],
)
def test_one_rule_of_the_hundreds_per_site(
    graph_with: BuildGraph, height: object, attributes: Any, expected: list[str]
) -> None:
    shape = (1, 5, height, 20)
    graph = graph_with("Conv", shape, kernel_shape=[3, 3], strides=[2, 1], **attributes)
    assert rules(graph) == expected


def test_causal_wins_over_unequal(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "Conv1D", (Open(), 100, 5), domain="keras", kernel_size=[3], padding="causal"
    )
    assert rules(graph) == ["PAD105"]


def test_other_rules_stand_beside_it(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "Conv", (1, 5, 17, 20), kernel_shape=[3, 4], dilations=[2, 1],
        auto_pad="SAME_LOWER", pads=[0, 0, 0, 0],
    )  # fmt: skip
    assert rules(graph) == ["PAD104", "PAD201", "PAD205"]


@given(
    size=st.tuples(*[st.integers(1, 30) | st.sampled_from([Open("H"), LAMBDA])] * 2),
    kernel=st.tuples(*[st.integers(1, 5)] * 2),
    stride=st.tuples(*[st.integers(1, 4)] * 2),
    dilation=st.tuples(*[st.integers(1, 3)] * 2),
    mode=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]),
    pads=st.none() | st.lists(st.integers(0, 3), min_size=4, max_size=4),
    op_type=st.sampled_from(["Conv", "MaxPool", "AveragePool", "ConvTranspose", "LpPool"]),
)
def test_every_implicit_site_of_known_amounts_gets_exactly_one(
    graph_with: BuildGraph,
    size: Any, kernel: Any, stride: Any, dilation: Any, mode: str, pads: Any, op_type: str,
) -> None:  # fmt: skip
    attributes = {} if pads is None else {"pads": pads}
    graph = graph_with(
        op_type, (1, 5, *size), kernel_shape=kernel, strides=stride, dilations=dilation,
        auto_pad=mode, **attributes,
    )  # fmt: skip
    (site,) = find_sites(graph)
    findings = found(graph)
    hundreds = [finding for finding in findings if finding.rule.startswith("PAD1")]
    resolved = site.pads is not None or site.by_remainder
    assert len(hundreds) <= 1
    assert len(hundreds) == 1 or not (site.implicit and resolved)
    assert ("PAD001" in {item.rule for item in findings}) is (LAMBDA in size)
    assert all("{" not in item.message and item.site == "site" for item in findings)


def test_the_message_of_pad102_in_full(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "Conv2D", (Open(), 224, 21, 3), domain="keras", name="stem",
        kernel_size=[3, 4], strides=[2, 1], padding="same",
    )  # fmt: skip
    (finding,) = found(graph)
    assert (finding.rule, finding.severity, finding.site) == ("PAD102", "warning", "stem")
    assert finding.message == (
        "Conv2D leaves unequal padding to a mode: height (0, 1), width (1, 2) for input 224x21, "
        "kernel 3x4, stride 2x1, dilation 1x1; a port that pads both sides alike shifts its windows"
    )


def test_the_message_of_pad103_lists_every_remainder(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "MaxPool", (1, 5, Open("H"), 20), kernel_shape=[3, 4], strides=[3, 1],
        auto_pad="SAME_UPPER",
    )  # fmt: skip
    (finding,) = found(graph)
    assert finding.rule == "PAD103"
    for part in ("Hx20", "(0, 0) where size % 3 = 0", "(1, 1) where size % 3 = 1", "width (1, 2)"):
        assert part in finding.message


def test_a_message_stays_readable_at_a_huge_stride(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "Conv", (1, 5, Open("H"), 20), kernel_shape=[5000, 4], strides=[3000, 1],
        auto_pad="SAME_UPPER",
    )  # fmt: skip
    messages = [finding.message for finding in found(graph) if finding.rule == "PAD103"]
    assert len(messages) == 1
    assert len(messages[0]) < 1000


@pytest.mark.parametrize(
    ("rank", "names"),
    [(1, ["length"]), (2, ["height", "width"]), (3, ["depth", "height", "width"])],
)
def test_axes_are_named_by_rank(graph_with: BuildGraph, rank: int, names: list[str]) -> None:
    pads = [(2, 3), (4, 5), (6, 7)][:rank]
    flat = [before for before, _ in pads] + [after for _, after in pads]
    graph = graph_with("Conv", (1, 5, *[40] * rank), kernel_shape=[8] * rank, pads=flat)
    message = next(item.message for item in found(graph) if item.rule == "PAD107")
    expected = ", ".join(f"{name} {pair}" for name, pair in zip(names, pads, strict=True))
    assert expected in message


def test_what_stopped_the_inference_is_named(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "Conv", (1, 5, LAMBDA, 20), kernel_shape=[3, 4], strides=[2, 1], auto_pad="SAME_UPPER"
    )
    (finding,) = found(graph)
    assert "the Lambda layer 'blur' was not run" in finding.message
    assert "?x20" in finding.message


def test_the_layer_that_pads_before_is_named(graph_with: BuildGraph) -> None:
    graph = graph_with("Conv", (1, 5, 17, 20), kernel_shape=[3, 3], auto_pad="SAME_UPPER")
    front = Op("border", "Pad", "", {}, ("raw",), ("x",), 0)
    graph.add(front)
    messages = {finding.rule: finding.message for finding in found(graph)}
    assert set(messages) == {"PAD101", "PAD207"}
    assert "'border' (Pad)" in messages["PAD207"]


@pytest.mark.parametrize(
    ("op_type", "config", "expected"),
    [
        pytest.param("Conv2D", {"kernel_size": [3, 3]}, "safe", id="in-every-file"),
        pytest.param("MaxPooling2D", {"pool_size": [3, 3]}, "display", id="not-in-every-file"),
        pytest.param("AveragePooling2D", {"pool_size": [3, 3]}, "display", id="as-onnx-only"),
    ],
)
def test_a_fix_is_promised_only_where_every_file_can_hold_it(
    graph_with: BuildGraph, op_type: str, config: Any, expected: str
) -> None:
    same = {"padding": "same", "strides": [1, 1], **config}
    graph = graph_with(op_type, (1, 224, 20, 5), domain="keras", **same)
    finding = next(item for item in found(graph) if item.rule == "PAD101")
    assert finding.fix is not None
    assert (finding.fix.action, finding.fix.applicability) == ("explicit_pad", expected)


def test_findings_stand_by_site_then_by_rule_and_reach_nested_graphs() -> None:
    graph, body = Graph("model"), Graph("body")
    same = {"kernel_shape": [3, 4], "auto_pad": "SAME_UPPER"}
    for holder in (graph, body):
        holder.tensors["x"] = TensorInfo((1, 5, 17, 20), "float32")
    graph.add(Op("if", "If", "", {}, ("x",), ("if:out",), 0))
    graph.add(Op("z", "Conv", "", same | {"dilations": [2, 1]}, ("x",), ("z:out",), 1))
    graph.add(Op("a", "AveragePool", "", same, ("x",), ("a:out",), 2))
    body.add(Op("pad", "Pad", "", {}, ("x",), ("padded",), 0))
    body.tensors["padded"] = TensorInfo((1, 5, 17, 20), "float32")
    body.add(Op("in", "Conv", "", same, ("padded",), ("in:out",), 1))
    graph.nest("if", "then", body)
    assert [(finding.site, finding.rule) for finding in found(graph)] == [
        ("if/then/in", "PAD102"),
        ("if/then/in", "PAD207"),
        ("z", "PAD102"),
        ("z", "PAD201"),
        ("a", "PAD102"),
        ("a", "PAD203"),
    ]
