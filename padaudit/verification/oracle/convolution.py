"""Convolution by gathering, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from padaudit.verification.oracle.windows import Float64s, axis_windows, each_tap, gather


def convolve(
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None = None,
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    mode: str,
    group: int = 1,
    pads: Sequence[tuple[int, int]] | None = None,
    pad_value: float = 0.0,
) -> Float64s:
    """Convolve (cross-correlate, as ONNX ``Conv`` and Keras do) in float64.

    Parameters
    ----------
    x : ndarray
        Input of shape ``(N, C, *spatial)``, one to three spatial axes.
    w : ndarray
        Weights of shape ``(M, C / group, *kernel)``.
    bias : ndarray, optional
        Shape ``(M,)``.
    strides, dilations : sequence of int
        One per spatial axis.
    mode : str
        ``valid``, ``same_upper``, ``same_lower``, ``causal`` or ``explicit``.
    group : int
        Number of groups; C and M are multiples of it.
    pads : sequence of (int, int), optional
        Per spatial axis ``(before, after)``, for ``explicit``.
    pad_value : float
        What an element outside the input counts as.

    Returns
    -------
    ndarray of float64
        Shape ``(N, M, *outputs)``.

    Raises
    ------
    ValueError
        If the mode is unknown or the shapes do not fit together.
    """
    kernel = w.shape[2:]
    given = pads if pads is not None else [None] * len(kernel)
    axes = [
        axis_windows(size, k, s, d, mode, pair)
        for size, k, s, d, pair in zip(x.shape[2:], kernel, strides, dilations, given, strict=True)
    ]
    data = x.astype(np.float64)
    taps = w.astype(np.float64).reshape(group, w.shape[0] // group, w.shape[1], -1)
    grouped = (x.shape[0], group, x.shape[1] // group)
    outputs = tuple(axis.outputs for axis in axes)
    total = np.zeros((x.shape[0], *taps.shape[:2], int(np.prod(outputs))))
    for tap, reads in enumerate(each_tap(axes)):
        values = gather(data, reads, pad_value).reshape(*grouped, total.shape[-1])
        total += taps[..., tap] @ values
    result = total.reshape(x.shape[0], w.shape[0], *outputs)
    return result if bias is None else result + bias.reshape(-1, *(1,) * len(kernel))
