"""What Keras itself says of a model's padded layers: the judge of the e2e tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Truth(NamedTuple):
    """One padded layer as Keras has it (sizes and (before, after) pairs per axis)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    input_size: tuple[int | None, ...]
    output_size: tuple[int | None, ...]
    same: bool
    pads: tuple[tuple[int, int], ...] | None


def padded_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Truth]]:
    """Yield the id and the truth of every layer with a window, inner models included."""
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from padded_layers(layer, f"{prefix}{layer.name}/")
            continue
        kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        if kernel is None or not hasattr(layer, "padding"):
            continue
        yield f"{prefix}{layer.name}", _truth(layer, tuple(kernel))


def _truth(layer: Any, kernel: tuple[int, ...]) -> Truth:
    rank = len(kernel)
    sizes = _spatial(layer, layer.input.shape, rank)
    outputs = _spatial(layer, layer.output.shape, rank)
    strides = tuple(layer.strides)
    dilations = tuple(getattr(layer, "dilation_rate", (1,) * rank))
    same = layer.padding == "same"
    window = zip(sizes, kernel, strides, dilations, outputs, strict=True)
    pads = [_pads(*axis) if same else (0, 0) for axis in window]
    known = None if None in pads else tuple(pair for pair in pads if pair)
    return Truth(kernel, strides, dilations, sizes, outputs, same, known)


def _pads(
    size: int | None, kernel: int, stride: int, dilation: int, output: int | None
) -> tuple[int, int] | None:
    """Count, from Keras's own output size, what must be added for the last window to fit."""
    if stride == 1:
        size = output = size or 64
    if size is None or output is None:
        return None
    reach = (output - 1) * stride + (kernel - 1) * dilation + 1
    missing = reach - size if reach > size else 0
    return missing // 2, missing - missing // 2


def _spatial(layer: Any, shape: Any, rank: int) -> tuple[int | None, ...]:
    first = layer.data_format == "channels_first"
    return tuple(shape[2:] if first else shape[1 : 1 + rank])
