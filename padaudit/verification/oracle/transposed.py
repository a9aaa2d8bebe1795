"""Transposed convolution by scattering, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.verification.oracle.windows import Float64s

_MODES: Final = frozenset({"valid", "same_upper", "same_lower", "explicit"})


def conv_transpose(
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None = None,
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    mode: str,
    group: int = 1,
    pads: Sequence[tuple[int, int]] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
) -> Float64s:
    """Convolve transposed: each input element is scattered over its window of the output.

    Parameters
    ----------
    x : ndarray
        Input of shape ``(N, C, *spatial)``.
    w : ndarray
        Weights of shape ``(C, M / group, *kernel)``.
    bias : ndarray, optional
        Shape ``(M,)``.
    strides, dilations : sequence of int
        One per spatial axis.
    mode : str
        ``same_upper`` and ``same_lower``: the output has n * stride elements, or those of
        ``output_shape``, and an odd element is cropped at the end or at the start.
        ``explicit`` and ``valid``: ``pads`` are cropped, unless ``output_shape`` is given,
        which crops like ``same_lower``.
    group : int
        Number of groups.
    pads : sequence of (int, int), optional
        What is cropped, for ``explicit``.
    output_padding : sequence of int, optional
        Elements appended at the end.
    output_shape : sequence of int, optional
        Spatial sizes of the output.

    Returns
    -------
    ndarray of float64
        Shape ``(N, M, *outputs)``; elements that nothing is scattered to hold the bias.

    Raises
    ------
    ValueError
        If the mode is unknown or more is cropped than there is.
    """
    if mode not in _MODES:
        raise ValueError(f"the oracle has no transposed convolution '{mode}'")
    sizes, kernel = x.shape[2:], w.shape[2:]
    rank = len(sizes)
    extra = output_padding or [0] * rank
    placed = [
        _axis(
            sizes[i],
            (kernel[i] - 1) * dilations[i] + 1,
            strides[i],
            extra[i],
            mode,
            pads[i] if pads is not None and mode == "explicit" else (0, 0),
            output_shape[i] if output_shape is not None else None,
        )
        for i in range(rank)
    ]
    result = _sum_of_taps(x, w, group, strides, dilations, placed)
    return result if bias is None else result + bias.astype(np.float64).reshape(-1, *(1,) * rank)


def _sum_of_taps(
    x: NDArray[Any],
    w: NDArray[Any],
    group: int,
    strides: Sequence[int],
    dilations: Sequence[int],
    placed: Sequence[tuple[int, int]],
) -> Float64s:
    """Scatter the input once for each element of the kernel; ``placed`` is as from `_axis`."""
    sizes, outputs = x.shape[2:], [size for size, _ in placed]
    data = x.astype(np.float64).reshape(x.shape[0], group, x.shape[1] // group, *sizes)
    taps = w.astype(np.float64).reshape(group, w.shape[0] // group, *w.shape[1:])
    result = np.zeros((x.shape[0], group, w.shape[1], *outputs))
    for tap in itertools.product(*map(range, w.shape[2:])):
        weights = taps[np.index_exp[:, :, :] + tap]
        values = np.einsum("ngc...,gcm->ngm...", data, weights)
        for axis, (size, begin) in enumerate(placed):
            targets = np.arange(sizes[axis]) * strides[axis] + tap[axis] * dilations[axis] - begin
            values = _scattered(values, targets, size, axis + 3)
        result += values
    return result.reshape(x.shape[0], group * w.shape[1], *outputs)


def _axis(
    size: int,
    extent: int,
    stride: int,
    extra: int,
    mode: str,
    pads: tuple[int, int],
    wanted: int | None,
) -> tuple[int, int]:
    """Return the output size of an axis, and which element of the full output comes first."""
    full = stride * (size - 1) + extra + extent
    if mode.startswith("same") or wanted is not None:
        output = wanted if wanted is not None else size * stride
        surplus = max(full - output, 0)
        return output, surplus // 2 if mode == "same_upper" else (surplus + 1) // 2
    begin, end = pads
    if full < begin + end:
        raise ValueError(f"{begin} + {end} elements can't be cropped from {full}")
    return full - begin - end, begin


def _scattered(values: Float64s, targets: NDArray[np.int64], size: int, axis: int) -> Float64s:
    """Move elements along an axis to other places; those outside are dropped."""
    inside = (targets >= 0) & (targets < size)
    out = np.zeros((*values.shape[:axis], size, *values.shape[axis + 1 :]))
    place = (slice(None),) * axis
    out[place + np.index_exp[targets[inside]]] = values[
        place + np.index_exp[np.flatnonzero(inside)]
    ]
    return out
