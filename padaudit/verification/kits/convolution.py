"""Kits of convolutions: floating-point ones, Keras's and those that a runtime has fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from padaudit.ir.site import PaddingSite, Window
from padaudit.verification import oracle
from padaudit.verification.kits.kit import Array, Kit, Meaning, given, small_integers

_SUMMAND_SLOT = 3
"""The input of FusedConv that is added to the result."""


@dataclass(frozen=True, slots=True)
class SiteWeights:
    """Small integer weights for one operator, its channels cropped.

    Parameters
    ----------
    kernel : ndarray, shape (M, C / group, *kernel_shape)
    bias : ndarray, shape (M,)
    group : int
        Number of groups after cropping (2 at most).
    """

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]
    group: int

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return int(self.kernel.shape[1]) * self.group


def site_weights(window: Window, group: int) -> SiteWeights:
    """Return weights for a window; grouped operators keep two groups of one channel."""
    groups = min(group, 2)
    shape = (3 * groups, 1 if groups > 1 else 2, *window.kernel_shape)
    return SiteWeights(small_integers(shape, seed=7), site_bias(shape[0]), groups)


def site_bias(channels: int) -> NDArray[np.float64]:
    """Return biases of both signs and of none: 1, -2, 0, 4, -5, 0.

    >>> site_bias(3)
    array([ 1., -2.,  0.])
    """
    signs: NDArray[np.float64] = np.resize([1.0, -1.0, 0.0], channels)
    return np.arange(1.0, channels + 1) * signs


def convolution_kit(site: PaddingSite, window: Window, meaning: Meaning) -> Kit:
    """Return the kit of a Conv or FusedConv (without its activation and summand)."""
    weights = site_weights(window, site.group)
    inputs: dict[int, Array] = {1: weights.kernel.astype(np.float32)}
    if given(site, 2):
        inputs[2] = weights.bias.astype(np.float32)
    return Kit(
        inputs=inputs,
        channels=weights.channels,
        dtype="float32",
        make=small_integers,
        expected=lambda x: (convolved(x, window, weights, meaning, given(site, 2)),),
        attributes={"group": weights.group, "activation": None, "activation_params": None},
        neutral=0.0,
    )


def convolved(
    x: Array, window: Window, weights: SiteWeights, meaning: Meaning, biased: bool
) -> NDArray[np.float64]:
    """Return what the oracle says a convolution gives."""
    return oracle.convolve(
        x,
        weights.kernel,
        weights.bias if biased else None,
        strides=window.strides,
        dilations=window.dilations,
        mode=meaning.mode,
        group=weights.group,
        pads=meaning.pads,
    )


def transposed_kit(site: PaddingSite, window: Window, meaning: Meaning) -> Kit:
    """Return the kit of a ConvTranspose, whose weights are (C, M / group, *kernel_shape)."""
    weights = site_weights(window, site.group)
    kernel = small_integers((weights.channels, 3, *window.kernel_shape), seed=7)
    bias = site_bias(3 * weights.group)
    inputs: dict[int, Array] = {1: kernel.astype(np.float32)}
    if given(site, 2):
        inputs[2] = bias.astype(np.float32)
    attributes = site.op.attributes

    def expected(x: Array) -> tuple[Array, ...]:
        result = oracle.conv_transpose(
            x,
            kernel,
            bias if given(site, 2) else None,
            strides=window.strides,
            dilations=window.dilations,
            mode=meaning.mode if not site.derived else _split(site),
            group=weights.group,
            pads=None if site.implicit else meaning.pads,
            output_padding=_ints(attributes.get("output_padding")),
            output_shape=_spatial(attributes.get("output_shape"), window.rank),
        )
        return (result,)

    return Kit(
        inputs=inputs,
        channels=weights.channels,
        dtype="float32",
        make=small_integers,
        expected=expected,
        attributes={"group": weights.group},
        neutral=0.0,
    )


def _split(site: PaddingSite) -> str:
    return site.padding.value if site.padding.value.startswith("same") else "same_lower"


def _ints(value: object) -> Sequence[int] | None:
    return value if isinstance(value, list) else None


def _spatial(value: object, rank: int) -> Sequence[int] | None:
    return value[-rank:] if isinstance(value, list) and value else None
