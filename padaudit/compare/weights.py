"""How the weights of two operators differ, in words."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.compare.unit import Unit

_ROUNDED: Final = 1e-5
_HALF: Final = 1e-3
"""Which part of a row's largest weight may be rounded away, in general and in half precision."""
_TINY: Final = 1e-300


def weight_difference(ours: Unit, theirs: Unit) -> str | None:
    """Return how the weights of an operator and its port differ; empty if they do not.

    Factors per channel are no difference: batch normalisation may be folded into a port. One
    factor for all channels is.

    Returns
    -------
    str or None
        One clause; None if the weights of either are not known.
    """
    a, b = _stored(ours), _stored(theirs)
    if a is None or b is None:
        return None
    if a.shape != b.shape:
        return "its weights are of another shape"
    rounded = _HALF if _in_half(a) or _in_half(b) else _ROUNDED
    factors = (a * b).sum(axis=1) / np.maximum((a * a).sum(axis=1), _TINY)
    apart = np.abs(b - factors[:, np.newaxis] * a)
    unlike = (apart > rounded * np.abs(b).max(axis=1, keepdims=True)).any(axis=1)
    if not unlike.any():
        return _scaled(factors[a.any(axis=1)], rounded)
    if np.allclose(factors[~unlike], 1.0, rtol=rounded, atol=0.0):
        apart = np.abs(b - a)
    largest = np.where(unlike, apart.max(axis=1), -1.0)
    channel = int(largest.argmax())
    count = f"{np.count_nonzero(unlike)} of {len(unlike)} channels"
    return f"its weights differ in {count}, most in channel {channel} (by {largest[channel]:.3g})"


def _scaled(factors: NDArray[Any], rounded: float) -> str:
    """Return by which factor all weights differ; empty if by none, or by one per channel."""
    factor = float(factors.mean()) if len(factors) else 1.0
    if np.abs(factors - factor).max(initial=0.0) > rounded * abs(factor):
        return ""
    return (
        "" if abs(factor - 1) <= rounded else f"its weights are the original's times {factor:.6g}"
    )


def _stored(unit: Unit) -> NDArray[Any] | None:
    """Return weights as the file has them, one row per output channel."""
    if unit.kernel is None or unit.lengths is None:
        return None
    return np.asarray(unit.kernel * unit.lengths[:, np.newaxis])


def _in_half(values: NDArray[Any]) -> bool:
    """Tell whether weights are stored in half precision, or were."""
    with np.errstate(over="ignore"):
        return bool(np.allclose(values, values.astype(np.float16), rtol=1e-9, atol=0.0))
