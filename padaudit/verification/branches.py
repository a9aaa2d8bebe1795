"""Agreement of two models, judged by the branches and bodies that their runs came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from padaudit.verification.contents import Key, contents, key_of
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.model_level import FeedPair, input_names
from padaudit.verification.reach import Body, Reach, bodies_of, reached
from padaudit.verification.steering import DESCRIPTION

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded


def judged(
    agreeing: Verification,
    models: tuple[Loaded, Loaded],
    feeds: Sequence[FeedPair],
    made_up: bool,
    timeout: float,
    memory_mb: int | None = None,
) -> Verification:
    """Judge models whose outputs agree: what was never run must be the same in both.

    Parameters
    ----------
    agreeing : Verification
        What their outputs gave.
    models : tuple of Loaded
        The models as they were run.
    feeds : sequence of pairs of Mapping
        The inputs on which they agree.
    made_up : bool
        Whether these are made up, further ones for branches among them.
    timeout : float
        Seconds for one run.
    memory_mb : int, optional
        Memory of a run, in MiB.
    """
    ours = reached(models[0], [a for a, _ in feeds], timeout, memory_mb)
    theirs = reached(models[1], [b for _, b in feeds], timeout, memory_mb)
    found = [reach for reach in (ours, theirs) if reach is not None]
    if not found:
        return agreeing
    notes = dict.fromkeys(note for reach in found for note in reach.notes())
    told = replace(
        agreeing,
        evidence=with_passes(agreeing.evidence, found[0], made_up),
        not_covered=(*agreeing.not_covered, *notes),
    )
    unlike = next(_unlike(models, (ours, theirs)), None) if notes else None
    if unlike is None:
        return told
    reason = f"that the outputs agree shows nothing of it: {unlike}"
    return replace(told, status=Status.UNVERIFIED, reason=reason)


def with_passes(
    evidence: Sequence[Evidence], reach: Reach, made_up: bool = True
) -> tuple[Evidence, ...]:
    """Return evidence that tells, of whole models, how often each body was run.

    ``made_up`` says whether further inputs were tried, to come to more of them.
    """
    passes = {"control_flow": reach.told(), "further_inputs": DESCRIPTION if made_up else None}
    run = f"{sum(map(bool, reach.passes))} of {len(reach.bodies)} branches and loop bodies run"
    return tuple(
        replace(item, detail=f"{item.detail}, {run}", setup={**item.setup, **passes})
        if item.level == "model"
        else item
        for item in evidence
    )


def _unlike(
    models: tuple[Loaded, Loaded], reaches: tuple[Reach | None, Reach | None]
) -> Iterator[str]:
    """Yield the bodies of either model that were never run and that the other has not as well."""
    digests = _digests(models)
    for side, reach in enumerate(reaches):
        others = _bodies(models[1 - side])
        for body in reach.missed if reach is not None else ():
            other = _counterpart(body, others)
            where = "in the second model " if side else ""
            if other is None:
                yield f"{where}{body.missed}, and the other model has none that is like it"
            elif digests[side][key_of(body.hops)] != digests[1 - side][key_of(other.hops)]:
                yield f"{where}{body.missed}, and it is not the same in both models"


def _bodies(model: Loaded) -> tuple[Body, ...]:
    return bodies_of(model.graph) if model.document.format == "onnx" else ()


def _counterpart(body: Body, others: Sequence[Body]) -> Body | None:
    """Return the body of one name, or else of one place."""
    named = [other for other in others if other.path == body.path]
    placed = [other for other in others if other.order == body.order]
    return next(iter((*named, *placed)), None)


def _digests(models: tuple[Loaded, Loaded]) -> list[Mapping[Key, str]]:
    documents: list[Any] = [model.document for model in models]
    if any(document.format != "onnx" for document in documents):
        return [{}, {}]
    names = [input_names(document.model) for document in documents]
    if sorted(names[0]) != sorted(names[1]):
        names = [[str(place) for place in range(len(items))] for items in names]
    return [contents(model, shared) for model, shared in zip(models, names, strict=True)]
