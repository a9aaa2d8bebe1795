"""The acceptance corpus: small ONNX models of every kind, rewritten, run, compared with golden.

Nothing here knows how padaudit computes: amounts and results come from `golden`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cases_convolutions
import cases_opsets
import cases_places
import cases_pools
import cases_quantized
import cases_sizes
import cases_text
import cases_traps
import cases_weights
import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, NodeProto
from onnx.reference import ReferenceEvaluator
from onnx_corpus import Array, Built, Case, Run
from ort_worker import OnnxRuntime

import padaudit
from padaudit.rewriting.run import RewriteResult

CASES: list[Case] = [
    *cases_convolutions.CASES,
    *cases_pools.CASES,
    *cases_quantized.CASES,
    *cases_places.CASES,
    *cases_weights.CASES,
    *cases_sizes.CASES,
    *cases_opsets.CASES,
    *cases_traps.CASES,
    *cases_text.CASES,
]
PADDED = frozenset(
    ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "QLinearConv", "ConvInteger")
)
MICROSOFT = frozenset(("FusedConv", "QLinearAveragePool", "NhwcMaxPool", "QLinearConv"))
DEFAULT = frozenset(("", "ai.onnx"))
STYLES = ("pad", "attrs", "auto")


def walk(container: Any) -> Iterator[NodeProto]:
    """Yield the nodes of a graph or function, those of its bodies too."""
    for node in container.node:
        yield node
        for item in node.attribute:
            if item.type == AttributeProto.GRAPH:
                yield from walk(item.g)
            for inner in item.graphs:
                yield from walk(inner)


def every_node(model: ModelProto) -> list[NodeProto]:
    found = list(walk(model.graph))
    return found + [node for function in model.functions for node in walk(function)]


def is_padded(node: NodeProto) -> bool:
    if node.domain == "com.microsoft":
        return node.op_type in MICROSOFT
    return node.domain in DEFAULT and node.op_type in PADDED


def implicit(model: ModelProto) -> list[NodeProto]:
    """Return the padded nodes that still leave their amounts to a mode or a size."""
    found = [node for node in walk(model.graph) if is_implicit(node, {})]
    for function in model.functions:
        calls = [
            node
            for node in every_node(model)
            if (node.domain, node.op_type, node.overload)
            == (function.domain, function.name, function.overload)
        ]
        given = {item.name: item for item in function.attribute_proto}
        passed = [given | {item.name: item for item in node.attribute} for node in calls]
        for node in walk(function):
            found += [node] * any(is_implicit(node, arguments) for arguments in passed)
    return found


def is_implicit(node: NodeProto, arguments: Mapping[str, AttributeProto]) -> bool:
    """Look at a node of the graph, or of a function that is called with ``arguments``."""
    told = {
        item.name: arguments.get(item.ref_attr_name) if item.ref_attr_name else item
        for item in node.attribute
    }
    mode = told.get("auto_pad")
    return is_padded(node) and ((mode is not None and b"SAME" in mode.s) or "output_shape" in told)


def pads_of(model: ModelProto) -> list[NodeProto]:
    return [node for node in every_node(model) if node.op_type == "Pad" and not node.domain]


def rewrite(source: Path, target: Path, case: Case, style: str, verify: str) -> RewriteResult:
    options = {"verify": verify, **case.options}
    return padaudit.rewrite(source, target, style=style, **options)


def assert_explicit(case: Case, result: RewriteResult, after: ModelProto) -> None:
    """Every padded operator is explicit, except those that have to be kept, with the reason."""
    kept = {item.site.id: item.reason for item in result.plan.kept}
    assert kept.keys() == case.kept.keys(), kept
    for site, reason in case.kept.items():
        assert reason in kept[site]
    left = implicit(after)
    assert len(left) == len(kept), [node.name for node in left]


def assert_amounts(case: Case, result: RewriteResult) -> None:
    planned = {edit.site.id: edit.pads for edit in result.plan.edits}
    for site, amounts in case.amounts.items():
        assert planned[site] == amounts


def assert_same_frame(case: Case, before: ModelProto, after: ModelProto) -> None:
    """What a rewrite has no business with is as it was."""
    assert after.ir_version == before.ir_version
    if "opset" not in case.options:  # onnx's converter writes the shapes that it infers
        assert list(after.opset_import) == list(before.opset_import)
        assert list(after.graph.output) == list(before.graph.output)
    assert (after.producer_name, after.graph.name) == (before.producer_name, before.graph.name)
    kept = {tensor.name: tensor for tensor in after.graph.initializer}
    assert all(kept[item.name] == item for item in before.graph.initializer)
    assert list(after.graph.sparse_initializer) == list(before.graph.sparse_initializer)
    given = [value.name for value in before.graph.input]
    assert [value.name for value in after.graph.input] == given
    assert foreign(after) == foreign(before)


def foreign(model: ModelProto) -> Counter[bytes]:
    """Return the nodes of domains that padaudit has no business with, as bytes."""
    local = {function.domain for function in model.functions} | DEFAULT
    return Counter(
        node.SerializeToString(deterministic=True)
        for node in every_node(model)
        if node.domain not in local and not is_padded(node)
    )


def assert_functions_stay(before: ModelProto, after: ModelProto) -> None:
    """Functions keep their names and signatures; as many nodes call functions as before."""
    signatures = {
        (item.domain, item.name, item.overload): (list(item.input), list(item.output))
        for item in after.functions
    }
    for item in before.functions:
        assert signatures[item.domain, item.name, item.overload] == (
            list(item.input),
            list(item.output),
        )
    local = {item.domain for item in before.functions}

    def calls(graph: Any) -> int:
        return sum(node.domain in local for node in walk(graph))

    assert calls(after.graph) == calls(before.graph)


def refused(model: ModelProto) -> str:
    """Return what onnx's checker says; it insists on a shape, if an unknown one, of outputs."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graphs = [copy.graph]
    graphs += [item.g for node in every_node(copy) for item in node.attribute if item.HasField("g")]
    for value in (value for graph in graphs for value in graph.output):
        value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError as error:
        return str(error)
    return ""


