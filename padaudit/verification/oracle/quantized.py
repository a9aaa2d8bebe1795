"""Quantised convolutions: exact sums of integers, then one rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from padaudit.verification.oracle.convolution import convolve


def conv_integer(
    x: NDArray[Any],
    w: NDArray[Any],
    x_zero_point: ArrayLike = 0,
    w_zero_point: ArrayLike = 0,
    **windows: Any,
) -> NDArray[np.int32]:
    """Convolve integers as ONNX ``ConvInteger`` does.

    Parameters
    ----------
    x : ndarray
        Input of shape ``(N, C, *spatial)``; an element outside it counts as x_zero_point.
    w : ndarray
        Weights of shape ``(M, C / group, *kernel)``.
    x_zero_point : int
        Subtracted from the input.
    w_zero_point : int or ndarray of shape (M,)
        Subtracted from the weights.
    **windows
        As in `convolve`.

    Returns
    -------
    ndarray of int32
        Shape ``(N, M, *outputs)``; sums beyond int32 wrap around.
    """
    centred = x.astype(np.float64) - np.asarray(x_zero_point, np.float64)
    total = convolve(centred, _centred(w, w_zero_point), None, **windows)
    return total.astype(np.int64).astype(np.int32)


def qlinear_conv(
    x: NDArray[Any],
    x_scale: float,
    x_zero_point: ArrayLike,
    w: NDArray[Any],
    w_scale: ArrayLike,
    w_zero_point: ArrayLike,
    y_scale: float,
    y_zero_point: NDArray[Any],
    bias: NDArray[Any] | None = None,
    **windows: Any,
) -> NDArray[Any]:
    """Convolve quantised numbers as ONNX ``QLinearConv`` does.

    Parameters
    ----------
    x, x_scale, x_zero_point
        Input ``(N, C, *spatial)`` and what its numbers stand for.
    w, w_scale, w_zero_point
        Weights ``(M, C / group, *kernel)``; scale and zero point one or per output channel.
    y_scale : float
        Scale of the output.
    y_zero_point : ndarray
        Zero point of the output, of its type (int8 or uint8).
    bias : ndarray of int32, optional
        In units of ``x_scale * w_scale``.
    **windows
        As in `convolve`; an element outside the input counts as x_zero_point.

    Returns
    -------
    ndarray
        Shape ``(N, M, *outputs)``, of the type of ``y_zero_point``; halves are rounded to
        the even number, and what is beyond the type's range becomes its limit.
    """
    total = convolve(
        x.astype(np.float64) - np.asarray(x_zero_point, np.float64),
        _centred(w, w_zero_point),
        None,
        **windows,
    )
    shape = (-1, *(1,) * (w.ndim - 2))
    if bias is not None:
        total = total + bias.astype(np.float64).reshape(shape)
    scale = x_scale * np.asarray(w_scale, np.float64).reshape(shape) / y_scale
    limits = np.iinfo(y_zero_point.dtype)
    rounded = np.rint(total * scale) + y_zero_point.item()
    return np.asarray(np.clip(rounded, limits.min, limits.max), y_zero_point.dtype)


def _centred(w: NDArray[Any], zero_point: ArrayLike) -> NDArray[np.float64]:
    zeros = np.asarray(zero_point, np.float64).reshape(-1, *(1,) * (w.ndim - 1))
    return w.astype(np.float64) - zeros
