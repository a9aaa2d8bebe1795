"""Definition and site level of a Keras model's translation: nothing in it is implicit any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from padaudit.formats.shape_options import InputShapes
from padaudit.ir.graph import Graph
from padaudit.ir.site import Padding, PaddingSite
from padaudit.ir.walk import graph_of_op
from padaudit.rewriting.edit import Edit, Plan
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.proof import prove_definition
from padaudit.verification.site_level import Side, SitePair, prove_sites

if TYPE_CHECKING:
    from padaudit.formats.keras.translation.marks import Mark
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
