"""Whether outputs can show a difference: they may be the same whatever the inputs are.

A network with equal weights, a saturated softmax, or a signal that dies on its way (weights as
they were initialised) gives one answer to everything. That two such models agree shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from padaudit.verification.compare import compare_arrays
from padaudit.verification.evidence import Status, Verification

if TYPE_CHECKING:
    from padaudit.verification.model_level import Tolerance
    from padaudit.verification.point_difference import DifferingSite

Array = NDArray[Any]
_NOISE: Final = 1e-9
"""Relative to an output's magnitude; a scaled tolerance is at least some roundings of the type."""
MUTE: Final = "the outputs do not change with the inputs"
SHOWS_NOTHING: Final = f"{MUTE}, so that they agree shows nothing"
NOT_COMPARED: Final = f"{SHOWS_NOTHING}, and no padded operator was compared"
LOOKED_INSIDE: Final = f"{MUTE}: what padded operators give was compared too"
TELLS_NOTHING: Final = (
    "the network is so ill-conditioned that no output tells anything: on all inputs that change "
    "it, rounding may move it by more than 1% of its magnitude"
)
DOUBT: Final = f"whole models: {MUTE}, so that they agree shows little"


def telling(runs: Sequence[Sequence[Array] | None], tolerance: Tolerance) -> bool:
    """Tell whether any output changes with the inputs by more than two results may differ.

    Parameters
    ----------
    runs : sequence of sequence of ndarray
        Per set of inputs, the outputs; None where the model did not run.
    tolerance : Tolerance
        How far apart two results may be.

    Returns
    -------
    bool
        True also where nothing is known, as no output has one shape for two sets of inputs.

    >>> import numpy as np
    >>> from padaudit.verification.model_level import Tolerance
    >>> same, other = [np.float32([0.5, 0.5])], [np.float32([0.5, 0.7])]
    >>> telling([same, same], Tolerance()), telling([same, other], Tolerance())
    (False, True)
    """
    noise, known = replace(tolerance, rtol=_NOISE, atol=0.0, scaled=True), False
    for array, first in _beside_the_first(runs):
        known = True
        if not _equal(array, first, tolerance) and not _equal(array, first, noise):
            return True
    return not known


def doubts(runs: Sequence[Sequence[Array] | None], tolerance: Tolerance) -> tuple[str, ...]:
    """Return what is not covered where outputs are compared that are not `telling`."""
    return () if telling(runs, tolerance) else (DOUBT,)


def looked_inside(
    agreeing: Verification, site: DifferingSite | None, compared: int, sites: int
) -> Verification:
    """Return the verdict on models whose outputs agree and say nothing.

    Parameters
    ----------
    agreeing : Verification
        What their outputs gave.
    site : DifferingSite or None
        The first padded operator whose output differs.
    compared, sites : int
        How many padded operators' outputs were compared, and how many there are.
    """
    if site is not None:
        other = f" ('{site.other}' in the second model)" if site.other != site.id else ""
        reason = f"{SHOWS_NOTHING}; the padded operator '{site.id}'{other}"
        return replace(
            agreeing,
            status=Status.UNVERIFIED,
            first_difference=site.id,
            reason=f"{reason} differs: {site.reason}",
            error_map=site.where,
        )
    if not compared:
        reason = NOT_COMPARED
        return replace(agreeing, status=Status.UNVERIFIED, reason=reason)
    (evidence,) = agreeing.evidence
    counts = {**evidence.counts, "operators": compared}
    detail = f"{evidence.detail}; {LOOKED_INSIDE}"
    left = f"{sites - compared} of {sites} padded operators: {MUTE}, nor could theirs be compared"
    return replace(
        agreeing,
        evidence=(replace(evidence, counts=counts, detail=detail),),
        not_covered=(*agreeing.not_covered, *([left] if compared < sites else [])),
    )


def _beside_the_first(
    runs: Sequence[Sequence[Array] | None],
) -> Iterator[tuple[Array, Array]]:
    """Yield every output with the first one of its place and shape."""
    seen: dict[tuple[int, tuple[int, ...]], Array] = {}
    for values in runs:
        for place, array in enumerate(values or ()):
            key = place, array.shape
            if key in seen:
                yield array, seen[key]
            seen.setdefault(key, array)


def _equal(array: Array, first: Array, tolerance: Tolerance) -> bool:
    return compare_arrays(array, first, *tolerance.bounds(first)).equal
