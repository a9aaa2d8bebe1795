"""Where a runtime is known not to compute what an operator means, and can't be the judge.

Measured with onnxruntime 1.32 and TensorFlow 2.21 (CPU).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from padaudit.ir.dims import Dim
from padaudit.ir.site import Family, Padding, PaddingSite, Window
from padaudit.padding.amounts import (
    ceil_outputs,
    effective_kernel,
    same_overhang,
    window_output,
)

_AUTO_PADDED: Final = frozenset({Padding.SAME_UPPER, Padding.SAME_LOWER})
_POOLS: Final = frozenset({Family.MAX_POOL, Family.AVG_POOL, Family.LP_POOL})
_CONVOLUTIONS: Final = frozenset({Family.CONV, Family.TRANSPOSED_CONV})
_MISPLACED_FROM: Final = -3
_VOLUME: Final = 3
_LATE_FROM: Final = -2


def onnxruntime_errs(site: PaddingSite) -> str | None:
    """Return why onnxruntime's result for an implicitly padded site can't be relied on.

    ``auto_pad`` SAME: a convolution whose windows fall 3 or more elements short of the
    input starts the first one too late, and a pool already from 1 on; a dilated pool
    ignores its dilation, and may kill the process; a transposed convolution whose full
    output is shorter than n * stride is not extended.

    Returns
    -------
    str or None
        One clause; None where onnxruntime is right (or refuses the model by itself).
    """
    window = site.window
    if window is None or site.padding not in _AUTO_PADDED:
        return None
    if site.family is Family.TRANSPOSED_CONV:
        short = not site.derived and any(site.appended)
        return f"onnxruntime does not extend the output of '{site.id}'" if short else None
    if site.family in _POOLS and max(window.dilations) > 1:
        return f"onnxruntime ignores the dilation of '{site.id}'"
    limit = -1 if site.family in _POOLS else _MISPLACED_FROM
    if any(overhang <= limit for overhang in _overhangs(site, window)):
        return f"onnxruntime misplaces the windows of '{site.id}' (kernel smaller than its stride)"
    return None


def refused_by_onnxruntime(site: PaddingSite) -> str | None:
    """Return why onnxruntime refuses an implicitly padded convolution, one clause, or None.

    ``auto_pad`` with a dilation, and ``auto_pad`` beside ``pads``, whatever these say.
    """
    window = site.window
    if window is None or site.padding not in _AUTO_PADDED or site.framework != "onnx":
        return None
    if max(window.dilations) > 1 and site.family is Family.CONV:
        return f"onnxruntime refuses auto_pad with the dilation of '{site.id}'"
    if site.family in _CONVOLUTIONS and "pads" in site.op.attributes:
        return f"onnxruntime refuses auto_pad together with the pads of '{site.id}'"
    return None


def read_in_two_ways(site: PaddingSite) -> str | None:
    """Return where onnxruntime follows one of two readings of ONNX, one clause, or None.

    ``ceil_mode`` beside ``auto_pad`` VALID: onnxruntime and onnx's shape inference fit one more
    window than the operators' text has, ``ceil((n - ke + 1) / stride)``, where onnx's reference
    implementation follows the text.
    """
    window = site.window
    if window is None or site.family not in _POOLS or not site.op.attributes.get("ceil_mode"):
        return None
    if site.op.attributes.get("auto_pad") != "VALID":
        return None
    axes = zip(site.input_size, window.kernel_shape, window.strides, window.dilations, strict=True)
    if not any(_fits_one_more(*axis) for axis in axes):
        return None
    return (
        f"'{site.id}' has ceil_mode beside auto_pad VALID, where onnxruntime, which was followed, "
        "fits one more window than the text of ONNX"
    )


def _fits_one_more(size: Dim, kernel: int, stride: int, dilation: int) -> bool:
    if not isinstance(size, int):
        return stride > 1
    text = window_output(size, kernel, stride, dilation, (0, 0))
    return max(ceil_outputs(size, kernel, stride, dilation, (0, 0))) > text


def tensorflow_starts_late(site: PaddingSite) -> bool:
    """Tell whether TensorFlow on a CPU starts the windows of a Keras layer after the first element.

    3-D convolutions and pools that fall 2 or more elements short of the input on an axis
    begin half of that too late.
    """
    window = site.window
    if window is None or window.rank != _VOLUME or site.padding is not Padding.SAME_UPPER:
        return False
    if site.family is Family.TRANSPOSED_CONV:
        return False
    return any(overhang <= _LATE_FROM for overhang in _overhangs(site, window))


def _overhangs(site: PaddingSite, window: Window) -> Iterator[int]:
    axes = zip(site.input_size, window.kernel_shape, window.strides, window.dilations, strict=True)
    for size, kernel, stride, dilation in axes:
        yield _overhang(size, kernel, stride, dilation)


def _overhang(size: Dim, kernel: int, stride: int, dilation: int) -> int:
    """Return how far windows reach over an input; for an open size, over the worst one."""
    if isinstance(size, int):
        return same_overhang(size, kernel, stride, dilation)
    return effective_kernel(kernel, dilation) - stride
