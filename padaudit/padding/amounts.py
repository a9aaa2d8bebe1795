"""The padding formulas: pure functions of one spatial axis.

Notation: ``size`` input size n, ``kernel`` k, ``stride`` s, ``dilation`` d,
``ke = (k - 1) * d + 1`` the effective kernel, all in elements. A pair is always
``(before, after)``.

References
----------
ONNX ``Conv``: https://onnx.ai/onnx/operators/onnx__Conv.html
TensorFlow "SAME": https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

AxisPads = tuple[int, int]
Formula = Callable[[int, int, int, int], AxisPads]


def effective_kernel(kernel: int, dilation: int) -> int:
    """Return the extent of a dilated kernel, ``(kernel - 1) * dilation + 1``.

    >>> effective_kernel(3, 2)
    5
    """
    return (kernel - 1) * dilation + 1


def same_output(size: int, stride: int) -> int:
    """Return the output size of "same" padding, ``ceil(size / stride)``.

    >>> same_output(225, 2), same_output(224, 2)
    (113, 112)
    """
    return (size + stride - 1) // stride


def same_total(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return how many elements "same" padding adds along one axis.

    ``max((ceil(n / s) - 1) * s + ke - n, 0)``. For every n >= 1 this depends on n only
    through ``n % s``, and not at all for ``s == 1``.

    >>> same_total(224, 3, 2, 1), same_total(225, 3, 2, 1), same_total(8, 1, 4, 1)
    (1, 2, 0)
    """
    return max(same_overhang(size, kernel, stride, dilation), 0)


