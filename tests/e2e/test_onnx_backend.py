"""The ONNX backend tests that the onnx package ships: audited, rewritten, run on their data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import ModelProto, NodeProto
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

import padaudit
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.edit import Plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.verification.evidence import Status
from padaudit.verification.naive import VARIANTS
from padaudit.verification.runner import Job, RunOutcome, run
from padaudit.verification.what_if import what_if

DATA = Path(onnx.backend.test.__file__).parent / "data"
LIGHT = sorted((DATA / "light").glob("*.onnx"))


@cache
def node_cases() -> list[Any]:
    """Return every node test of the package that carries a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in load_model_tests(kind="node") if case.model is not None]


def test_every_node_test_is_audited_without_error() -> None:
    cases = node_cases()
    reports = {case.name: padaudit.check(case.model) for case in cases}
    implicit = {name for name, report in reports.items() if report.implicit}
    assert len(reports) > 1000
    assert implicit == {
        "test_averagepool_2d_precomputed_same_upper",
        "test_averagepool_2d_same_lower",
        "test_averagepool_2d_same_upper",
        "test_conv_with_autopad_same",
        "test_convtranspose_autopad_same",
        "test_convtranspose_kernel_shape",
        "test_convtranspose_output_shape",
        "test_lppool_2d_same_lower",
        "test_lppool_2d_same_upper",
        "test_maxpool_2d_precomputed_same_upper",
        "test_maxpool_2d_same_lower",
        "test_maxpool_2d_same_upper",
    }


@cache
def padded_cases() -> tuple[Any, ...]:
    """Return the node tests whose model, or a function or body of it, says anything of padding."""
    return tuple(case for case in node_cases() if any(map(is_padded, every_node(case.model))))


def every_node(proto: ModelProto) -> Iterator[NodeProto]:
    """Yield the nodes of the graph, of its functions and of all bodies."""
    holders: list[Any] = [proto.graph, *proto.functions]
    while holders:
        for node in holders.pop().node:
            yield node
            holders += [item.g for item in node.attribute if item.HasField("g")]


def is_padded(node: NodeProto) -> bool:
    return any(item.name in ("auto_pad", "pads", "output_shape") for item in node.attribute)


def plan_of(case: Any, style: str, hoist: str | None) -> Plan:
    read = padaudit.load(case.model)
    wishes = Options(style, hoist=hoist).wishes
    return make_plan(read.document, read.sites, style, wishes, read.graph)


def rewritten(case: Any, style: str, hoist: str | None) -> ModelProto:
    read = padaudit.load(case.model)
    plan = plan_of(case, style, hoist)
    after: ModelProto = apply_plan(read.document, plan, read.graph).document.model
    return after


def job(case: Any, proto: ModelProto) -> Job:
    """Return the run of a model on a test's data."""
    names = [value.name for value in proto.graph.input]
    feeds = [
        {name: np.asarray(value) for name, value in zip(names, inputs, strict=False)}
        for inputs, _ in case.data_sets
    ]
    return Job(proto.SerializeToString(), tuple(feeds))


@cache
def originals() -> dict[str, RunOutcome]:
    """Run every original in onnxruntime, to know which of them it supports."""
    cases = padded_cases()
    outcomes = run([job(case, case.model) for case in cases])
    return {case.name: outcome for case, outcome in zip(cases, outcomes, strict=True)}


def wrong_results(case: Any, runs: Sequence[Sequence[Any]]) -> list[str]:
    """Return a line for every output that is not the one of the test's data."""
    found = []
    for (_, expected), got in zip(case.data_sets, runs, strict=True):
        for right, value in zip(expected, got, strict=True):
            seen, wanted = np.asarray(value), np.asarray(right)
            close = seen.shape == wanted.shape and np.allclose(
                seen, wanted, rtol=case.rtol, atol=case.atol, equal_nan=True
            )
            found += [] if close else [f"{case.name}: {seen.shape}, expected {wanted.shape}"]
    return found


def by_reference(case: Any, proto: ModelProto) -> list[list[Any]]:
    session = ReferenceEvaluator(proto)
    return [session.run(None, dict(feed)) for feed in job(case, proto).feeds]


def test_the_node_tests_that_are_padded() -> None:
    """The list is long enough to mean something, and onnxruntime runs nearly all of it."""
    types = {node.op_type for case in padded_cases() for node in every_node(case.model)}
    families = {"Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "LpPool"}
    assert types >= families
    assert len(padded_cases()) >= 30
    unsupported = {name for name, outcome in originals().items() if outcome.error is not None}
    assert unsupported <= NOT_IN_ONNXRUNTIME


NOT_IN_ONNXRUNTIME = frozenset({"test_convinteger_with_padding"})
"""What onnxruntime refuses to run as it stands; onnx.reference judges the rewritten form."""
NOT_HOISTED = {"test_convinteger_with_padding": "Pad of opset 10 takes no uint8"}
"""What keeps its explicit pads with ``--hoist all``, and why."""
STYLES = [("pad", None), ("attrs", None), ("auto", None), ("pad", "all"), ("auto", "all")]


@pytest.mark.parametrize(("style", "hoist"), STYLES)
def test_rewritten_node_tests_pass_their_test_data(style: str, hoist: str | None) -> None:
    cases = padded_cases()
    models = [rewritten(case, style, hoist) for case in cases]
    outcomes = run([job(case, proto) for case, proto in zip(cases, models, strict=True)])
    wrong: list[str] = []
    for case, proto, outcome in zip(cases, models, outcomes, strict=True):
        if originals()[case.name].outputs is None:
            wrong += wrong_results(case, by_reference(case, proto))
        elif outcome.outputs is None:
            wrong.append(f"{case.name}: {outcome.error}")
        else:
            wrong += wrong_results(case, outcome.outputs)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("style", "hoist"), STYLES)
