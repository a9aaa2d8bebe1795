"""An independent reference for padded windows: numpy, float64, gather by index.

Nothing is padded here and nothing is shared with `padaudit.padding`: each tap of each
window reads its element by index, and an index outside the input reads the pad value. The
amounts follow TensorFlow's form of "same", not ONNX's. Sums of small integers are exact.

References
----------
TensorFlow "SAME": https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]
Reads = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True)
class AxisWindows:
    """The windows along one spatial axis.

    Parameters
    ----------
    outputs : int
        How many windows there are.
    start : int
        Index that the first tap of the first window reads; negative inside padding.
    kernel, stride, dilation : int
        The window, in elements.
    """

    outputs: int
    start: int
    kernel: int
    stride: int
    dilation: int

    def reads(self, tap: int) -> NDArray[np.int64]:
        """Return the index that a tap reads in each window, shape ``(outputs,)``.

        >>> AxisWindows(3, -1, 3, 2, 1).reads(0).tolist()
        [-1, 1, 3]
        """
        return np.arange(self.outputs) * self.stride + tap * self.dilation + self.start


def same_start(size: int, kernel: int, stride: int, dilation: int, lower: bool) -> tuple[int, int]:
    """Return how many windows "same" padding gives, and where the first one starts.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        One spatial axis, in elements.
    lower : bool
        Whether an odd element of padding goes before (SAME_LOWER) or after the input.

    Returns
    -------
    tuple of int
        Number of outputs, and the index (0 or less) of the first window's first tap.

    >>> same_start(224, 3, 2, 1, lower=False), same_start(224, 3, 2, 1, lower=True)
    ((112, 0), (112, -1))
    """
    extent = (kernel - 1) * dilation + 1
    total = max(extent - stride, 0) if size % stride == 0 else max(extent - size % stride, 0)
    before = (total + 1) // 2 if lower else total // 2
    return (size + stride - 1) // stride, -before


def axis_windows(
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    mode: str,
    pads: tuple[int, int] | None = None,
    ceil_mode: bool = False,
) -> AxisWindows:
    """Place the windows along one axis.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        One spatial axis, in elements.
    mode : str
        ``valid``, ``same_upper``, ``same_lower``, ``causal`` or ``explicit``.
    pads : tuple of int, optional
        ``(before, after)``, for ``explicit``.
    ceil_mode : bool
        Whether a last window that reaches over the padding counts, for ``explicit`` and
        ``valid``; a last window that starts behind the input then doesn't, even if it fits.

    Raises
    ------
    ValueError
        If the mode has no such name, or ``explicit`` comes without pads.
    """
    reach = (kernel - 1) * dilation
    if mode in {"same_upper", "same_lower"}:
        outputs, start = same_start(size, kernel, stride, dilation, mode == "same_lower")
    elif mode == "causal":
        outputs, start = (size + stride - 1) // stride, -reach
    elif mode == "valid" or (mode == "explicit" and pads is not None):
        before, after = pads if pads is not None and mode == "explicit" else (0, 0)
        outputs = _placed(size + before + after - reach - 1, stride, ceil_mode)
        dropped = ceil_mode and (outputs - 1) * stride >= size + before
        outputs, start = outputs - dropped, -before
    else:
        raise ValueError(f"the oracle has no padding '{mode}' with pads {pads}")
    return AxisWindows(outputs, start, kernel, stride, dilation)


def _placed(slack: int, stride: int, ceil_mode: bool) -> int:
    """Return how many windows a padded axis takes.

    Parameters
    ----------
    slack : int
        How far the first window can be moved and still fit; negative if it does not fit.
    stride : int
        How far apart windows are.
    ceil_mode : bool
        Whether a further window counts that does not fit.
    """
    moves = slack + stride - 1 if ceil_mode else slack
    return moves // stride + 1 if moves >= 0 else 0


def each_tap(axes: Sequence[AxisWindows]) -> Iterator[Reads]:
    """Yield what each tap of a window reads along each axis, the last axis fastest."""
    yield from itertools.product(*([axis.reads(j) for j in range(axis.kernel)] for axis in axes))


def gather(x: Float64s, reads: Reads, pad_value: float) -> Float64s:
    """Read one tap of every window.

    Parameters
    ----------
    x : ndarray of float64
        Input of shape ``(N, C, *spatial)``, no spatial axis empty.
    reads : tuple of ndarray
        Per spatial axis the index to read in each window.
    pad_value : float
        What an index outside the input reads.

    Returns
    -------
    ndarray of float64
        Shape ``(N, C, *outputs)``.
    """
    values, inside = x, np.ones((), dtype=bool)
    for axis, index in enumerate(reads, start=2):
        size = x.shape[axis]
        values = np.take(values, np.clip(index, 0, size - 1), axis=axis)
        inside = inside[..., np.newaxis] & (index >= 0) & (index < size)
    return values if inside.all() else np.where(inside, values, pad_value)
