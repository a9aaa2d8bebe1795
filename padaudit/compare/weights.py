"""How the weights of two operators differ, in words."""

from __future__ import annotations

from typing import Final

import numpy as np

from padaudit.compare.unit import Unit

_ROUNDED: Final = 1e-3
"""Which part of a row's largest weight half precision may round away."""


def weight_difference(ours: Unit, theirs: Unit) -> str | None:
    """Return how the weights of an operator and its port differ; empty if they do not.

    Factors per channel are no difference: batch normalisation may be folded into a port. One
    factor for all channels is.

    Returns
    -------
    str or None
        One clause; None if the weights of either are not known.
    """
    if ours.kernel is None or theirs.kernel is None:
        return None
    if ours.lengths is None or theirs.lengths is None:
        return None
    if ours.kernel.shape != theirs.kernel.shape:
        return "its weights are of another shape"
    signs = np.where((ours.kernel * theirs.kernel).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    apart = np.abs(ours.kernel - signs * theirs.kernel)
    largest = np.abs(ours.kernel).max(axis=1, keepdims=True)
    unlike = (apart > _ROUNDED * largest).any(axis=1)
    if unlike.any():
        found = (apart * ours.lengths[:, np.newaxis]).max(axis=1)
        channel = int(np.where(unlike, found, -1.0).argmax())
        count = f"{np.count_nonzero(unlike)} of {len(unlike)} channels"
        return f"its weights differ in {count}, most in channel {channel} (by {found[channel]:.3g})"
    factors = signs[:, 0] * theirs.lengths / ours.lengths
    factor = float(factors.mean())
    if np.ptp(factors) > _ROUNDED * abs(factor) or abs(factor - 1) <= _ROUNDED:
        return ""
    return f"its weights are the original's times {factor:.4g}"
