"""How far apart two arrays are: absolutely, in units in the last place, and where."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

INCOMPARABLE_ULP: Final = 2**64 - 1
"""The distance of values that no number of steps connects (NaN, text, unequal shapes)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest deviation between two arrays.

    Parameters
    ----------
    max_abs : float
        Largest absolute difference; infinite where NaN meets a number and where the
        arrays can't be compared at all.
    max_ulp : int
        Largest distance in representable numbers of the arrays' own type (for integers
        the difference itself); `INCOMPARABLE_ULP` where there is none.
    equal : bool
        Whether every element is within the tolerance.
    where : tuple of int or None
        Index of the worst element; None if there is no deviation.
    reason : str
        What is unequal, one clause; empty if equal.
    """

    max_abs: float = 0.0
    max_ulp: int = 0
    equal: bool = True
    where: tuple[int, ...] | None = None
    reason: str = ""


def compare_arrays(a: Array, b: Array, rtol: float = 0.0, atol: float = 0.0) -> Difference:
    """Compare an array with a reference.

    NaN equals NaN at the same place, an infinity equals only itself, -0.0 equals 0.0.

    Parameters
    ----------
    a, b : ndarray
        The array and the reference; another shape or type is a difference.
    rtol, atol : float
        Floating-point elements are equal when ``|a - b| <= atol + rtol * |b|``; integers,
        bools and strings only when they are the same.

    Returns
    -------
    Difference
        The worst element decides; one outside the tolerance before one inside.

    >>> compare_arrays(np.float32([1, 2]), np.float32([1, 2.5])).reason
    '1 of 2 elements differ, the worst at (1,): 2.0 against 2.5'
    """
    if a.shape != b.shape:
        return _incomparable(f"shape {a.shape} against {b.shape}")
    if a.dtype != b.dtype and not a.dtype.kind == b.dtype.kind == "U":
        return _incomparable(f"type {_name(a.dtype)} against {_name(b.dtype)}")
    if _is_float(a.dtype):
        return _compare_floats(a, b, rtol, atol)
    if np.array_equal(a, b):
        return Difference()
    if a.dtype.kind in "iub":
        return _compare_integers(a, b)
    unequal = a != b
    return _worst(a, b, np.where(unequal, math.inf, 0.0), INCOMPARABLE_ULP, unequal)


def ulp_distance(a: Array, b: Array) -> NDArray[np.uint64]:
    """Return how many representable numbers lie between floats of one type.

    Parameters
    ----------
    a, b : ndarray of float16, float32, float64 or bfloat16
        Of one shape and type.

    Returns
    -------
    ndarray of uint64
        0 for equal values (-0.0 and 0.0 too) and for NaN against NaN,
        `INCOMPARABLE_ULP` for NaN against a number.

    >>> ulp_distance(np.float32([1.0, -0.0]), np.float32([1.00000012, 0.0])).tolist()
    [1, 0]
    """
    first, second = _ordered(a), _ordered(b)
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    distance = np.where(nan_a & nan_b, np.uint64(0), _span(first, second))
    return np.where(nan_a ^ nan_b, np.uint64(INCOMPARABLE_ULP), distance)


def merge(differences: Iterable[Difference]) -> Difference:
    """Join differences into one: the largest figures, place and reason of the worst.

    >>> merge([Difference(0.5, 2, False, (0,), "x"), Difference(0.1, 9, False, (1,), "y")])
    Difference(max_abs=0.5, max_ulp=9, equal=False, where=(0,), reason='x')
    """
    found = [Difference(), *differences]
    worst = max(found, key=lambda item: (not item.equal, item.max_abs, item.max_ulp))
    return Difference(
        max_abs=max(item.max_abs for item in found),
        max_ulp=max(item.max_ulp for item in found),
        equal=worst.equal,
        where=worst.where,
        reason=worst.reason,
    )


def deviation(
    a: Array, b: Array, rtol: float = 0.0, atol: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how far apart floats are, and where that is more than the tolerance.

    Parameters
    ----------
    a, b : ndarray
        The array and the reference, of one shape.
    rtol, atol : float
        See `compare_arrays`.
    """
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    # NaN against a number, and the overflow of huge finite ones, count as infinite.
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(same, 0.0, np.abs(wide_a - wide_b))
        allowed = atol + rtol * np.abs(wide_b)
    apart[np.isnan(apart)] = math.inf
    close = same | (np.isfinite(wide_a) & np.isfinite(wide_b) & (apart <= allowed))
    return apart, ~close


def _compare_floats(a: Array, b: Array, rtol: float, atol: float) -> Difference:
    if ((a == b) | (np.isnan(a) & np.isnan(b))).all():
        return Difference()
    apart, unequal = deviation(a, b, rtol, atol)
    return _worst(a, b, apart, int(ulp_distance(a, b).max()), unequal)


def _compare_integers(a: Array, b: Array) -> Difference:
    apart = _span(a, b)
    return _worst(a, b, apart, int(apart.max()), apart > 0)


@np.errstate(over="ignore")
def _span(a: Array, b: Array) -> NDArray[np.uint64]:
    # Modulo 2**64 the difference of the wrapped integers is the exact one.
    high, low = np.maximum(a, b), np.minimum(a, b)
    return np.asarray(high.astype(np.uint64) - low.astype(np.uint64))


def _worst(
    a: Array, b: Array, apart: Array, max_ulp: int, unequal: NDArray[np.bool_]
) -> Difference:
    failed = int(np.count_nonzero(unequal))
    candidates = np.where(unequal, apart, 0) if failed else apart
    flat = int(candidates.argmax())
    where = tuple(int(index) for index in np.unravel_index(flat, a.shape))
    reason = (
        f"{failed} of {a.size} elements differ, the worst at {where}: "
        f"{a[where]!s} against {b[where]!s}"
    )
    return Difference(float(apart.max()), max_ulp, not failed, where, reason if failed else "")


def _name(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind == "U" else dtype.name


def _incomparable(reason: str) -> Difference:
    return Difference(math.inf, INCOMPARABLE_ULP, False, None, reason)


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _ordered(values: Array) -> NDArray[np.int64]:
    # The bits of a float, read as sign and magnitude, count representable numbers from 0.
    bits = values.view(f"i{values.dtype.itemsize}")
    lowest = np.iinfo(bits.dtype).min
    return np.where(bits < 0, lowest - bits, bits).astype(np.int64)
