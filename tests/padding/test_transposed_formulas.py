"""Transposed convolutions: against torch's sizes, the forward convolution, and Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from padaudit.padding.amounts import (
    keras_transposed_output,
    same_lower,
    same_upper,
    transposed_crop,
    transposed_full,
)

sizes = st.integers(1, 12)
kernels = st.integers(1, 6)
strides = st.integers(1, 5)
dilations = st.integers(1, 4)


@pytest.fixture(scope="module")
def keras_output_shape() -> Callable[..., list[int | None]]:
    reason = "Keras is the oracle here: compute_conv_transpose_output_shape"
    utils = pytest.importorskip("keras.src.backend.common.backend_utils", reason=reason)
    return cast("Callable[..., list[int | None]]", utils.compute_conv_transpose_output_shape)


@given(sizes, kernels, strides, dilations)
def test_the_full_output_is_torchs_without_padding(n: int, k: int, s: int, d: int) -> None:
    full = F.conv_transpose1d(torch.ones(1, 1, n), torch.ones(1, 1, k), stride=s, dilation=d)
    assert transposed_full(n, k, s, d) == full.shape[-1]


@given(st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_crop_and_appended_elements_lead_from_full_to_wanted(
    full: int, wanted: int, odd_first: bool
) -> None:
    (before, after), appended = transposed_crop(full, wanted, odd_first)
    assert full - before - after + appended == wanted
    assert min(before, after, appended) == 0 <= max(before, after, appended)
    assert appended == 0 or before == after == 0
    larger, smaller = (before, after) if odd_first else (after, before)
    assert larger - smaller in (0, 1)


@given(sizes, kernels, strides, dilations)
def test_a_same_crop_is_the_padding_of_the_forward_convolution(
    n: int, k: int, s: int, d: int
) -> None:
    full = transposed_full(n, k, s, d)
    assert transposed_crop(full, n * s)[0] == same_upper(n * s, k, s, d)
    assert transposed_crop(full, n * s, odd_first=True)[0] == same_lower(n * s, k, s, d)


@given(
    st.tuples(sizes, sizes), st.tuples(kernels, kernels), st.tuples(strides, strides),
    st.tuples(dilations, dilations), st.sampled_from(["same", "valid"]),
    st.none() | st.tuples(st.integers(0, 4), st.integers(0, 4)),
)  # fmt: skip
def test_output_size_is_what_keras_computes(
    keras_output_shape: Callable[..., list[int | None]],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: str,
    extra: tuple[int, int] | None,
) -> None:
    expected = keras_output_shape(
        (None, *size, 3), kernel, 7, stride, padding, extra, "channels_last", dilation
    )
    extras = extra or (None, None)
    ours = [
        keras_transposed_output(n, k, s, d, padding == "same", more)
        for n, k, s, d, more in zip(size, kernel, stride, dilation, extras, strict=True)
    ]
    assert [None, *ours, 7] == list(expected)


@pytest.mark.parametrize(
    ("full", "wanted", "odd_first", "expected"),
    [
        pytest.param(11, 10, False, ((0, 1), 0), id="keras-crops-the-odd-element-last"),
        pytest.param(11, 10, True, ((1, 0), 0), id="onnx-output-shape-crops-it-first"),
        pytest.param(10, 7, False, ((1, 2), 0), id="three"),
        pytest.param(10, 10, True, ((0, 0), 0), id="nothing-to-crop"),
        pytest.param(14, 15, True, ((0, 0), 1), id="too-short-is-appended-not-cropped"),
    ],
)
def test_known_crops(
    full: int, wanted: int, odd_first: bool, expected: tuple[tuple[int, int], int]
) -> None:
    assert transposed_crop(full, wanted, odd_first) == expected
