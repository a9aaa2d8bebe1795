"""What would the wrong port do? The model with the padding that a naive port would use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.compare.align import align
from padaudit.compare.engine import explicit_file, specs_of
from padaudit.compare.unit import Unit
from padaudit.compare.units import units_of
from padaudit.errors import InputError, UsageError
from padaudit.formats.keras.engine import require
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import Family
from padaudit.scratch import scratch_folder
from padaudit.verification.classes import accuracy, changed, names_classes
from padaudit.verification.explicit_form import runnable
from padaudit.verification.model_level import NO_ELEMENTS, Tolerance
from padaudit.verification.naive import Change, change_of
from padaudit.verification.providers import using
from padaudit.verification.runner import USUAL, Job, Limits, RunOutcome
from padaudit.verification.samples import Samples, concrete, fitting, from_file, made_up
from padaudit.verification.telling import telling
from padaudit.verification.unsteady import drawing, unsteady, why_unsteady
from padaudit.verification.variants import Variants, refusal

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded

Array = NDArray[Any]
ALL: Final = "all"
_FEED_BYTES: Final = 1 << 29
"""How many bytes of inputs are written for the runs of one process."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What other padding at a site, or at all of them, does to the outputs.

    Parameters
    ----------
    site : str
        Id of the site, or `ALL`.
    max_abs, mean_abs : float
        Largest and mean absolute difference over all outputs and samples.
    top1_changed : float or None
        Which part of the samples gets another class, 0 to 1; None where the model is no
        classifier (`padaudit.verification.classes`).
    accuracy : float or None
        Which part of the samples gets the right class; None without labels.
    """

    site: str
    max_abs: float
    mean_abs: float
    top1_changed: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a variant of padding does to a model.

    Parameters
    ----------
    model : Path
        The model.
    variant : str
        ``symmetric``, ``lower`` or ``torch``.
    costs : tuple of Cost
        All sites at once first (where no single one was asked for), then each site, the
        worst first.
    unchanged : tuple of str
        Sites that pad the same in this variant.
    not_tried : dict
        Sites that could not be tried, and why (a clause).
    accuracy : float or None
        That of the model as it is; None without labels.
    samples : int
        How many samples were run.
    origin : str
        Where the samples are from.
    runtime : str
        What ran the model.
    telling : bool
        Whether the outputs change with the inputs: only then they show what padding does.
    note : str
        Why it was not run as it is, one clause; else empty.
    """

    model: Path
    variant: str
    costs: tuple[Cost, ...]
    unchanged: tuple[str, ...]
    not_tried: Mapping[str, str]
    accuracy: float | None
    samples: int
    origin: str
    runtime: str
    telling: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Subject:
    """A model in ONNX at fixed sizes, its operators, and the ids they have in the original.

    ``source`` is the user's file, ``classes`` whether its first output holds scores of
    classes, ``note`` how it had to be run.
    """

    source: Path
    path: Path
    units: Mapping[str, Unit]
    lost: Mapping[str, str]
    samples: Samples
    drawing: str | None
    classes: bool
    note: str = ""


def what_if(
    path: Path,
    variant: str,
    input_shapes: InputShapes,
    *,
    site: str | None = None,
    inputs: Path | None = None,
    together: bool = True,
    limits: Limits = USUAL,
    provider: str | None = None,
) -> WhatIf:
    """Run a model with the padding of a naive port, at each site in turn and at all of them.

    Sites are those with implicit padding, and those whose amounts before and after differ.

    Parameters
    ----------
    path : Path
        A Keras or ONNX file; Keras models are translated.
    variant : str
        A key of `padaudit.verification.naive.VARIANTS`.
    input_shapes : InputShapes
        Sizes that the user fixes.
    site : str, optional
        The only site to change, whatever its padding.
    inputs : Path, optional
        A ``.npz`` file of samples, with labels ``y`` or without.
    together : bool
        Whether all sites are also changed at once.
    limits : Limits
        What one run of the model may take.
    provider : str, optional
        The execution provider that onnxruntime runs it on; the CPU's by default.

    Raises
    ------
    InputError
        If the model or the inputs can't be read, translated or run.
    UsageError
        If there is no such site, or no such provider.
    MissingDependencyError
        If a Keras model is given and the packages to translate it are missing.
    """
    from padaudit.rewriting.run import load

    with using(provider), scratch_folder() as scratch:
        input_shapes = replace(input_shapes, open_only=True)
        original = load(path, input_shapes)
        subject = _subject(original, input_shapes, inputs, scratch, limits)
        chosen = _chosen(original, subject, site)
        changes: dict[str, Change] = {}
        refused = {key: reason for key, reason in subject.lost.items() if key in chosen}
        unchanged: list[str] = []
        for key in chosen:
            if key not in subject.units:
                refused.setdefault(key, "its window or the operator itself is not known")
                continue
            change = change_of(subject.units[key], variant)
            if change is None:
                unchanged.append(key)
            elif isinstance(change, str):
                refused[key] = change
            else:
                changes[key] = change
        listed = list(changes.values())
        refused |= {key: why for key, item in changes.items() if (why := refusal(item, listed))}
        changes = {key: item for key, item in changes.items() if key not in refused}
        trials = {key: [item] for key, item in changes.items()}
        if together and site is None and changes:
            trials = {ALL: list(changes.values()), **trials}
        found = _run(subject, trials, scratch, limits)
    return WhatIf(
        path,
        variant,
        _ranked(found.costs),
        tuple(unchanged),
        refused | found.failed,
        found.accuracy,
        subject.samples.count,
        subject.samples.origin,
        found.runtime,
        found.telling,
        subject.note,
    )


