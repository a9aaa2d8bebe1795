"""Kits of pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from padaudit.ir.site import Family, PaddingSite, Window
from padaudit.verification import oracle
from padaudit.verification.kits.kit import Array, Kit, Meaning, given

_INTEGERS: Final = frozenset({"int8", "uint8"})
_QUOTIENT_RTOL: Final = 2.5e-7
"""Two units in the last place of float32: a sum is exact, its quotient is rounded."""
_ROOT_RTOL: Final = 1e-5
_CHANNELS: Final = 2
_HUGE: Final = 2.0**100
"""A factor that keeps whole numbers exact in float32."""


def pool_kit(site: PaddingSite, window: Window, meaning: Meaning) -> Kit:
    """Return the kit of a floating-point or 8-bit pool."""
    if site.family is Family.MAX_POOL:
        return _max_pool(site, window, meaning)
    if site.family is Family.AVG_POOL:
        return _average_pool(site, window, meaning)
    return _lp_pool(site, window, meaning)


def extreme_integers(shape: Sequence[int], seed: int) -> Array:
    """Return distinct integers; those of the first channel are below any finite pad value."""
    values = mixed_integers(shape, seed)
    values[:, 0] = -(np.abs(values[:, 0]) + 1) * _HUGE
    return values


def mixed_integers(shape: Sequence[int], seed: int) -> Array:
    """Return distinct integers of both signs."""
    count = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(count).astype(np.float64)
    return values.reshape(tuple(shape)) - count // 3


def bytes_of(dtype: str, seed: int, shape: Sequence[int]) -> Array:
    """Return 8-bit integers: the least one in the first channel, else of the whole range."""
    limits, generator = np.iinfo(dtype), np.random.default_rng(seed)
    values = generator.integers(limits.min, limits.max, tuple(shape))
    values[:, 0] = limits.min
    return values.astype(np.float64)


def _max_pool(site: PaddingSite, window: Window, meaning: Meaning) -> Kit:
    dtype = site.dtype if site.dtype in _INTEGERS else "float32"
    outputs = 2 if any(site.op.outputs[1:]) else 1

    def make(shape: Sequence[int], seed: int) -> Array:
        if dtype in _INTEGERS:
            return bytes_of(dtype, seed, shape)
        return extreme_integers(shape, seed)

    def expected(x: Array) -> tuple[Array, ...]:
        found = oracle.max_pool(
            x,
            window.kernel_shape,
            **_placed(window, meaning),
            ceil_mode=_ceil(site, meaning),
            storage_order=int(site.op.attributes.get("storage_order", 0)),
        )
        return found[:outputs]

    return Kit({}, _CHANNELS, str(dtype), make, expected)


def _average_pool(site: PaddingSite, window: Window, meaning: Meaning) -> Kit:
    def expected(x: Array) -> tuple[Array, ...]:
        return (averaged(x, site, window, meaning),)

    return Kit({}, _CHANNELS, "float32", mixed_integers, expected, rtol=_QUOTIENT_RTOL, neutral=0.0)


def averaged(x: Array, site: PaddingSite, window: Window, meaning: Meaning) -> Array:
    """Return what the oracle says an average pool gives."""
    return oracle.average_pool(
        x,
        window.kernel_shape,
        **_placed(window, meaning),
        count_include_pad=bool(site.op.attributes.get("count_include_pad", 0)),
        ceil_mode=_ceil(site, meaning),
    )


def _lp_pool(site: PaddingSite, window: Window, meaning: Meaning) -> Kit:
    power = int(site.op.attributes.get("p", 2))

    def make(shape: Sequence[int], seed: int) -> Array:
        return np.random.default_rng(seed).integers(-9, 10, tuple(shape)).astype(np.float64)

    def expected(x: Array) -> tuple[Array, ...]:
        placed = _placed(window, meaning)
        return (oracle.lp_pool(x, window.kernel_shape, **placed, p=power, ceil_mode=False),)

    # The p of opset 1 is a float, and a trial's opset is newer.
    whole = {"p": power}
    return Kit({}, _CHANNELS, "float32", make, expected, whole, rtol=_ROOT_RTOL, neutral=0.0)


def quantized_average_kit(site: PaddingSite, window: Window, meaning: Meaning) -> Kit:
    """Return the kit of a QLinearAveragePool; its rounding of halves is left open."""
    dtype = site.dtype if site.dtype in _INTEGERS else "uint8"
    zero = 7
    inputs: dict[int, Array] = {slot: np.asarray(1, np.float32) for slot in (1, 3)}
    inputs |= {slot: np.asarray(zero, dtype) for slot in (2, 4) if given(site, slot)}
    zeros = [zero if given(site, slot) else 0 for slot in (2, 4)]
    limits = np.iinfo(str(dtype))

    def expected(x: Array) -> tuple[Array, ...]:
        mean = averaged(x - zeros[0], site, window, meaning)
        return (np.clip(mean + zeros[1], limits.min, limits.max),)

    return Kit(
        inputs=inputs,
        channels=_CHANNELS,
        dtype=str(dtype),
        make=lambda shape, seed: bytes_of(str(dtype), seed, shape),
        expected=expected,
        atol=0.51,
        neutral=zeros[0],
    )


def _placed(window: Window, meaning: Meaning) -> dict[str, Any]:
    return {
        "strides": window.strides,
        "dilations": window.dilations,
        "mode": meaning.mode,
        "pads": meaning.pads,
    }


def _ceil(site: PaddingSite, meaning: Meaning) -> bool:
    return meaning.mode == "explicit" and bool(site.op.attributes.get("ceil_mode", 0))
