"""Keras layers to run on every backend, with inputs and weights, and what they must give.

Inputs and weights are small whole numbers, so every sum is exact. The truth comes from the
numpy reference of `padaudit.verification.oracle`, which shares nothing with Keras.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from padaudit.verification import oracle

Array = NDArray[Any]
CHANNELS, FILTERS, STEPS = 2, 4, 2
COUNTS = {
    "Conv1D": 60,
    "Conv2D": 140,
    "Conv3D": 60,
    "DepthwiseConv1D": 40,
    "DepthwiseConv2D": 60,
    "SeparableConv1D": 40,
    "SeparableConv2D": 60,
    "Conv1DTranspose": 80,
    "Conv2DTranspose": 160,
    "Conv3DTranspose": 60,
    "MaxPooling1D": 50,
    "MaxPooling2D": 100,
    "MaxPooling3D": 50,
    "AveragePooling1D": 60,
    "AveragePooling2D": 140,
    "AveragePooling3D": 60,
    "ConvLSTM1D": 16,
    "ConvLSTM2D": 24,
    "ConvLSTM3D": 10,
}
"""How many configurations of each layer are drawn."""
CAUSAL = 30


@dataclass(frozen=True)
class Case:
    """A layer, its input without the batch axis, channels last, and its weights."""

    layer: str
    config: dict[str, Any]
    x: Array
    weights: list[Array] = field(default_factory=list)

    @property
    def rank(self) -> int:
        return rank_of(self.layer)

    @property
    def channels_first(self) -> bool:
        return self.config.get("data_format") == "channels_first"

    def given(self) -> Array:
        """Return the input as the layer wants it, with a batch axis."""
        return laid_out(self, self.x[np.newaxis])


def rank_of(layer: str) -> int:
    """Return how many spatial axes a layer has.

    >>> rank_of("DepthwiseConv2D")
    2
    """
    return next(int(char) for char in layer if char.isdigit())


def cases(seed: int = 0) -> list[Case]:
    """Draw the configurations; the same ones for the same seed."""
    rng = random.Random(seed)
    drawn = [_draw(rng, layer) for layer, count in COUNTS.items() for _ in range(count)]
    return drawn + [_draw(rng, "Conv1D", padding="causal") for _ in range(CAUSAL)]


def laid_out(case: Case, values: Array) -> Array:
    """Move the channels of a batch, which stand last, to where the layer has them."""
    return np.moveaxis(values, -1, -case.rank - 1) if case.channels_first else values


def truth(case: Case) -> Array:
    """Return what a case must give, in the layer's own layout, float32."""
    values = _truth_of(case.layer)(case)
    return laid_out(case, np.moveaxis(values, 1, -1)).astype(np.float32)


def _draw(rng: random.Random, layer: str, padding: str = "same") -> Case:
    rank = rank_of(layer)
    recurrent = "LSTM" in layer
    kernel = [rng.randint(1, 3 if recurrent else 5) for _ in range(rank)]
    sizes = [rng.randint(5, 12) for _ in range(rank)]
    config: dict[str, Any] = {"padding": padding} | _windows(rng, layer, kernel)
    if rng.random() < 0.15:
        config["data_format"] = "channels_first"
    numbers = np.random.default_rng(rng.randrange(2**32))
    shape = (*((STEPS,) if recurrent else ()), *sizes, CHANNELS)
    limits = (1, 1) if recurrent else (4, 3)
    x, *weights = (
        numbers.integers(-limit, limit, size, endpoint=True).astype(np.float32)
        for limit, size in [
            (limits[0], shape),
            *((limits[1], size) for size in _weight_shapes(layer, config, kernel)),
        ]
    )
    if "Pooling" in layer:
        # Alike elements would hide which one a maximum is of.
        x = numbers.permutation(x.size).reshape(x.shape).astype(np.float32)
    if weights and "data_format" in config:
        # Keras on TensorFlow adds the bias along the last axis if that is as long: no padding.
        weights[-1][:] = 0
    return Case(layer, config, x, weights)


def _windows(rng: random.Random, layer: str, kernel: list[int]) -> dict[str, Any]:
    rank, pool = len(kernel), "Pooling" in layer
    strides, dilations = _steps(rng, rank, 5), [1] * rank
    equal_only = layer in {"DepthwiseConv2D", "SeparableConv2D"}
    if equal_only:
        strides = [strides[0]] * rank
    if not pool and rng.random() < 0.25:
        strides, dilations = [1] * rank, _steps(rng, rank, 3)
    if pool:
        return {"pool_size": kernel, "strides": strides}
    config = {"kernel_size": kernel, "strides": strides, "dilation_rate": dilations}
    if "Depthwise" not in layer:
        config["filters"] = FILTERS
    if layer in {"Conv1D", "Conv2D", "Conv3D"} and rng.random() < 0.25:
        config["groups"] = CHANNELS
    if "Transpose" in layer and rng.random() < 0.6:
        config["output_padding"] = [rng.randrange(stride) for stride in strides]
    if "LSTM" in layer:
        linear = {"activation": "linear", "recurrent_activation": "linear"}
        config |= linear | {"return_sequences": True}
    return config


def _steps(rng: random.Random, rank: int, most: int) -> list[int]:
    """Draw strides or dilations: often alike on all axes, often 1."""
    if rng.random() < 0.3:
        return [rng.randint(1, most)] * rank
    return [rng.randint(1, most) for _ in range(rank)]


