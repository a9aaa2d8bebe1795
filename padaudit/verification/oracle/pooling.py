"""Pools by gathering, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from padaudit.verification.oracle.windows import (
    AxisWindows,
    Float64s,
    Reads,
    axis_windows,
    each_tap,
    gather,
)

Pads = Sequence[tuple[int, int]] | None


def max_pool(
    x: NDArray[Any],
    kernel_shape: Sequence[int],
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    mode: str,
    pads: Pads = None,
    ceil_mode: bool = False,
    storage_order: int = 0,
) -> tuple[Float64s, NDArray[np.int64]]:
    """Return the maximum of each window, and where it stands, as ONNX ``MaxPool`` gives it.

    Parameters
    ----------
    x : ndarray
        Input of shape ``(N, C, *spatial)``, one to three spatial axes.
    kernel_shape, strides, dilations : sequence of int
        One per spatial axis.
    mode : str
        ``valid``, ``same_upper``, ``same_lower`` or ``explicit``.
    pads : sequence of (int, int), optional
        Per spatial axis ``(before, after)``, for ``explicit``.
    ceil_mode : bool
        Whether windows may reach over the padding.
    storage_order : int
        0: indices count the last spatial axis fastest; 1: the first one.

    Returns
    -------
    values : ndarray of float64
        Shape ``(N, C, *outputs)``; -inf for a window without an element.
    indices : ndarray of int64
        Flat index into the whole input; the first of equal maxima in the order of taps; -1
        for a window without an element.

    Raises
    ------
    ValueError
        If the mode is unknown or the window has another rank than the input.
    """
    axes = _axes(x, kernel_shape, strides, dilations, mode, pads, ceil_mode)
    data, places = x.astype(np.float64), _flat_indices(x.shape, storage_order)
    shape = (*x.shape[:2], *(axis.outputs for axis in axes))
    best, where = np.full(shape, -math.inf), np.full(shape, -1, np.int64)
    for reads in each_tap(axes):
        values, index = gather(data, reads, -math.inf), gather(places, reads, -1)
        larger = (values > best) | ((where < 0) & (index >= 0))
        best = np.where(larger, values, best)
        where = np.where(larger, index.astype(np.int64), where)
    return best, where


def average_pool(
    x: NDArray[Any],
    kernel_shape: Sequence[int],
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    mode: str,
    pads: Pads = None,
    count_include_pad: bool = False,
    ceil_mode: bool = False,
) -> Float64s:
    """Return the mean of each window; parameters as in `max_pool`.

    Parameters
    ----------
    count_include_pad : bool
        Whether the divisor counts declared padding; what ``ceil_mode`` adds never counts.

    Returns
    -------
    ndarray of float64
        Shape ``(N, C, *outputs)``; nan for a window without a counted element.
    """
    axes = _axes(x, kernel_shape, strides, dilations, mode, pads, ceil_mode)
    total = sum(gather(x.astype(np.float64), reads, 0.0) for reads in each_tap(axes))
    bounds = [(0, size) for size in x.shape[2:]]
    if count_include_pad:
        bounds = list(_padded_bounds(x.shape[2:], axes, mode, pads))
    count = sum(_counted(reads, bounds) for reads in each_tap(axes))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / np.asarray(count, np.float64))


def lp_pool(
    x: NDArray[Any],
    kernel_shape: Sequence[int],
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    mode: str,
    pads: Pads = None,
    p: int = 2,
    ceil_mode: bool = False,
) -> Float64s:
    """Return the p-norm of each window; parameters as in `max_pool`."""
    axes = _axes(x, kernel_shape, strides, dilations, mode, pads, ceil_mode)
    powers = np.abs(x.astype(np.float64)) ** p
    total = sum(gather(powers, reads, 0.0) for reads in each_tap(axes))
    return np.asarray(np.asarray(total) ** (1.0 / p))


def _axes(
    x: NDArray[Any],
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    mode: str,
    pads: Pads,
    ceil_mode: bool,
) -> list[AxisWindows]:
    given = pads if pads is not None else [None] * len(kernel_shape)
    parts = zip(x.shape[2:], kernel_shape, strides, dilations, given, strict=True)
    return [axis_windows(n, k, s, d, mode, pair, ceil_mode) for n, k, s, d, pair in parts]


def _flat_indices(shape: tuple[int, ...], storage_order: int) -> Float64s:
    """Number the elements; with storage_order 1 each channel counts its first axis fastest."""
    spatial = shape[2:]
    inner = np.arange(math.prod(spatial)).reshape(spatial, order="F" if storage_order else "C")
    channel = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * len(spatial))
    return (channel * math.prod(spatial) + inner).astype(np.float64)


def _padded_bounds(
    sizes: Sequence[int], axes: Sequence[AxisWindows], mode: str, pads: Pads
) -> Iterator[tuple[int, int]]:
    """Yield which indices count: the input with its declared padding."""
    for place, (size, axis) in enumerate(zip(sizes, axes, strict=True)):
        if mode.startswith("same"):
            reach = (axis.kernel - 1) * axis.dilation
            last = axis.start + (axis.outputs - 1) * axis.stride + reach
            yield axis.start, max(last + 1, size)
        else:
            after = pads[place][1] if mode == "explicit" and pads is not None else 0
            yield axis.start, size + after


def _counted(reads: Reads, bounds: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Tell for each window whether a tap reads something that counts, shape ``(*outputs)``."""
    counted = np.ones((), dtype=bool)
    for index, (low, high) in zip(reads, bounds, strict=True):
        counted = counted[..., np.newaxis] & (index >= low) & (index < high)
    return counted.astype(np.int64)
