"""Where in an array two results differ: at corners, along borders, or inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_ENDS: Final = 2
"""An axis of no more places has no interior."""


@dataclass(frozen=True, slots=True)
class ErrorMap:
    """Where two arrays of one shape differ.

    Parameters
    ----------
    shape : tuple of int
        Of the arrays.
    axes : tuple of int
        The spatial ones among their axes.
    worst : tuple of int
        Index of the largest difference.
    max_abs : float
        That difference.
    differing : int
        How many elements differ.
    corner, border, interior : float
        Which part of the elements there differs. The border is the first and the last place
        on a spatial axis; the corners, where every axis is at an end, are not counted to it.
        Of a single spatial axis both ends are border.
    extent : tuple of (int, int)
        First and last differing place per spatial axis.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    worst: tuple[int, ...]
    max_abs: float
    differing: int
    corner: float
    border: float
    interior: float
    extent: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        sizes = [self.shape[axis] for axis in self.axes]
        zones = (
            ("corners", self.corner, len(sizes) > 1),
            ("border", self.border, len(sizes) == 1 or max(sizes, default=0) > _ENDS),
            ("interior", self.interior, min(sizes, default=_ENDS + 1) > _ENDS),
        )
        shares = ", ".join(
            f"{share * 100:.3g}% of the {name}" for name, share, there in zones if there
        )
        spans = ", ".join(
            f"{first} to {last} of {self.shape[axis]}"
            for axis, (first, last) in zip(self.axes, self.extent, strict=True)
        )
        text = f"{shares} differ, the worst at {self.worst} by {self.max_abs:.3g}"
        return f"{text}; places {spans}" if spans else text


def error_map(apart: Array, unequal: NDArray[np.bool_], axes: Sequence[int]) -> ErrorMap:
    """Summarise where two arrays differ.

    Parameters
    ----------
    apart : ndarray
        Absolute differences.
    unequal : ndarray of bool
        Which of them count; at least one does.
    axes : sequence of int
        The spatial axes.

    >>> apart = np.zeros((1, 1, 4, 5))
    >>> apart[..., 0] = 2
    >>> print(error_map(apart, apart > 0, (2, 3)))  # doctest: +NORMALIZE_WHITESPACE
    50% of the corners, 20% of the border, 0% of the interior differ, the worst at (0, 0, 0, 0)
    by 2; places 0 to 3 of 4, 0 to 0 of 5
    >>> print(error_map(np.ones((1, 2)), np.ones((1, 2), bool), (1,)))
    100% of the border differ, the worst at (0, 0) by 1; places 0 to 1 of 2
    """
    ends = _ends(apart.shape, axes)
    corner = ends == max(len(axes), 2)
    zones = corner, (ends > 0) & ~corner, ends == 0
    flat = int(np.where(unequal, apart, -1.0).argmax())
    worst = tuple(int(place) for place in np.unravel_index(flat, apart.shape))
    corners, border, interior = (_share(unequal, zone) for zone in zones)
    return ErrorMap(
        apart.shape,
        tuple(axes),
        worst,
        float(apart[worst]),
        int(np.count_nonzero(unequal)),
        corners,
        border,
        interior,
        tuple(_extent(unequal, axis) for axis in axes),
    )


def _ends(shape: Sequence[int], axes: Sequence[int]) -> NDArray[np.int8]:
    """Return on how many spatial axes each element is the first or the last one."""
    count = np.zeros(shape, np.int8)
    for axis in axes:
        along = np.moveaxis(count, axis, 0)
        along[[0, -1] if shape[axis] > 1 else [0]] += 1
    return count


def _share(unequal: NDArray[np.bool_], zone: NDArray[np.bool_]) -> float:
    return float(unequal[zone].mean()) if zone.any() else 0.0


def _extent(unequal: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    others = tuple(place for place in range(unequal.ndim) if place != axis)
    places = np.flatnonzero(unequal.any(axis=others))
    return int(places[0]), int(places[-1])
