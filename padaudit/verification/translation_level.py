"""A Keras model's translation: nothing in it is implicit any more, and it computes the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx

from padaudit.formats.onnx.widen import widened
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.graph import Graph
from padaudit.ir.site import Padding, PaddingSite
from padaudit.ir.walk import graph_of_op
from padaudit.rewriting.edit import Edit, Plan
from padaudit.scratch import scratch_folder
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.keras_level import Feeds, by_position, compare_sources, input_names
from padaudit.verification.model_level import Tolerance
from padaudit.verification.proof import prove_definition
from padaudit.verification.rounding import Rounding
from padaudit.verification.runner import Array, Job, Limits, RunOutcome
from padaudit.verification.runner import run as run_onnx
from padaudit.verification.site_level import Side, SitePair, prove_sites

if TYPE_CHECKING:
    from padaudit.formats.keras.engine import KerasRun
    from padaudit.formats.keras.translation.marks import Layout, Mark
    from padaudit.rewriting.run import Loaded
    from padaudit.rewriting.translated import Settled


def prove_nodes(
    translated: Loaded,
    aside: Path,
    settled: Settled,
    marks: Sequence[Mark],
    timeout: float,
    memory_mb: int | None = None,
) -> list[Verification]:
    """Prove the padded operators of a written translation.

    Parameters
    ----------
    translated : Loaded
        The translation with "same" as ``auto_pad``.
    aside : Path
        The written model; it is read again.
    settled : Settled
        What was done to it.
    marks : sequence of Mark
        What its padded operators are in Keras.
    timeout : float
        Seconds for one trial.
    memory_mb : int, optional
        Memory of the process that runs them, in MiB.
    """
    from padaudit.rewriting.run import load

    rewritten = load(aside, InputShapes())
    definition = _definition(translated, rewritten, settled.plan)
    if definition.status is Status.DIFFERENT:
        return [definition]
    after = {site.id: site for site in rewritten.sites}
    graphs = graph_of_op(translated.graph)
    pairs = [SitePair(edit.site, after[edit.site.id], edit) for edit in settled.plan.edits]
    pairs += _transposed(translated.sites, after, marks, graphs)
    if not pairs:
        return []
    sides = (
        Side(translated.document, graphs),
        Side(rewritten.document, graph_of_op(rewritten.graph)),
    )
    return [definition, prove_sites(pairs, *sides, timeout, memory_mb)]


def _definition(translated: Loaded, rewritten: Loaded, plan: Plan) -> Verification:
    kept = {item.site.id for item in plan.kept}
    left = next((s.id for s in rewritten.sites if s.implicit and s.id not in kept), None)
    if left is not None:
        reason = f"in the written file '{left}' is still implicit"
        return Verification(Status.DIFFERENT, (), left, reason)
    return prove_definition(translated, rewritten, plan)


def _transposed(
    sites: Sequence[PaddingSite],
    after: Mapping[str, PaddingSite],
    marks: Sequence[Mark],
    graphs: dict[int, Graph],
) -> Iterator[SitePair]:
    """Yield Keras's "same" transposed convolutions, whose crop is the same for every size.

    ``graphs`` gets the operators that stand for them as Keras means them: n * stride elements.
    """
    by_name = {site.op.name: site for site in sites}
    for mark in marks:
        site = by_name.get(mark.name)
        if site is None or not mark.grows or site.id not in after:
            continue
        meant = replace(site.op, attributes={})
        graphs[id(meant)] = graphs[id(site.op)]
        before = replace(site, op=meant, padding=Padding.SAME_UPPER, appended=())
        yield SitePair(before, after[site.id], Edit(before, "onnx_pads_attribute", site.pads))


def prove_translation(
    run: KerasRun,
    aside: Path,
    feeds: Sequence[Feeds],
    layout: Layout,
    tolerance: Tolerance,
    timeout: float,
    memory_mb: int | None = None,
) -> Verification:
    """Prove an ONNX model against the Keras model it was translated from.

    Parameters
    ----------
    run : KerasRun
        What Keras computed.
    aside : Path
        The ONNX model.
    feeds : sequence of Feeds
        What Keras was run on.
    layout : Layout
        Which inputs and outputs have their channels moved in the ONNX model.
    tolerance : Tolerance
        How far apart they may be.
    timeout : float
        Seconds for one run.
    memory_mb : int, optional
        Memory of a run, in MiB.
    """
    given = [[_moved(value, layout) for value in feed.values()] for feed in feeds]
    jobs = by_position(given, input_names(aside))
    outcome = run_onnx([Job(aside, jobs)], timeout=timeout, memory_mb=memory_mb)[0]
    missed: tuple[str, ...] = ()
    if outcome.outputs is None:
        as_it_is = outcome
        wide = _in_float32(aside) if _NO_KERNEL in (outcome.error or "") else None
        if wide is not None:
            job = Job(wide, tuple(map(_widened, jobs)))
            outcome = run_onnx([job], timeout=timeout, memory_mb=memory_mb)[0]
            missed = (f"{_AS_FLOAT32}: {as_it_is.error}",)
        if outcome.outputs is None:
            return _does_not_run(as_it_is)
    back = [[_moved(value, layout.inverse()) for value in values] for values in outcome.outputs]
    if missed and run.outputs is not None:
        back = [
            [value.astype(like.dtype) for value, like in zip(*pair, strict=True)]
            for pair in zip(back, run.outputs, strict=True)
        ]
    from padaudit.rewriting.run import load

    with scratch_folder() as folder:
        written = load(aside, InputShapes())
        limits = Limits(timeout, memory_mb)
        moved = Rounding([written], jobs, folder, limits, whose="the written model")
        level = compare_sources(run, back, tolerance, outcome.runtime, feeds, moved)
    return replace(level, not_covered=(*level.not_covered, *missed))


_NO_KERNEL: Final = "NOT_IMPLEMENTED"
_AS_FLOAT32: Final = (
    "the output was run with float32 in the place of bfloat16, as onnxruntime can't run it as it is"
)


def _in_float32(model: Path) -> bytes | None:
    """Return a model with float32 in the place of bfloat16; None if it has none."""
    wide = widened(onnx.load(model))
    return None if wide is None else wide.SerializeToString()


def _widened(feed: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name: array.astype(np.float32) if array.dtype.name == "bfloat16" else array
        for name, array in feed.items()
    }


def _does_not_run(outcome: RunOutcome) -> Verification:
    """Judge an output that does not run: it may be onnxruntime that can't."""
    status = Status.UNVERIFIED if outcome.unable else Status.DIFFERENT
    reason = f"the output does not run: {outcome.error}"
    return Verification(status, reason=reason, decides=outcome.cut_short)


def _moved(value: Array, layout: Layout) -> Array:
    order = layout.order(value.ndim)
    return value if order is None else np.ascontiguousarray(value.transpose(order))