def _subject(
    original: Loaded, input_shapes: InputShapes, inputs: Path | None, scratch: Path, limits: Limits
) -> _Subject:
    """Return what is run: the model in ONNX, with the sizes of the samples."""
    from padaudit.rewriting.run import load

    if (path := original.document.path) is None:
        raise UsageError("only a model in a file can be run")
    specs = specs_of(original, input_shapes)
    samples = made_up(specs) if inputs is None else from_file(inputs, specs)
    if inputs is None and original.document.format == "onnx":
        samples = fitting(path, specs, samples, limits)
    shapes = InputShapes(concrete(specs, samples))
    if original.document.format == "onnx":
        target, note = _runnable(load(path, shapes), shapes, samples, scratch, limits)
        units = {unit.id: _as_declared(unit, unit) for unit in units_of(load(target, shapes))}
        classes = samples.labels is not None or names_classes(original.graph)
        drawn = drawing(original.graph)
        return _Subject(path, target, units, {}, samples, drawn, classes, note)
    translated = _translated(original, path, scratch, limits)
    names = [spec.name for spec in specs_of(load(translated, InputShapes()), InputShapes())]
    feeds = [dict(zip(names, feed.values(), strict=True)) for feed in samples.feeds]
    renamed = dict(zip(names, shapes.shapes.values(), strict=True))
    model = load(translated, InputShapes(renamed))
    sized = load(path, shapes)
    alignment = align(units_of(sized), units_of(model))
    lost = {unit.id: _why_lost(unit) for unit in alignment.original}
    units = {
        ours.id: _as_declared(ours, theirs) for ours, theirs in alignment.pairs if not ours.part
    }
    samples = replace(samples, feeds=feeds)
    classes = samples.labels is not None or names_classes(model.graph)
    return _Subject(path, translated, units, lost, samples, drawing(model.graph), classes)


def _why_lost(unit: Unit) -> str:
    if unit.family is Family.CONV_LSTM:
        return (
            "in ONNX it is several convolutions in a loop, and --what-if changes one operator "
            "for each layer"
        )
    return "which operator of the ONNX translation it is could not be told"


def _as_declared(original: Unit, unit: Unit) -> Unit:
    """A mode is the whole of an operator's padding: a crop behind it has another purpose."""
    if not original.site.implicit:
        return unit
    return replace(unit, behind=((0, 0),) * unit.window.rank)


def _translated(original: Loaded, path: Path, scratch: Path, limits: Limits) -> Path:
    from padaudit.rewriting.translate import runnable_translation

    require(f"running {path}")
    folder = scratch / "keras"
    folder.mkdir()
    result = runnable_translation(original, folder, limits.timeout, limits.memory_mb)
    if isinstance(result, str):
        raise InputError(path, result, "rewrite it to ONNX where that works")
    return result


def _runnable(
    model: Loaded, sizes: InputShapes, samples: Samples, scratch: Path, limits: Limits
) -> tuple[Path, str]:
    """Return the model, or what onnxruntime runs in its place, and why."""
    folder = scratch / "runnable"
    folder.mkdir()
    form = runnable(model, folder, limits.timeout, sizes, limits.memory_mb)
    if isinstance(form, str):
        cause = form.removeprefix(f"{model.document.path} ")
        raise InputError(model.document.path or scratch, cause, "rewrite it by hand there")
    if form.path != model.document.path or not any(site.implicit for site in model.sites):
        return form.path, form.note
    outcome = limits.run([Job(form.path, tuple(samples.feeds[:1]))])[0]
    explicit = None if outcome.outputs is not None else explicit_file(model, scratch)
    return explicit or form.path, form.note


