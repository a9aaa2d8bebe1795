"""Kits of quantised convolutions: whole numbers throughout, so that results are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from padaudit.ir.graph import Graph
from padaudit.ir.site import PaddingSite, Window
from padaudit.verification import oracle
from padaudit.verification.kits.convolution import site_weights
from padaudit.verification.kits.kit import Array, Kit, Meaning, given

_BYTES: Final = frozenset({"int8", "uint8"})
_ZERO: Final = 3
"""Zero point of the data; those of weights and result differ from it."""
_Y_SCALE: Final = 4.0


def conv_integer_kit(site: PaddingSite, window: Window, meaning: Meaning, graph: Graph) -> Kit:
    """Return the kit of a ConvInteger, whose result is a plain int32 sum."""
    weights = site_weights(window, site.group)
    x_type, w_type = _byte_type(site, graph, 0, 2), _byte_type(site, graph, 1, 3)
    w_zero = 2
    inputs: dict[int, Array] = {1: (weights.kernel + w_zero + 4).astype(w_type)}
    if given(site, 2):
        inputs[2] = np.asarray(_ZERO, x_type)
    if given(site, 3):
        inputs[3] = np.asarray(w_zero, w_type)

    def expected(x: Array) -> tuple[Array, ...]:
        result = oracle.conv_integer(
            x,
            inputs[1],
            _ZERO if given(site, 2) else 0,
            w_zero if given(site, 3) else 0,
            **_placed(window, meaning, weights.group),
        )
        return (result,)

    return Kit(
        inputs=inputs,
        channels=weights.channels,
        dtype=x_type,
        make=_around_zero_point,
        expected=expected,
        attributes={"group": weights.group},
        neutral=_ZERO if given(site, 2) else 0,
    )


def qlinear_conv_kit(site: PaddingSite, window: Window, meaning: Meaning, graph: Graph) -> Kit:
    """Return the kit of a QLinearConv; its scales are powers of two."""
    weights = site_weights(window, site.group)
    x_type, w_type = _byte_type(site, graph, 0, 2), _byte_type(site, graph, 3, 5)
    y_type = _byte_type(site, graph, 7)
    w_zero = 0 if w_type == "int8" else 2
    kernel = (weights.kernel if w_type == "int8" else weights.kernel + w_zero + 4).astype(w_type)
    scales = {1: 1.0, 4: 1.0, 6: _Y_SCALE}
    inputs: dict[int, Array] = {slot: np.asarray(v, np.float32) for slot, v in scales.items()}
    inputs |= {
        2: np.asarray(_ZERO, x_type),
        3: kernel,
        5: np.asarray(w_zero, w_type),
        7: np.asarray(5, y_type),
    }
    bias = weights.bias.astype(np.int32) * 4 if given(site, 8) else None
    if bias is not None:
        inputs[8] = bias

    def expected(x: Array) -> tuple[Array, ...]:
        result = oracle.qlinear_conv(
            x,
            1.0,
            _ZERO,
            kernel,
            1.0,
            w_zero,
            _Y_SCALE,
            inputs[7],
            bias,
            **_placed(window, meaning, weights.group),
        )
        return (result,)

    return Kit(
        inputs=inputs,
        channels=weights.channels,
        dtype=x_type,
        make=_around_zero_point,
        expected=expected,
        attributes={"group": weights.group},
        neutral=_ZERO,
    )


def _around_zero_point(shape: Sequence[int], seed: int) -> Array:
    """Return integers from 1 to 5: the data minus its zero point has both signs."""
    return np.random.default_rng(seed).integers(1, 6, tuple(shape)).astype(np.float64)


def _byte_type(site: PaddingSite, graph: Graph, *slots: int) -> str:
    """Return the type of the first input that has a known one; a zero point shares its type."""
    names = [site.op.inputs[slot] for slot in slots if given(site, slot)]
    types = (graph.tensor(name).dtype for name in names)
    return next((dtype for dtype in types if dtype in _BYTES), "uint8")


def _placed(window: Window, meaning: Meaning, group: int) -> dict[str, Any]:
    return {
        "strides": window.strides,
        "dilations": window.dilations,
        "mode": meaning.mode,
        "pads": meaning.pads,
        "group": group,
    }
