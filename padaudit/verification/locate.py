"""From outputs that differ to the padded operator where two models part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from padaudit.compare.align import align
from padaudit.compare.engine import specs_of
from padaudit.compare.units import units_of
from padaudit.formats.keras.engine import missing_package
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.differing_site import search
from padaudit.verification.model_level import Feed, FeedPair, Tolerance
from padaudit.verification.point_difference import DifferingSite
from padaudit.verification.site_points import SiteMatch
from padaudit.verification.value_points import Points, meeting

if TYPE_CHECKING:
    from padaudit.compare.unit import Unit
    from padaudit.ir.site import PaddingSite
    from padaudit.rewriting.run import Loaded
    from padaudit.verification.explicit_form import Runnable
    from padaudit.verification.runner import Limits


@dataclass(frozen=True, slots=True)
class Located:
    """The first differing operator, or why there is none to name; how many were compared."""

    site: DifferingSite | None
    reason: str = ""
    compared: int = 0


@dataclass(frozen=True, slots=True)
class InOnnx:
    """A model in ONNX, its inputs, and where the operators of the given model are in it."""

    model: Loaded
    feed: Feed
    sites: Mapping[str, PaddingSite]


def locate(
    models: tuple[Loaded, Loaded],
    forms: tuple[Runnable, Runnable],
    feed: FeedPair,
    tolerance: Tolerance,
    limits: Limits,
) -> Located:
    """Name the first padded operator of two models whose output differs.

    Operators are paired by weights, neighbours and order (`padaudit.compare.align`), else
    by name; Keras models are translated for this, as their inner outputs can be fetched in
    onnxruntime.

    Parameters
    ----------
    models : tuple of Loaded
        The models.
    forms : tuple of Runnable
        What of them runs.
    feed : tuple of Mapping
        Inputs on which they differ.
    tolerance : Tolerance
        How far apart outputs may be.
    limits : Limits
        What one run may take.
    """
    inside = []
    for form, values in zip(forms, feed, strict=True):
        found = in_onnx(form, values, limits)
        if isinstance(found, str):
            return Located(None, f"the first differing operator was not looked for: {found}")
        inside.append(found)
    matches = list(_matches(_pairs(models), inside, tolerance.scaled))
    result = search(
        matches,
        (inside[0].model, inside[1].model),
        (inside[0].feed, inside[1].feed),
        tolerance,
        timeout=limits.timeout,
        memory_mb=limits.memory_mb,
    )
    count = len(matches)
    nothing = f"none of the {count} padded operators that both models have differs"
    if not count:
        nothing = "the models have no padded operators in common"
    return Located(result.site, "" if result.site else nothing, result.compared)


def _pairs(models: tuple[Loaded, Loaded]) -> list[tuple[Unit, Unit]]:
    """Pair the operators of two models, in the order of the first.

    Operators of one name whose windows differ, which `align` does not pair, belong together
    too: there the models part.
    """
    alignment = align(units_of(models[0]), units_of(models[1]))
    left = {unit.id: unit for unit in alignment.port}
    named = [
        (unit, left[unit.id])
        for unit in alignment.original
        if unit.id in left and unit.family is left[unit.id].family
    ]
    return sorted([*alignment.pairs, *named], key=lambda pair: pair[0].position)


def in_onnx(form: Runnable, feed: Feed, limits: Limits) -> InOnnx | str:
    """Return a model in ONNX, where its inner outputs can be fetched; or why that can't be.

    Parameters
    ----------
    form : Runnable
        The model as it runs; Keras models are translated.
    feed : Mapping
        Its inputs.
    limits : Limits
        What one run may take.
    """
    model = form.model
    if model.document.format == "onnx":
        return InOnnx(model, feed, {site.id: site for site in model.sites})
    from padaudit.rewriting.run import load
    from padaudit.rewriting.translate import runnable_translation

    package = missing_package()
    if package is not None:
        return f"{package} is not installed"
    folder = form.scratch / "translated"
    folder.mkdir()
    path = runnable_translation(model, folder, limits.timeout, limits.memory_mb)
    if isinstance(path, str):
        return path
    translated = load(path, InputShapes())
    names = [spec.name for spec in specs_of(translated, InputShapes())]
    given = (feed[spec.name] for spec in specs_of(model, InputShapes()))
    renamed = dict(zip(names, given, strict=True))
    alignment = align(units_of(model), units_of(translated))
    sites = {ours.id: theirs.site for ours, theirs in alignment.pairs if not ours.part}
    return InOnnx(translated, renamed, sites)


def _matches(
    pairs: Sequence[tuple[Unit, Unit]], inside: Sequence[InOnnx], scaled: bool
) -> Iterator[SiteMatch]:
    """Yield paired operators that stand in the ONNX models, with the tensors to compare."""
    points = [Points(item.model) for item in inside]
    for ours, theirs in pairs:
        first, second = inside[0].sites.get(ours.id), inside[1].sites.get(theirs.id)
        if first is not None and second is not None:
            tensors = meeting(points[0].behind(first), points[1].behind(second), scaled)
            if tensors:
                yield SiteMatch(ours.id, theirs.id, first, second, tensors)
