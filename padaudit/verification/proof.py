"""The proof of a rewrite: the levels that can be run here, joined into one verdict."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from padaudit.errors import UsageError
from padaudit.ir.dims import Dim
from padaudit.ir.op import Op
from padaudit.ir.site import Family
from padaudit.ir.walk import graph_of_op
from padaudit.scratch import scratch_folder
from padaudit.verification.branches import with_passes
from padaudit.verification.evidence import Evidence, Status, Verification, join
from padaudit.verification.known_errors import onnxruntime_errs
from padaudit.verification.model_level import (
    Feed,
    FeedPair,
    ModelPair,
    Tolerance,
    compare_models,
    feeds_to_try,
    input_specs,
    on_provider,
    same_feeds,
)
from padaudit.verification.reach import bodies_of, reached
from padaudit.verification.samples import own_feeds
from padaudit.verification.site_level import WITH_SLICE, Side, SitePair, prove_sites
from padaudit.verification.steering import steered
from padaudit.verification.telling import DOUBT, looked_inside
from padaudit.verification.untouched import stray_change

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument
    from padaudit.rewriting.edit import Edit, Plan
    from padaudit.rewriting.options import Options
    from padaudit.rewriting.run import Loaded
    from padaudit.verification.differing_site import Result

EXACT: Final = Tolerance()
ROUNDED: Final = 1e-5
"""Of the largest magnitude of an output behind means whose last place may differ."""
_LAST_STRIDE_BY_COLUMN: Final = 2


def prove_rewrite(model: Loaded, written: Path, plan: Plan, options: Options) -> Verification:
    """Prove a written file against the model it was made from.

    Parameters
    ----------
    model : Loaded
        The original.
    written : Path
        The rewritten model, of the same format; it is read again from the file.
    plan : Plan
        What was to be rewritten.
    options : Options
        ``verify`` says how far to go; ``model`` makes the model level obligatory.
    """
    from padaudit.rewriting.run import load

    if not (plan.edits or options.freeze or options.modernize) and options.opset is None:
        copy = Evidence("definition", "padaudit", detail="nothing to rewrite: the output is a copy")
        return Verification(Status.EQUIVALENT, (copy,))
    rewritten = load(written, options.input_shapes)
    levels = [prove_definition(model, rewritten, plan)]
    if levels[-1].status is Status.EQUIVALENT and (plan.edits or not options.modernize):
        levels.append(prove_site_level(model, rewritten, plan, options.timeout, options.memory_mb))
    if options.verify != "site" and levels[-1].status is not Status.DIFFERENT:
        levels.append(_whole_model(model, written, plan, options))
    obligatory = _obligatory(options, model.document.format == "onnx")
    return with_scope(join(levels, *obligatory), options, plan)


def _obligatory(options: Options, onnx: bool) -> tuple[str, ...]:
    """Return the levels without one of which nothing is proven."""
    if options.modernize:
        # No operator alone tells whether Keras 3 loads the file.
        return ("source",)
    if options.verify != "model":
        return ()
    return ("model",) if onnx else ("source", "model")


def prove_definition(model: Loaded, rewritten: Loaded, plan: Plan) -> Verification:
    """Check the written file against the plan: every site there, explicit, of the same size."""
    after = {site.id: site for site in rewritten.sites}
    planned = {edit.site.id: edit for edit in plan.edits}
    for site in model.sites:
        found = after.get(site.id)
        if found is None or (site.id in planned and found.implicit):
            reason = f"'{site.id}' is {'missing' if found is None else 'still implicit'}"
            return Verification(Status.DIFFERENT, (), site.id, f"in the written file {reason}")
        if site.id not in planned and found.op.attributes != site.op.attributes:
            reason = f"'{site.id}' was not to be changed, and is"
            return Verification(Status.DIFFERENT, (), site.id, f"in the written file {reason}")
        if site.id in planned and site.framework == "onnx" and _altered(planned[site.id], found.op):
            reason = f"more than the padding of '{site.id}' changed"
            return Verification(Status.DIFFERENT, (), site.id, f"in the written file {reason}")
        cropped = site.framework == "keras" and site.family is Family.TRANSPOSED_CONV
        if site.id in planned and not cropped and _resized(site.output_size, found.output_size):
            reason = f"the output size of '{site.id}' changed"
            return Verification(Status.DIFFERENT, (), site.id, reason)
    detail = "the written file read again: every rewritten site explicit, every size as before"
    if model.document.format == "onnx":
        stray = stray_change(model.graph, rewritten.graph, plan)
    else:
        stray = _stray_in_keras(model, rewritten, plan)
    if stray is not None:
        return Verification(Status.DIFFERENT, (), None, f"in the written file {stray}")
    detail += ", nothing else changed"
    evidence = Evidence("definition", "padaudit", counts={"sites": len(model.sites)}, detail=detail)
    return Verification(Status.EQUIVALENT, (evidence,))


def _stray_in_keras(model: Loaded, rewritten: Loaded, plan: Plan) -> str | None:
    from padaudit.verification.untouched_keras import stray_keras_change

    return stray_keras_change(model, rewritten, plan)


def _altered(edit: Edit, after: Op) -> bool:
    """Tell whether anything but the data and the padding of an ONNX operator changed."""
    before, sliced = edit.site.op, edit.strategy in WITH_SLICE
    if (before.op_type, before.domain) != (after.op_type, after.domain):
        return True
    free = {*_PADDING, "strides"} if sliced else _PADDING
    kept = [
        {name: value for name, value in op.attributes.items() if name not in free}
        for op in (before, after)
    ]
    renamed = not sliced and before.outputs != after.outputs
    return kept[0] != kept[1] or before.inputs[1:] != after.inputs[1:] or renamed


_PADDING: Final = frozenset({"auto_pad", "pads", "ceil_mode", "output_shape", "output_padding"})
"""The attributes that a rewrite may change."""


def _resized(before: Sequence[Dim], after: Sequence[Dim]) -> bool:
    """Tell whether a size that is known on both sides changed."""
    pairs = zip(before, after, strict=True)
    return any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def prove_site_level(
    model: Loaded, rewritten: Loaded, plan: Plan, timeout: float, memory_mb: int | None = None
) -> Verification:
    """Run level 1 on all sites of a plan."""
    after = {site.id: site for site in rewritten.sites}
    pairs = [SitePair(edit.site, after[edit.site.id], edit) for edit in plan.edits]
    sides = _side(model), _side(rewritten)
    if model.document.format != "onnx":
        stray = _stray(model, rewritten, pairs, sides)
        if stray is not None:
            reason = f"'{stray}' is new, and pads or crops none of the rewritten layers"
            return Verification(Status.DIFFERENT, (), stray, reason)
    return prove_sites(pairs, *sides, timeout, memory_mb)


def _stray(
    model: Loaded, rewritten: Loaded, pairs: Sequence[SitePair], sides: tuple[Side, Side]
) -> str | None:
    """Name a layer that the rewritten Keras model has for nothing."""
    from padaudit.verification.keras_forms import stray_layer

    sites = (
        (
            sides[0].places[id(pair.before.op)],
            sides[1].places[id(pair.after.op)],
            pair.before.family,
        )
        for pair in pairs
    )
    found = stray_layer(model.graph, rewritten.graph, sites)
    return found.name if found else None


def _side(model: Loaded) -> Side:
    if model.document.format == "onnx":
        return Side(model.document, graph_of_op(model.graph))
    from padaudit.formats.keras.places import places

    return Side(model.document, graph_of_op(model.graph), places(model.graph))


def with_scope(verification: Verification, options: Options, plan: Plan) -> Verification:
    """Add for which sizes a verdict holds, where the user fixed some."""
    if not options.input_shapes or not plan.edits:
        return verification
    shapes = ", ".join(
        f"{name}{'=' if name else ''}{'x'.join(str(size or '?') for size in shape)}"
        for name, shape in options.input_shapes.shapes.items()
    )
    missed = f"other input shapes than {shapes}: the amounts are those of this one"
    return replace(verification, not_covered=(*verification.not_covered, missed))


def _whole_model(model: Loaded, written: Path, plan: Plan, options: Options) -> Verification:
    if model.document.format == "onnx":
        return _onnx_models(model, written, plan, options)
    from padaudit.verification.keras_level import (
        keras_feeds,
        prove_keras_pair,
        prove_translations,
    )

    with scratch_folder() as scratch:
        level = prove_keras_pair(model, written, scratch, options)
        if options.verify != "model" or options.modernize or "source" not in _levels(level):
            return level
        feeds = keras_feeds(model, options.inputs)
        return join((level, prove_translations(model, written, feeds, scratch, options)))


def _levels(verification: Verification) -> set[str]:
    return {item.level for item in verification.evidence}


def _onnx_models(model: Loaded, written: Path, plan: Plan, options: Options) -> Verification:
    document = model.document
    wrong = next((reason for site in model.sites if (reason := onnxruntime_errs(site))), None)
    if wrong is not None:
        return Verification(Status.UNVERIFIED, reason=f"the models were not run whole: {wrong}")
    try:
        specs = input_specs(document.model, options.input_shapes)  # type: ignore[attr-defined]
        tries = feeds_to_try(specs, own_feeds(options.inputs, specs))
    except UsageError as error:
        return Verification(Status.UNVERIFIED, reason=str(error))
    levels = []
    for feeds in tries:
        levels.append(_in_branches(model, written, feeds, plan, options))
        if not _nothing_ran(levels[-1]):
            return levels[-1]
    return levels[0]


def _nothing_ran(level: Verification) -> bool:
    return level.status is Status.UNVERIFIED and level.reason in level.not_covered


def _in_branches(
    model: Loaded, written: Path, feeds: Sequence[Feed], plan: Plan, options: Options
) -> Verification:
    """Compare the models, also on inputs that lead to other branches, and tell which none does."""
    further = steered(feeds[0]) if bodies_of(model.graph) else []
    reach = reached(model, [*feeds, *further], options.timeout, options.memory_mb)
    if reach is None:
        return _at_sizes(model, written, feeds, plan, options)
    led = [feed for feed, ran in zip(further, reach.ran[len(feeds) :], strict=True) if ran]
    level = _at_sizes(model, written, [*feeds, *led], plan, options)
    missed = (*level.not_covered, *reach.notes())
    return replace(level, evidence=with_passes(level.evidence, reach), not_covered=missed)


def _at_sizes(
    model: Loaded, written: Path, feeds: Sequence[Feed], plan: Plan, options: Options
) -> Verification:
    document = model.document
    if isinstance(document.source, mmap.mmap) and document.path is not None:  # type: ignore[attr-defined]
        pair = ModelPair(document.path, written)
        tolerance = _tolerance(plan)
        level = compare_models(
            pair, same_feeds(feeds), tolerance, options.timeout, options.memory_mb
        )
        if DOUBT in level.not_covered:
            return _looked_inside(level, model, written, feeds[0], tolerance, options)
        return with_first_site(level, model, written, feeds, tolerance, options)
    return _converted_models(document, written, same_feeds(feeds), plan, options)  # type: ignore[arg-type]


def _looked_inside(
    level: Verification,
    model: Loaded,
    written: Path,
    feed: Feed,
    tolerance: Tolerance,
    options: Options,
) -> Verification:
    """Compare what padded operators give, where the outputs are the same for all inputs."""
    from padaudit.rewriting.run import load

    models = model, load(written, options.input_shapes)
    found = _searched(models, feed, tolerance, options)
    if not found.compared:
        return level
    rest = tuple(reason for reason in level.not_covered if reason != DOUBT)
    agreeing = replace(level, not_covered=rest)
    verdict = looked_inside(agreeing, found.site, found.compared, len(model.sites))
    return replace(verdict, status=Status.DIFFERENT) if found.site else verdict


def _tolerance(plan: Plan) -> Tolerance:
    """Return how far whole models may be apart: a mean may have been summed in another order.

    onnxruntime sums the windows of a float mean row by row where the last stride is above 2,
    and column by column elsewhere, as in a sliced pool (measured with onnxruntime 1.32).
    """
    reordered = any(map(_reordered, plan.edits))
    return on_provider(Tolerance(ROUNDED, scaled=True) if reordered else EXACT)


def _reordered(edit: Edit) -> bool:
    site, window = edit.site, edit.site.window
    if edit.strategy not in WITH_SLICE or window is None or site.family is not Family.AVG_POOL:
        return False
    return not site.quantized and window.rank > 1 and window.strides[-1] > _LAST_STRIDE_BY_COLUMN


def with_first_site(
    level: Verification,
    model: Loaded,
    written: Path,
    feeds: Sequence[Feed],
    tolerance: Tolerance,
    options: Options,
) -> Verification:
    """Name the first site of an ONNX model whose output differs, where a level found that."""
    if level.status is not Status.DIFFERENT or not level.evidence:
        return level
    from padaudit.rewriting.run import load

    models = model, load(written, options.input_shapes)
    for feed in feeds:
        site = _searched(models, feed, tolerance, options).site
        if site is not None:
            reason = f"{level.reason}; the first that differs is '{site.id}': {site.reason}"
            return replace(level, first_difference=site.id, reason=reason, error_map=site.where)
    return level


def _searched(
    models: tuple[Loaded, Loaded], feed: Feed, tolerance: Tolerance, options: Options
) -> Result:
    """Look for the first operator that differs between a model and its rewritten form."""
    from padaudit.verification.differing_site import same_sites, search

    return search(
        same_sites(models),
        models,
        (feed, feed),
        tolerance,
        timeout=options.timeout,
        memory_mb=options.memory_mb,
    )


def _converted_models(
    document: OnnxDocument,
    written: Path,
    feeds: list[FeedPair],
    plan: Plan,
    options: Options,
) -> Verification:
    """Compare with the model that was converted (exactly), and with the file it came from.

    Operators of two opsets may round in different ways. External data stands beside the file,
    where the converted model, which is in memory only, can't be run.
    """
    levels = []
    if not document.data_files:
        converted = ModelPair(bytes(document.buffer()[:]), written)
        levels.append(
            compare_models(converted, feeds, _tolerance(plan), options.timeout, options.memory_mb)
        )
    if document.path is not None:
        from padaudit.verification.keras_level import SOURCE_RTOL

        pair = ModelPair(document.path, written)
        tolerance = on_provider(Tolerance(SOURCE_RTOL, scaled=True))
        level = compare_models(pair, feeds, tolerance, options.timeout, options.memory_mb)
        levels.append(_as_source(level))
    return join(levels)


def _as_source(level: Verification) -> Verification:
    detail = "the file before it was converted, and the written one, both whole"
    evidence = tuple(replace(item, level="source", detail=detail) for item in level.evidence)
    return replace(level, evidence=evidence)