def same_overhang(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return how far the windows of "same" reach over the input; negative if they fall short.

    >>> same_overhang(224, 3, 2, 1), same_overhang(8, 1, 4, 1)
    (1, -3)
    """
    covered = (same_output(size, stride) - 1) * stride + effective_kernel(kernel, dilation)
    return covered - size


def same_upper(size: int, kernel: int, stride: int, dilation: int) -> AxisPads:
    """Return the amounts of ONNX SAME_UPPER, which are those of Keras/TensorFlow "same".

    The odd element goes after.

    >>> same_upper(224, 3, 2, 1), same_upper(17, 4, 1, 1)
    ((0, 1), (1, 2))
    """
    total = same_total(size, kernel, stride, dilation)
    return total // 2, total - total // 2


def same_lower(size: int, kernel: int, stride: int, dilation: int) -> AxisPads:
    """Return the amounts of ONNX SAME_LOWER: the odd element goes before.

    >>> same_lower(224, 3, 2, 1)
    (1, 0)
    """
    before, after = same_upper(size, kernel, stride, dilation)
    return after, before


def causal(size: int, kernel: int, stride: int, dilation: int) -> AxisPads:
    """Return the amounts of Keras "causal" (Conv1D): no output sees a later input.

    >>> causal(100, 3, 1, 4)
    (8, 0)
    """
    return (kernel - 1) * dilation, 0


def valid(size: int, kernel: int, stride: int, dilation: int) -> AxisPads:
    """Return ``(0, 0)``: no padding.

    >>> valid(10, 3, 2, 1)
    (0, 0)
    """
    return 0, 0


def window_output(size: int, kernel: int, stride: int, dilation: int, pads: AxisPads) -> int:
    """Return how many windows fit a padded axis (0 when the kernel is larger than it).

    >>> window_output(224, 3, 2, 1, (0, 1))
    112
    """
    room = size + sum(pads) - effective_kernel(kernel, dilation)
    return room // stride + 1 if room >= 0 else 0


def ceil_outputs(
    size: int, kernel: int, stride: int, dilation: int, pads: AxisPads
) -> tuple[int, int]:
    """Return how many windows ``ceil_mode`` fits on a padded axis, as it is read in two ways.

    The first counts every window that begins before the padding ends; the second leaves out
    one that would begin behind the input.

    Source: the ``ceil_mode`` of https://onnx.ai/onnx/operators/onnx__MaxPool.html.

    >>> ceil_outputs(5, 2, 2, 1, (0, 0)), ceil_outputs(6, 1, 2, 1, (0, 0))
    ((3, 3), (4, 3))
    """
    room = size + sum(pads) - effective_kernel(kernel, dilation)
    count = max(-(-room // stride) + 1, 0)
    beyond = count > 0 and (count - 1) * stride >= size + pads[0]
    return count, count - beyond


def transposed_full(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return the uncropped output size of a transposed convolution, ``(n - 1) * s + ke``.

    >>> transposed_full(5, 3, 2, 1)
    11
    """
    return (size - 1) * stride + effective_kernel(kernel, dilation)


def transposed_crop(full: int, output: int, odd_first: bool = False) -> tuple[AxisPads, int]:
    """Return what a transposed convolution crops from its full output, and what it appends.

    Parameters
    ----------
    full : int
        Size before cropping, see `transposed_full`.
    output : int
        Size wanted.
    odd_first : bool
        Where an odd element is cropped: at the start (ONNX with ``output_shape`` and
        no SAME_UPPER, and SAME_LOWER) or at the end (Keras, SAME_UPPER).

    Returns
    -------
    tuple of AxisPads and int
        ``(before, after)`` cropped, and the output_padding that is appended where the
        full output is too short (crops are never negative).

    >>> transposed_crop(11, 10), transposed_crop(11, 10, odd_first=True)
    (((0, 1), 0), ((1, 0), 0))
    >>> transposed_crop(9, 10)
    ((0, 0), 1)
    """
    total = full - output
    if total < 0:
        return (0, 0), -total
    small, large = total // 2, total - total // 2
    return ((large, small) if odd_first else (small, large)), 0


def keras_transposed_output(
    size: int, kernel: int, stride: int, dilation: int, same: bool, output_padding: int | None
) -> int:
    """Return the output size of a Keras transposed convolution along one axis.

    Source: ``keras.src.backend.common.backend_utils.compute_conv_transpose_output_shape``.

    >>> keras_transposed_output(5, 3, 2, 1, True, None)
    10
    >>> keras_transposed_output(5, 3, 2, 1, True, 1)
    10
    >>> keras_transposed_output(5, 2, 3, 1, False, None)
    15
    """
    extent = effective_kernel(kernel, dilation)
    if same:
        if output_padding is None:
            return size * stride
        return (size - 1) * stride + extent % 2 + output_padding
    if output_padding is None:
        return (size - 1) * stride + extent + max(stride - extent, 0)
    return (size - 1) * stride + extent + output_padding


def keras_valid_crop(
    kernel: int, stride: int, dilation: int, output_padding: int | None
) -> AxisPads:
    """Return what is to be cropped behind "valid" to give the "same" of a Keras transposed layer.

    The two outputs grow alike with the input, so that this is the same for every size; it is
    never negative. "valid" without output_padding fills up to the stride at the end, and with
    it appends as much as "same" does.

    >>> keras_valid_crop(5, 2, 1, None), keras_valid_crop(2, 3, 1, None)
    ((1, 2), (0, 0))
    >>> keras_valid_crop(3, 2, 1, 1), keras_valid_crop(4, 2, 1, 1)
    ((0, 2), (1, 3))
    """
    window = (1, kernel, stride, dilation)
    wanted = keras_transposed_output(*window, True, output_padding)
    total = keras_transposed_output(*window, False, output_padding) - wanted
    (before, _), _ = transposed_crop(transposed_full(*window), wanted)
    return before, total - before


def sees_only_padding(size: int, kernel: int, stride: int, dilation: int, pads: AxisPads) -> bool:
    """Tell whether some window of a padded axis reads no input element at all.

    >>> sees_only_padding(1, 2, 1, 4, (2, 2)), sees_only_padding(5, 3, 2, 1, (1, 1))
    (True, False)
    """
    count = window_output(size, kernel, stride, dilation, pads)
    reach = (kernel - 1) * dilation
    first_after = max((size - reach + pads[0]) // stride, 0)
    at_start = range(min(count, pads[0] // stride + 1, _BORDER_WINDOWS))
    at_end = range(max(first_after, count - _BORDER_WINDOWS), count)
    return any(
        _reads_nothing(index * stride - pads[0], size, kernel, dilation)
        for index in (*at_start, *at_end)
    )


def _reads_nothing(first: int, size: int, kernel: int, dilation: int) -> bool:
    tap = max(-(first // dilation), 0)
    return tap >= kernel or first + tap * dilation >= size


_BORDER_WINDOWS: Final = 4096
"""How many windows at each border are looked at; real models have a handful."""


FORMULAS: Final[dict[str, Formula]] = {
    "valid": valid,
    "same_upper": same_upper,
    "same_lower": same_lower,
    "causal": causal,
}
"""Formula by the name that the tables in ``rules/ops`` use."""
