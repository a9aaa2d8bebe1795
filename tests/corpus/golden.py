"""What ONNX's padded operators mean, written with indices: no padding, no formula of amounts.

Every window lists the positions that it reads; positions outside of the input are masked. All
arithmetic is float64 or int64, so that integer-valued data gives exact results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Ints = Sequence[int]


@dataclass(frozen=True)
class Axis:
    """The windows of one spatial axis: ``outputs`` of them, the first starting at ``first``."""

    kernel: int
    stride: int
    dilation: int
    first: int
    outputs: int


def same_axis(size: int, kernel: int, stride: int, dilation: int, lower: bool) -> Axis:
    """Count: one window per started stride; elements are added until the last window fits."""
    outputs = len(range(0, size, stride))
    last_read = (outputs - 1) * stride + (kernel - 1) * dilation
    before = after = 0
    while last_read > before + size + after - 1:
        at_start = lower if before == after else not lower
        before, after = before + at_start, after + (not at_start)
    return Axis(kernel, stride, dilation, -before, outputs)


def same_amounts(
    sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints, lower: bool
) -> tuple[tuple[int, int], ...]:
    """Return (before, after) per axis: what the windows read outside, or nothing."""
    found = []
    for size, *window in zip(sizes, kernel, strides, dilations, strict=True):
        axis = same_axis(size, *window, lower)
        last = axis.first + (axis.outputs - 1) * axis.stride + (axis.kernel - 1) * axis.dilation
        found.append((-axis.first, max(last - size + 1, 0)))
    return tuple(found)


def explicit_axis(size: int, kernel: int, stride: int, dilation: int, pads: Ints) -> Axis:
    """Windows of explicit amounts: as many as fit whole."""
    extent = (kernel - 1) * dilation + 1
    outputs = len(range(0, size + sum(pads) - extent + 1, stride))
    return Axis(kernel, stride, dilation, -pads[0], outputs)


def windows(data: Array, axes: Sequence[Axis], fill: Any = 0) -> tuple[Array, Array]:
    """Gather windows of ``(n, c, *sizes)``.

    Returns the elements, shape ``(n, c, *outputs, *kernel)``, and which of them are real, shape
    ``(*outputs, *kernel)``.
    """
    rank = len(axes)
    inside = np.ones((), bool)
    for place in reversed(range(rank)):
        axis, dim = axes[place], place + 2
        starts = axis.first + axis.stride * np.arange(axis.outputs)
        reads = starts[:, None] + axis.dilation * np.arange(axis.kernel)[None, :]
        real = (reads >= 0) & (reads < data.shape[dim])
        data = np.take(data, np.where(real, reads, 0), axis=dim)
        shape = [1] * data.ndim
        shape[dim : dim + 2] = real.shape
        data = np.where(real.reshape(shape), data, fill)
        inside = real.reshape(real.shape + (1,) * inside.ndim) & inside[None, None]
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    return data.transpose(0, 1, *(dim + 2 for dim in order)), inside.transpose(order)


def axes_of(
    data: Array,
    kernel: Ints,
    strides: Ints | None,
    dilations: Ints | None,
    mode: str | Ints,
) -> list[Axis]:
    """Return the windows of all axes; ``mode`` is an auto_pad or explicit ``pads``."""
    rank = len(kernel)
    window = [kernel, strides or [1] * rank, dilations or [1] * rank]
    sizes = data.shape[2:]
    if isinstance(mode, str) and mode.startswith("SAME"):
        lower = mode == "SAME_LOWER"
        return [same_axis(*axis, lower) for axis in zip(sizes, *window, strict=True)]
    pads = [0] * (2 * rank) if isinstance(mode, str) else list(mode)
    pairs = zip(pads[:rank], pads[rank:], strict=True)
    return [explicit_axis(*axis) for axis in zip(sizes, *window, pairs, strict=True)]


def conv(
    data: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    group: int = 1,
    mode: str | Ints = "SAME_UPPER",
) -> Array:
    """Convolve; the result is int64 for integers, else float64."""
    kind = np.int64 if data.dtype.kind in "iu" else np.float64
    axes = axes_of(data, kernel.shape[2:], strides, dilations, mode)
    gathered, _ = windows(data.astype(kind), axes)
    rank = len(axes)
    reads, filters = gathered.shape[1] // group, kernel.shape[0] // group
    parts = []
    for index in range(group):
        part = gathered[:, index * reads : (index + 1) * reads]
        own = kernel[index * filters : (index + 1) * filters].astype(kind)
        summed = [1, *range(rank + 2, 2 * rank + 2)]
        result = np.tensordot(part, own, (summed, [1, *range(2, rank + 2)]))
        parts.append(np.moveaxis(result, -1, 1))
    out = np.concatenate(parts, axis=1)
    return out if bias is None else out + bias.astype(kind).reshape(-1, *[1] * rank)


def transposed_axis(
    size: int, kernel: int, stride: int, dilation: int, extra: int, lower: bool, out: int
) -> tuple[int, int]:
    """Return (what is cropped at the start, the output size); shortfalls are appended."""
    surplus = (size - 1) * stride + (kernel - 1) * dilation + 1 + extra - out
    first = (surplus + 1) // 2 if lower else surplus // 2
    return max(first, 0), out


def conv_transpose(
    data: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    group: int = 1,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    mode: str | Ints = "SAME_UPPER",
) -> Array:
    """Scatter every input element times the kernel; ``output_shape`` is spatial only."""
    rank = kernel.ndim - 2
    stride, dilation = strides or [1] * rank, dilations or [1] * rank
    extra = output_padding or [0] * rank
    sizes = data.shape[2:]
    settled = []
    for i, (n, k) in enumerate(zip(sizes, kernel.shape[2:], strict=True)):
        full = (n - 1) * stride[i] + (k - 1) * dilation[i] + 1 + extra[i]
        if not isinstance(mode, str):
            settled.append((mode[i], full - mode[i] - mode[i + rank]))
            continue
        out = output_shape[i] if output_shape else n * stride[i] if "SAME" in mode else full
        window = (n, k, stride[i], dilation[i], extra[i])
        settled.append(transposed_axis(*window, mode != "SAME_UPPER", out))
    filters = kernel.shape[1]
    result = np.zeros((data.shape[0], filters * group, *(out for _, out in settled)))
    reads = data.shape[1] // group
    for spot in np.ndindex(*sizes, *kernel.shape[2:]):
        here, tap = spot[:rank], spot[rank:]
        target = [here[i] * stride[i] + tap[i] * dilation[i] - settled[i][0] for i in range(rank)]
        if any(not 0 <= target[i] < settled[i][1] for i in range(rank)):
            continue
        for index in range(group):
            channels = slice(index * reads, (index + 1) * reads)
            values = data[(slice(None), channels, *here)].astype(np.float64)
            taps = kernel[(channels, slice(None), *tap)].astype(np.float64)
            goal = slice(index * filters, (index + 1) * filters)
            result[(slice(None), goal, *target)] += values @ taps
    return result if bias is None else result + bias.reshape(-1, *[1] * rank)


def _least(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _flat(gathered: Array, rank: int) -> Array:
    return gathered.reshape(*gathered.shape[: gathered.ndim - rank], -1)


def max_pool(
    data: Array,
    kernel: Ints,
    *,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    mode: str | Ints = "SAME_UPPER",
    storage_order: int = 0,
) -> tuple[Array, Array]:
    """Return the maxima and their Indices into the whole tensor."""
    axes = axes_of(data, kernel, strides, dilations, mode)
    gathered, _ = windows(data, axes, _least(data.dtype))
    flat = _flat(gathered, len(axes))
    best = flat.argmax(-1)[..., None]
    per_channel = int(np.prod(data.shape[2:]))
    places = np.arange(per_channel).reshape(data.shape[2:], order="CF"[storage_order])
    leads = np.arange(data.shape[0] * data.shape[1]).reshape(*data.shape[:2], *[1] * len(axes))
    numbers, _ = windows(leads * per_channel + places, axes, -1)
    maxima = np.take_along_axis(flat, best, -1)[..., 0].astype(data.dtype)
    return maxima, np.take_along_axis(_flat(numbers, len(axes)), best, -1)[..., 0]


def average_pool(
    data: Array,
    kernel: Ints,
    *,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    mode: str | Ints = "SAME_UPPER",
    count_include_pad: int = 0,
) -> Array:
    """Average over the real elements, or over whole windows."""
    axes = axes_of(data, kernel, strides, dilations, mode)
    gathered, inside = windows(data.astype(np.float64), axes)
    counted = np.ones_like(inside) if count_include_pad else inside
    return _flat(gathered, len(axes)).sum(-1) / _flat(counted, len(axes)).sum(-1)


def lp_pool(
    data: Array,
    kernel: Ints,
    *,
    p: int = 2,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    mode: str | Ints = "SAME_UPPER",
) -> Array:
    """Return the p-norm of every window."""
    axes = axes_of(data, kernel, strides, dilations, mode)
    gathered, _ = windows(np.abs(data.astype(np.float64)), axes)
    return (_flat(gathered, len(axes)) ** p).sum(-1) ** (1 / p)


def quantize(values: Array, scale: float, zero: int, dtype: Any) -> Array:
    """Round half to even, add the zero point, saturate."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(dtype)


def dequantize(data: Array, scale: float | Array, zero: int | Array) -> Array:
    """Return real values, float64."""
    return (data.astype(np.int64) - zero) * np.asarray(scale, np.float64)


def qlinear_conv(
    data: Array,
    kernel: Array,
    x: tuple[float, int],
    w: tuple[Array, Array],
    y: tuple[float, int],
    bias: Array | None = None,
    **how: Any,
) -> Array:
    """Convolve quantised data; ``x``, ``w``, ``y`` are (scale, zero point), ``w`` per filter."""
    shape = (-1, *[1] * (kernel.ndim - 1))
    real = kernel.astype(np.int64) - np.asarray(w[1], np.int64).reshape(shape)
    sums = conv(data.astype(np.int64) - x[1], real, bias, **how)
    scale = x[0] * np.asarray(w[0], np.float64).reshape(-1, *[1] * (kernel.ndim - 2))
    return quantize(sums * scale, y[0], y[1], data.dtype)
