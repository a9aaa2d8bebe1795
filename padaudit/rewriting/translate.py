"""Keras in, ONNX out: made explicit in Keras first, then translated, then settled."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from padaudit.errors import InputError
from padaudit.formats.keras.engine import KerasRun, require, run_keras
from padaudit.formats.keras.write import write_keras
from padaudit.formats.onnx.document import read_onnx
from padaudit.formats.onnx.write import write_onnx
from padaudit.ir.dims import Open
from padaudit.ir.site import Family
from padaudit.ir.walk import walk
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.edit import Edit, Kept, Plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.output import publish
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import (
    Loaded,
    RewriteResult,
    allows_writing,
    load,
)
from padaudit.rewriting.translated import STRATEGY, Translated, settle
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.keras_level import (
    SOURCE_RTOL,
    Feeds,
    by_position,
    compare_sources,
    input_names,
    keras_feeds,
    run_translated,
)
from padaudit.verification.model_level import ModelPair, Tolerance, compare_models, same_feeds
from padaudit.verification.proof import (
    EXACT,
    join,
    prove_definition,
    prove_site_level,
    with_scope,
)

ATTRIBUTE_STRATEGY: Final = "pads_attribute"


def rewrite_translated(
    model: Loaded, source: Path, target: Path, options: Options
) -> RewriteResult:
    """Rewrite a Keras model into an ONNX file with explicit padding.

    Raises
    ------
    MissingDependencyError
        If tensorflow or tf2onnx is not installed.
    InputError
        If Keras can't load the model, or tf2onnx can't translate it.
    """
    require("writing ONNX from a Keras model")
    plan = _convolutions(make_plan(model.document, model.sites, "pad", options.wishes, model.graph))
    applied = apply_plan(model.document, plan)
    feeds = keras_feeds(model) if options.verify not in ("none", "site") else []
    with tempfile.TemporaryDirectory(prefix="padaudit-") as name:
        scratch = Path(name)
        explicit = scratch / f"explicit{source.suffix}"
        write_keras(applied.document, explicit)
        original, rewritten = _run(model, explicit, feeds, scratch, options)
        if rewritten.onnx is None:
            cause = rewritten.errors[0] if rewritten.errors else "it could not be translated"
            raise InputError(source, cause, "write a Keras file instead (no translation needed)")
        names = {visit.op.name.split("#")[0] for visit in walk(model.graph)}
        settled = settle(read_onnx(rewritten.onnx), plan.edits, names, options.style)
        aside = scratch / "settled.onnx"
        write_onnx(settled.document, aside)
        verification = _prove(model, explicit, aside, plan, (original, feeds), options)
        written = allows_writing(verification, options)
        if written:
            publish(aside, target)
    return RewriteResult(
        source, target, written, _report(plan, settled, options), settled.created, verification
    )


def _convolutions(plan: Plan) -> Plan:
    others = [edit for edit in plan.edits if edit.site.family is not Family.CONV]
    reason = "of what is translated only convolutions are made explicit"
    kept = (*plan.kept, *(Kept(edit.site, reason) for edit in others))
    return Plan(tuple(edit for edit in plan.edits if edit not in others), kept)


def _run(
    model: Loaded, explicit: Path, feeds: list[Feeds], scratch: Path, options: Options
) -> list[KerasRun]:
    return run_keras(
        [model.document.path or explicit, explicit],
        [list(feed.values()) for feed in feeds],
        scratch,
        timeout=options.timeout,
        input_shapes=_shapes(model) if options.input_shapes else None,
    )


def _shapes(model: Loaded) -> list[list[int | None]]:
    shapes = (model.graph.tensor(name).shape or () for name in model.graph.inputs)
    return [[None if isinstance(dim, Open) else dim for dim in shape] for shape in shapes]  # type: ignore[misc]


def _prove(
    model: Loaded,
    explicit: Path,
    aside: Path,
    plan: Plan,
    source: tuple[KerasRun, list[Feeds]],
    options: Options,
) -> Verification:
    if options.verify == "none":
        return Verification(Status.UNVERIFIED, reason="no proof was asked for (--verify none)")
    levels = []
    if plan.edits:
        rewritten = load(explicit, options.input_shapes)
        levels.append(prove_definition(model, rewritten, plan))
        levels.append(prove_site_level(model, rewritten, plan, options.timeout))
    if options.verify != "site":
        levels += _whole(aside, *source, options)
    verdict = join(levels, obligatory="model" if options.verify == "model" else None)
    return with_scope(verdict, options, plan)


def _whole(
    aside: Path, original: KerasRun, feeds: list[Feeds], options: Options
) -> list[Verification]:
    fed = by_position(feeds, input_names(aside))
    levels = []
    if original.onnx is None:
        reason = f"the original could not be translated: {' '.join(original.errors)}"
        levels.append(Verification(Status.UNVERIFIED, reason=reason))
    else:
        pair = ModelPair(original.onnx, aside)
        levels.append(compare_models(pair, same_feeds(fed), EXACT, options.timeout))
    results = run_translated(aside, fed, options.timeout)
    if isinstance(results, str):
        return [
            *levels,
            Verification(Status.DIFFERENT, reason=f"the output does not run: {results}"),
        ]
    tolerance = Tolerance(rtol=SOURCE_RTOL)
    return [*levels, compare_sources(original, results, tolerance, "onnxruntime", "onnxruntime")]


def _report(plan: Plan, settled: Translated, options: Options) -> Plan:
    strategy = ATTRIBUTE_STRATEGY if options.style == "attrs" else STRATEGY
    edits: tuple[Edit, ...] = tuple(replace(edit, strategy=strategy) for edit in settled.edits)
    return Plan(edits, (*plan.kept, *settled.kept))