def _chosen(original: Loaded, subject: _Subject, site: str | None) -> list[str]:
    """Return the ids of the sites to change."""
    ids = [item.id for item in original.sites]
    if site is not None:
        if site not in ids:
            known = ", ".join(ids[:8]) or "none"
            more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
            raise UsageError(f"{original.document.path} has no site '{site}'; it has {known}{more}")
        return [site]
    units = subject.units
    return [
        item.id
        for item in original.sites
        if item.implicit or (item.id in units and _unequal(units[item.id]))
    ]


def _unequal(unit: Unit) -> bool:
    """Tell whether a unit pads (or crops) unequally before and after."""
    for index in range(unit.window.rank):
        size = unit.size(index)
        pads = unit.effective(index, size) if isinstance(size, int) else None
        if pads is not None and pads[0] != pads[1]:
            return True
    return False


@dataclass(slots=True)
class _Found:
    """What the runs of all trials gave."""

    costs: list[Cost]
    failed: dict[str, str]
    accuracy: float | None = None
    runtime: str = ""
    telling: bool = True


def _run(
    subject: _Subject, trials: Mapping[str, Sequence[Change]], scratch: Path, limits: Limits
) -> _Found:
    folder = scratch / "variants"
    folder.mkdir()
    variants, samples = Variants(subject.path, folder), subject.samples
    feeds = tuple(samples.feeds)
    base = limits.run([Job(variants.base, feeds)])[0]
    if base.outputs is None:
        error = str(base.error).replace(str(variants.base), str(subject.source))
        cause = f"onnxruntime can't run it: {error}"
        advice = "what it costs can be told of models only that onnxruntime runs"
        if base.cut_short:
            advice = "look at what it needs, and at --timeout and --memory-limit"
        raise InputError(subject.source, cause, advice)
    if not any(array.size for values in base.outputs for array in values):
        raise InputError(subject.source, NO_ELEMENTS, "give it other sizes with --input-shape")
    again = limits.run([Job(variants.base, feeds)])[0] if subject.drawing else base
    if unsteady(base.outputs, again.outputs or base.outputs):
        cause = why_unsteady("it", subject.drawing)
        raise InputError(subject.source, cause, "give the operator a seed, or take it out")
    shown = telling(base.outputs, Tolerance())
    found = _Found([], {}, accuracy(base.outputs, samples.labels), base.runtime, shown)
    for group in _grouped(list(trials), feeds):
        jobs = [Job(variants.write(trials[key]), feeds) for key in group]
        for key, outcome in zip(group, limits.run(jobs), strict=True):
            _note(found, key, base, outcome, subject)
    return found


def _grouped(keys: list[str], feeds: Sequence[Mapping[str, Array]]) -> Iterator[list[str]]:
    """Yield as many trials as one process may get: their inputs are written for each."""
    size = sum(array.nbytes for feed in feeds for array in feed.values())
    count = max(int(_FEED_BYTES // max(size, 1)), 1)
    yield from (keys[start : start + count] for start in range(0, len(keys), count))


def _note(
    found: _Found, key: str, base: RunOutcome, outcome: RunOutcome, subject: _Subject
) -> None:
    if outcome.outputs is None or base.outputs is None:
        found.failed[key] = f"the graph does not run with it: {outcome.error}"
        return
    shapes = [[array.shape for array in each[0]] for each in (base.outputs, outcome.outputs)]
    if shapes[0] != shapes[1]:
        found.failed[key] = f"the outputs have other shapes with it, {shapes[1]} for {shapes[0]}"
        return
    apart = [
        np.abs(np.asarray(b, np.float64) - np.asarray(a, np.float64)).ravel()
        for ours, theirs in zip(base.outputs, outcome.outputs, strict=True)
        for a, b in zip(ours, theirs, strict=True)
        if a.dtype.kind in "fiu"
    ]
    joined = np.nan_to_num(np.concatenate(apart), nan=math.inf) if apart else np.zeros(1)
    found.costs.append(
        Cost(
            key,
            float(joined.max(initial=0.0)),
            float(joined.mean()),
            changed(base.outputs, outcome.outputs) if subject.classes else None,
            accuracy(outcome.outputs, subject.samples.labels),
        )
    )


def _ranked(costs: Sequence[Cost]) -> tuple[Cost, ...]:
    return tuple(sorted(costs, key=lambda cost: (cost.site != ALL, -cost.max_abs, -cost.mean_abs)))