def _weight_shapes(layer: str, config: dict[str, Any], kernel: list[int]) -> list[tuple[int, ...]]:
    ones = (1,) * len(kernel)
    if "Pooling" in layer:
        return []
    if "Depthwise" in layer:
        return [(*kernel, CHANNELS, 1), (CHANNELS,)]
    if "Separable" in layer:
        return [(*kernel, CHANNELS, 1), (*ones, CHANNELS, FILTERS), (FILTERS,)]
    if "Transpose" in layer:
        return [(*kernel, FILTERS, CHANNELS), (FILTERS,)]
    if "LSTM" in layer:
        gates = 4 * FILTERS
        return [(*kernel, CHANNELS, gates), (*kernel, FILTERS, gates), (gates,)]
    return [(*kernel, CHANNELS // config.get("groups", 1), FILTERS), (FILTERS,)]


def _truth_of(layer: str) -> Callable[[Case], Array]:
    kinds: dict[str, Callable[[Case], Array]] = {
        "Max": _max_pool,
        "Average": _average_pool,
        "Depthwise": _depthwise,
        "Separable": _separable,
        "Transpose": _transposed,
        "LSTM": _conv_lstm,
        "Conv": _conv,
    }
    return next(function for name, function in kinds.items() if name in layer)


def _mode(case: Case) -> str:
    return {"same": "same_upper"}.get(case.config["padding"], case.config["padding"])


def _first(values: Array) -> Array:
    """Return channels-last data as a batch with the channels first."""
    return np.moveaxis(values[np.newaxis], -1, 1)


def _kernel(weight: Array) -> Array:
    """Return a Keras kernel (*kernel, in, out) as (out, in, *kernel)."""
    return np.moveaxis(weight, (-1, -2), (0, 1))


def _conv(case: Case) -> Array:
    config = case.config
    weight, bias = case.weights
    group = config.get("groups", 1)
    return _convolved(case, _first(case.x), _kernel(weight), bias, group)


def _convolved(case: Case, x: Array, weight: Array, bias: Array | None, group: int = 1) -> Array:
    config = case.config
    steps = {"strides": config["strides"], "dilations": config["dilation_rate"]}
    return oracle.convolve(x, weight, bias, **steps, mode=_mode(case), group=group)


def _depthwise(case: Case) -> Array:
    weight, bias = case.weights
    kernel = np.moveaxis(weight, (-2, -1), (0, 1))
    return _convolved(case, _first(case.x), kernel, bias, CHANNELS)


def _separable(case: Case) -> Array:
    weight, pointwise, bias = case.weights
    kernel = np.moveaxis(weight, (-2, -1), (0, 1))
    between = _convolved(case, _first(case.x), kernel, None, CHANNELS)
    mixed = np.einsum("nc...,cf->nf...", between, pointwise.reshape(CHANNELS, FILTERS))
    return mixed + bias.reshape(-1, *(1,) * case.rank)


def _max_pool(case: Case) -> Array:
    ones = [1] * case.rank
    config = case.config
    values, _ = oracle.max_pool(
        _first(case.x),
        config["pool_size"],
        strides=config["strides"],
        dilations=ones,
        mode=_mode(case),
    )
    return values


def _average_pool(case: Case) -> Array:
    ones = [1] * case.rank
    config = case.config
    return oracle.average_pool(
        _first(case.x),
        config["pool_size"],
        strides=config["strides"],
        dilations=ones,
        mode=_mode(case),
    )


def _transposed(case: Case) -> Array:
    weight, bias = case.weights
    config, x = case.config, _first(case.x)
    axes = list(_transposed_axes(config, x.shape[2:]))
    return oracle.conv_transpose(
        x,
        np.moveaxis(weight, (-1, -2), (0, 1)),
        bias,
        strides=config["strides"],
        dilations=config["dilation_rate"],
        mode="explicit",
        pads=[(max(total, 0) // 2, max(total, 0) - max(total, 0) // 2) for total in axes],
        output_padding=[max(-total, 0) for total in axes],
    )


def _transposed_axes(config: dict[str, Any], sizes: Sequence[int]) -> Iterator[int]:
    """Yield per axis how many elements the full output has more than the one that is kept."""
    extra = config.get("output_padding") or [None] * len(sizes)
    steps = zip(config["kernel_size"], config["strides"], config["dilation_rate"], strict=True)
    for size, (kernel, stride, dilation), added in zip(sizes, steps, extra, strict=True):
        extent = (kernel - 1) * dilation + 1
        full = (size - 1) * stride + extent
        wanted = size * stride if added is None else (size - 1) * stride + extent % 2 + added
        yield full - wanted


def _conv_lstm(case: Case) -> Array:
    """Step through the sequence; all activations are linear."""
    weight, recurrent, bias = case.weights
    ones = [1] * case.rank
    state, cell, states = None, np.zeros(()), []
    for frame in case.x:
        gates = _convolved(case, _first(frame), _kernel(weight), bias)
        if state is not None:
            same = {"strides": ones, "dilations": ones, "mode": "same_upper"}
            gates = gates + oracle.convolve(state, _kernel(recurrent), None, **same)
        update, forget, candidate, output = np.split(gates, 4, axis=1)
        cell = forget * cell + update * candidate
        state = output * cell
        states.append(state)
    return np.stack(states, axis=2)
