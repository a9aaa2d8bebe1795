"""How far the outputs of two models are apart, whatever the layout they come in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.compare.feeds import layouts
from padaudit.verification.model_level import Tolerance, on_provider
from padaudit.verification.rounding import MOST, is_mute

Array = NDArray[Any]
Outputs = Sequence[Sequence[Array]]
"""Per feed, the outputs of a model."""
Noise = Sequence[Sequence[float]]
"""Per feed and output, how far rounding moves it, in parts of its magnitude."""
RTOL: Final = 1e-4
"""Relative to an output's largest magnitude: frameworks sum in different orders, and fold."""
ATOL: Final = 1e-7
FLOOR: Final = ATOL / RTOL
"""What is added to an output's magnitude."""
CLEARLY: Final = 4
"""How many times as far apart outputs have to be where rounding may have made the difference."""
_LESS_THAN_ONE: Final = 0.5
"""How far apart whole numbers may be, which are others or the same."""
_ONE_RUNTIME: Final = 1e-2
_ROUNDINGS: Final = 2
"""How many roundings of float16 may add up in any network; more where it is measured."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The deviation between two models.

    Parameters
    ----------
    max_abs : float
        Largest absolute difference; infinite where outputs can't be compared.
    relative : float
        The difference in parts of its output's largest magnitude, where it is the most times
        what it may be.
    rms : float
        The root of the mean square of all differences, each output in parts of its magnitude,
        and as much less as rounding gives more.
    allowed : float
        How large ``relative`` may be for what rounding gives in any network.
    noise : float
        The same for this one on these inputs, as it was measured
        (`padaudit.verification.rounding`); 0 where it was not.
    mute : bool
        Whether no output decides anything (`padaudit.verification.rounding.is_mute`).
    silent : tuple of int
        The places of those that do not.
    excused : int
        On how many sets of inputs rounding gives too much of an output for it to count.
    reason : str
        Why outputs can't be compared, one clause; else empty.
    note : str
        What was done to compare them, one clause; else empty.
    """

    max_abs: float = 0.0
    relative: float = 0.0
    rms: float = 0.0
    allowed: float = RTOL
    noise: float = 0.0
    mute: bool = False
    silent: tuple[int, ...] = ()
    excused: int = 0
    reason: str = ""
    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether the models agree to the rounding of their runtimes."""
        return self.relative <= self.tolerance

    @property
    def plain(self) -> bool:
        """Whether they do without regard to what was measured."""
        return self.relative <= self.allowed

    @property
    def drowned(self) -> bool:
        """Whether rounding gives so much of all outputs that agreement tells nothing."""
        return self.mute and self.equal and not self.plain

    @property
    def tolerance(self) -> float:
        """How large ``relative`` may be."""
        return max(self.allowed, self.noise)

    @property
    def excess(self) -> float:
        """How many times its tolerance the difference is."""
        return self.relative / self.tolerance

    @property
    def rounding(self) -> float:
        """How large ``relative`` may be for forms of one computation in one runtime."""
        return max(self.allowed * _ONE_RUNTIME, self.noise)


def gap_of(error: str) -> Gap:
    """Return the deviation of a model that does not run."""
    return Gap(math.inf, math.inf, math.inf, reason=error)


def gap(ours: Outputs, theirs: Outputs, noise: Noise = ()) -> Gap:
    """Compare the outputs of two models on the same inputs.

    Outputs are paired by shape, in either layout; where that leaves a choice, the nearest.

    Parameters
    ----------
    ours, theirs : sequence of sequence of ndarray
        Per set of inputs, the outputs.
    noise : sequence of sequence of float
        `padaudit.verification.rounding.Rounding.bounds` of the first model, if measured.
    """
    free = list(range(len(theirs[0])))
    total, silent = Gap(), []
    for place in range(len(ours[0])):
        mine = [values[place] for values in ours]
        bounds = [values[place] for values in noise] or [0.0] * len(mine)
        found = [
            (candidate, index)
            for index in free
            for candidate in _gaps(mine, [values[index] for values in theirs], bounds)
        ]
        if not found:
            shapes = [values.shape for values in theirs[0]]
            text = f"output {place} of shape {mine[0].shape} fits none of the port's: {shapes}"
            return gap_of(text)
        best, index = min(found, key=lambda item: (item[0].excess, item[1]))
        free.remove(index)
        if is_mute(mine, bounds, FLOOR):
            silent.append(place)
        total = replace(
            best if place == 0 or best.excess > total.excess else total,
            max_abs=max(total.max_abs, best.max_abs),
            rms=math.hypot(total.rms, best.rms),
            note=total.note or best.note,
        )
    excused = sum(any(bound > MOST for bound in bounds) for bounds in noise)
    mute = len(silent) == len(ours[0])
    return replace(total, mute=mute, silent=tuple(silent), excused=excused)


def _gaps(mine: Sequence[Array], others: Sequence[Array], noise: Sequence[float]) -> Iterator[Gap]:
    for change in _changes(mine[0], others[0]):
        moved = [change(array) for array in others]
        if [array.shape for array in mine] != [array.shape for array in moved]:
            continue
        plain = _distance(mine, moved, noise)
        yield plain
        if plain.equal:
            continue
        for name, tail in _tails(mine[0], moved[0]):
            note = f"the original ends in a {name} and the port does not: it was added"
            behind = _distance(mine, [tail(array) for array in moved], noise)
            yield replace(behind, note=note)


def _changes(mine: Array, other: Array) -> Iterator[Callable[[Array], Array]]:
    """Yield what may turn the port's output into the original's layout."""
    if mine.ndim == other.ndim:
        for order in dict.fromkeys(layouts(mine.ndim)):
            yield lambda array, order=order: array.transpose(order)  # type: ignore[misc]
    elif [n for n in mine.shape if n != 1] == [n for n in other.shape if n != 1]:
        yield lambda array: array.reshape(
            [len(array), *mine.shape[1:]] if mine.ndim else mine.shape
        )


def _distance(mine: Sequence[Array], others: Sequence[Array], noise: Sequence[float]) -> Gap:
    coarse = max(_eps(mine[0]), _eps(others[0]))
    general = max(on_provider(Tolerance(RTOL, scaled=True)).rtol, _ROUNDINGS * coarse)
    each = []
    for a, b, bound in zip(mine, others, noise, strict=True):
        worst, rms, scale = _apart(a, b)
        whole = a.dtype.kind in "iub"
        allowed = min(general, _LESS_THAN_ONE / scale) if whole else general
        # Where rounding gives more than elsewhere, as much less of a difference counts.
        weighed = rms / scale / max(bound / allowed, 1.0)
        each.append(Gap(worst, worst / scale, weighed, allowed, bound))
    return replace(
        max(each, key=lambda item: item.excess),
        max_abs=max(item.max_abs for item in each),
        rms=math.hypot(*(item.rms for item in each)) / math.sqrt(len(each)),
    )


def _apart(a: Array, b: Array) -> tuple[float, float, float]:
    """Return the largest difference of two arrays, its root mean square, and their magnitude."""
    if a.dtype.kind not in "fiub" or a.size == 0:
        worst = 0.0 if np.array_equal(a, b) else math.inf
        return worst, worst, 1.0
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    same = (wide_a == wide_b) | (np.isnan(wide_a) & np.isnan(wide_b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(wide_a - wide_b))
    apart = np.nan_to_num(apart, nan=math.inf, posinf=math.inf)
    finite = np.abs(wide_a[np.isfinite(wide_a)])
    scale = float(finite.max(initial=0.0)) + FLOOR
    worst = float(apart.max())
    rms = worst * float(np.sqrt(np.mean((apart / worst) ** 2))) if 0 < worst < math.inf else worst
    return worst, rms, scale


def _eps(values: Array) -> float:
    """Return the rounding of a type, where that is coarser than float32's."""
    return float(np.finfo(values.dtype).eps) if values.dtype == np.float16 else 0.0


def _tails(mine: Array, other: Array) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield what the original may end in that the port leaves to the code around it."""
    if mine.dtype.kind != "f" or mine.ndim < 2 or mine.size == 0:
        return
    for axis in dict.fromkeys((mine.ndim - 1, 1)):
        if _is_distribution(mine, axis) and not _is_distribution(other, axis):
            yield "softmax", partial(_softmax, axis=axis)
    if _is_part(mine) and not _is_part(other):
        yield "sigmoid", _sigmoid


def _is_part(values: Array) -> bool:
    return bool(values.min() >= 0 and values.max() <= 1)


def _is_distribution(values: Array, axis: int) -> bool:
    if values.shape[axis] < 2 or not _is_part(values):
        return False
    return bool(np.allclose(values.sum(axis=axis), 1.0, atol=1e-3))


def _softmax(values: Array, axis: int) -> Array:
    shifted = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=axis, keepdims=True))


def _sigmoid(values: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))
