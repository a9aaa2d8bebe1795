"""Where onnxruntime is known not to compute what an operator means, and can't be the judge."""

from __future__ import annotations

from typing import Final

from padaudit.ir.dims import Dim
from padaudit.ir.site import Padding, PaddingSite
from padaudit.padding.amounts import effective_kernel, same_overhang

_AUTO_PADDED: Final = frozenset({Padding.SAME_UPPER, Padding.SAME_LOWER})
_MISPLACED_FROM: Final = -3


def onnxruntime_errs(site: PaddingSite) -> str | None:
    """Return why onnxruntime's result for an implicitly padded site can't be relied on.

    Measured with onnxruntime 1.32 (CPU): ``auto_pad`` where the windows fall 3 or more
    elements short of the input starts the first window too late.

    Returns
    -------
    str or None
        One clause; None where onnxruntime is right (or refuses the model by itself).
    """
    window = site.window
    if window is None or site.padding not in _AUTO_PADDED:
        return None
    axes = zip(site.input_size, window.kernel_shape, window.strides, window.dilations, strict=True)
    if any(_overhang(*axis) <= _MISPLACED_FROM for axis in axes):
        return f"onnxruntime misplaces the windows of '{site.id}' (kernel smaller than its stride)"
    return None


def refused_by_onnxruntime(site: PaddingSite) -> bool:
    """Tell whether onnxruntime refuses to run a site: ``auto_pad`` with a dilation."""
    window = site.window
    return window is not None and site.padding in _AUTO_PADDED and max(window.dilations) > 1


def _overhang(size: Dim, kernel: int, stride: int, dilation: int) -> int:
    if isinstance(size, int):
        return same_overhang(size, kernel, stride, dilation)
    return effective_kernel(kernel, dilation) - stride