def test_no_node_test_stays_implicit_without_a_reason(style: str, hoist: str | None) -> None:
    edited = 0
    for case in padded_cases():
        plan = plan_of(case, style, hoist)
        reasons = [NOT_HOISTED[case.name]] if hoist and case.name in NOT_HOISTED else []
        assert [kept.reason for kept in plan.kept] == reasons, case.name
        left = padaudit.check(rewritten(case, style, hoist))
        assert not [site for site in left.sites if site.implicit], case.name
        if hoist == "all" and not plan.kept:
            convs = [site for site in left.sites if site.family == "conv"]
            assert not [site for site in convs if any(map(any, site.pads or ()))], case.name
        edited += len(plan.edits)
    assert edited >= (14 if hoist else 10)


@pytest.mark.parametrize("style", ["pad", "attrs", "auto"])
def test_rewritten_node_tests_are_proven(style: str, tmp_path: Path) -> None:
    cases = {case.name: case for case in padded_cases() if plan_of(case, style, None).edits}
    assert len(cases) >= 10
    for name, case in cases.items():
        source = tmp_path / f"{name}.onnx"
        source.write_bytes(case.model.SerializeToString())
        result = padaudit.rewrite(source, style=style, verify="site")
        assert result.verification.status is Status.EQUIVALENT, (name, result.verification.reason)
        assert result.written


def test_every_shipped_model_file_is_audited_without_error() -> None:
    files = sorted(DATA.rglob("*.onnx"))
    reports = [padaudit.check(path) for path in files]
    assert len(reports) > 100
    assert sum(len(report.sites) for report in reports) > 400


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_networks_are_known_throughout(path: Path) -> None:
    report = padaudit.check(path)
    assert report.sites
    assert all(isinstance(size, int) for site in report.sites for size in site.input_size)
    assert not [finding for finding in report.findings if finding.rule == "PAD001"]


def test_a_network_with_nothing_to_do_is_copied_byte_for_byte(tmp_path: Path) -> None:
    target = tmp_path / "copy.onnx"
    result = padaudit.rewrite(LIGHT[0], target)
    assert result.verification.status is Status.EQUIVALENT
    assert target.read_bytes() == LIGHT[0].read_bytes()


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_a_light_network_with_all_pads_hoisted_is_proven(path: Path, tmp_path: Path) -> None:
    target = tmp_path / path.name
    result = padaudit.rewrite(path, target, hoist="all", style="pad", verify="site")
    assert (result.verification.status, result.plan.kept) == (Status.EQUIVALENT, ())
    convs = [site for site in padaudit.check(path).sites if site.family == "conv"]
    padded = [site for site in convs if any(map(any, site.pads or ()))]
    assert len(result.plan.edits) == len(padded) > 0
    after = padaudit.check(target)
    assert [site.id for site in after.sites] == [site.id for site in padaudit.check(path).sites]
    assert not [s for s in after.sites if s.family == "conv" and any(map(any, s.pads or ()))]


@pytest.mark.slow
@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_a_whole_light_network_raises_no_false_alarm(path: Path, tmp_path: Path) -> None:
    """All of them give one answer to everything: their operators must be compared as well."""
    sites = len(padaudit.check(path).sites)
    for style in ("pad", "attrs"):
        target = tmp_path / f"{style}.onnx"
        verdict = padaudit.rewrite(
            path, target, hoist="all" if style == "pad" else None, style=style, verify="model"
        ).verification
        assert (verdict.status, verdict.max_abs, verdict.not_covered) == (Status.EQUIVALENT, 0, ())
        again = padaudit.verify(path, target)
        assert (again.status, again.max_abs, again.not_covered) == (Status.EQUIVALENT, 0, ())
        assert again.evidence[0].counts["operators"] == sites


@pytest.mark.slow
@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_a_wrong_port_of_a_light_network_is_never_proven(path: Path, tmp_path: Path) -> None:
    proto = onnx.load(path)
    padded = [
        (node, item)
        for node in proto.graph.node
        for item in node.attribute
        if node.op_type == "Conv" and item.name == "pads" and any(item.ints)
    ]
    node, pads = padded[len(padded) // 2]
    before = [*pads.ints]
    pads.ints[:] = [before[0] + 1, before[1], before[2] - 1, before[3]]
    onnx.save(proto, tmp_path / "wrong.onnx")
    found = padaudit.verify(path, tmp_path / "wrong.onnx")
    # One of the nine has no softmax behind it, and its output shows the difference.
    assert found.status in (Status.DIFFERENT, Status.UNVERIFIED)
    named = {site.id: site.op.outputs[0] for site in padaudit.check(path).sites}
    assert named[found.first_difference or ""] == node.output[0]


@pytest.mark.slow
@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_what_a_naive_port_of_a_light_network_costs_can_not_be_seen(path: Path) -> None:
    for variant in VARIANTS:
        found = what_if(path, variant, InputShapes())
        assert not found.telling
        assert not found.not_tried
        assert all(cost.max_abs == 0.0 for cost in found.costs)