def assert_pads(before: ModelProto, after: ModelProto, added: int | None) -> None:
    """Pads have three inputs and no axes; their number is what the style asks for."""
    known = {tuple(pad.output) for pad in pads_of(before)}
    opset = next(item.version for item in after.opset_import if item.domain in DEFAULT)
    fresh = [pad for pad in pads_of(after) if tuple(pad.output) not in known]
    for pad in fresh:
        assert len(pad.input) == (3 if opset > 10 else 1)
    if added is not None:
        assert len(fresh) == added


def without_foreign(model: ModelProto) -> ModelProto:
    """Drop the nodes of unknown domains and the outputs that they give."""
    made = {
        name
        for node in model.graph.node
        if node.domain.startswith("com.example")
        for name in node.output
    }
    nodes = [node for node in model.graph.node if not made.intersection(node.output)]
    outputs = [value for value in model.graph.output if value.name not in made]
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:], copy.graph.output[:]
    copy.graph.node.extend(nodes)
    copy.graph.output.extend(outputs)
    return copy


def outputs_of(case: Case, after: ModelProto, runs: list[Run], ort: OnnxRuntime) -> Any:
    feeds = [run.feeds for run in runs]
    if case.runtime == "reference":
        return [ReferenceEvaluator(after).run(None, feed) for feed in feeds]
    runnable = without_foreign(after) if case.foreign else after
    return ort.run(runnable.SerializeToString(), feeds)


def assert_golden(case: Case, built: Built, after: ModelProto, ort: OnnxRuntime) -> None:
    if case.runtime == "none":
        return
    assert built.runs
    for run, got in zip(built.runs, outputs_of(case, after, list(built.runs), ort), strict=True):
        for number, (want, have) in enumerate(zip(run.outputs, got, strict=True)):
            if want is not None:
                assert_equal(have, want, case.tolerance, f"output {number}")


def assert_equal(have: Array, want: Array, tolerance: float, what: str) -> None:
    assert have.shape == want.shape, what
    np.testing.assert_allclose(
        have.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=0, err_msg=what
    )


def proof(number: int, style: str) -> str:
    """Every third case is proven here, in one style; `test_proven` proves them all."""
    if (number % 6, style) not in {(0, "pad"), (3, "attrs")}:
        return "none"
    return "auto" if number % 24 == 0 else "site"


PARAMETERS = [
    pytest.param(number, case, id=case.id, marks=case.marks) for number, case in enumerate(CASES)
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("number", "case"), PARAMETERS)
def test_rewritten(
    number: int, case: Case, style: str, tmp_path: Path, runtime: OnnxRuntime
) -> None:
    built = case.build()
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    source.write_bytes(built.model.SerializeToString())
    result = rewrite(source, target, case, style, proof(number, style))
    assert result.written, result.verification
    after = ModelProto.FromString(target.read_bytes())
    assert_explicit(case, result, after)
    assert_amounts(case, result)
    assert_same_frame(case, built.model, after)
    assert_functions_stay(built.model, after)
    added = case.adds[STYLES.index(style)] if case.adds and style != "auto" else None
    assert_pads(built.model, after, added)
    assert refused(built.model) or not refused(after)
    assert_golden(case, built, after, runtime)
    if not result.plan.edits:
        assert target.read_bytes() == source.read_bytes()
    again = rewrite(target, tmp_path / "again.onnx", case, style, "none")
    assert not again.plan.edits
    assert (tmp_path / "again.onnx").read_bytes() == target.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id, marks=case.marks) for case in CASES]
)
def test_proven(case: Case, tmp_path: Path) -> None:
    """The proof that the command line makes by default, of every case."""
    source = tmp_path / "in.onnx"
    source.write_bytes(case.build().model.SerializeToString())
    result = rewrite(source, tmp_path / "out.onnx", case, "auto", "auto")
    if case.runtime == "onnxruntime" and result.plan.edits:
        assert result.verification.status == "equivalent", result.verification
    assert result.written, result.verification
