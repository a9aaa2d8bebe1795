"""The "same" and causal formulas against other algebra, counting, and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from padaudit.padding.amounts import (
    FORMULAS,
    AxisPads,
    causal,
    effective_kernel,
    same_lower,
    same_output,
    same_upper,
    valid,
    window_output,
)

sizes = st.integers(1, 400)
kernels = st.integers(1, 12)
strides = st.integers(1, 12)
dilations = st.integers(1, 6)
small = st.integers(1, 20)


def taps(kernel: int, dilation: int) -> list[int]:
    """The offsets that a window reads, written out."""
    return list(range(0, kernel * dilation, dilation))


def windows_that_fit(length: int, kernel: int, stride: int, dilation: int) -> list[int]:
    """The starts of all windows whose last tap is inside, found one by one."""
    last = taps(kernel, dilation)[-1]
    return [start for start in range(0, length, stride) if start + last < length]


def total_by_remainder(size: int, kernel: int, stride: int, dilation: int) -> int:
    """TensorFlow's form: by the remainder of the size, without the output size."""
    extent = taps(kernel, dilation)[-1] + 1
    rest = size % stride
    return max(extent - (rest or stride), 0)


def smallest_total(size: int, kernel: int, stride: int, dilation: int) -> int:
    """The first amount of padding at which there is a window for every stride-th element."""
    wanted = len(range(0, size, stride))
    total = 0
    while len(windows_that_fit(size + total, kernel, stride, dilation)) < wanted:
        total += 1
    return total


@given(sizes, kernels, strides, dilations)
def test_same_total_equals_tensorflows_form(size: int, kernel: int, stride: int, dil: int) -> None:
    assert sum(same_upper(size, kernel, stride, dil)) == total_by_remainder(
        size, kernel, stride, dil
    )


@given(small, st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_same_pads_no_more_than_needed(size: int, kernel: int, stride: int, dil: int) -> None:
    assert sum(same_upper(size, kernel, stride, dil)) == smallest_total(size, kernel, stride, dil)


@given(sizes, kernels, strides, dilations)
def test_the_odd_element_goes_after_or_before(
    size: int, kernel: int, stride: int, dil: int
) -> None:
    before, after = same_upper(size, kernel, stride, dil)
    assert after - before == (before + after) % 2
    assert same_lower(size, kernel, stride, dil) == (after, before)


@given(small, st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_same_gives_one_output_per_stride(size: int, kernel: int, stride: int, dil: int) -> None:
    wanted = len(range(0, size, stride))
    for formula in (same_upper, same_lower):
        pads = formula(size, kernel, stride, dil)
        assert window_output(size, kernel, stride, dil, pads) == wanted
    assert same_output(size, stride) == wanted


@given(
    st.integers(0, 20), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4),
    st.integers(0, 5), st.integers(0, 5),
)  # fmt: skip
def test_window_output_counts_the_windows(
    size: int, kernel: int, stride: int, dil: int, before: int, after: int
) -> None:
    counted = len(windows_that_fit(before + size + after, kernel, stride, dil))
    assert window_output(size, kernel, stride, dil, (before, after)) == counted


@given(kernels, dilations)
def test_effective_kernel_is_the_reach_of_the_last_tap(kernel: int, dil: int) -> None:
    assert effective_kernel(kernel, dil) == taps(kernel, dil)[-1] + 1


@given(small, st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_causal_windows_end_where_their_output_stands(
    size: int, kernel: int, stride: int, dil: int
) -> None:
    before, after = causal(size, kernel, stride, dil)
    starts = windows_that_fit(before + size + after, kernel, stride, dil)
    last_read = [start - before + taps(kernel, dil)[-1] for start in starts]
    assert last_read == list(range(0, size, stride))


@given(sizes, kernels, strides, dilations)
def test_valid_pads_nothing(size: int, kernel: int, stride: int, dil: int) -> None:
    assert valid(size, kernel, stride, dil) == (0, 0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(
    st.tuples(small, small), st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(0, 2**31),
)  # fmt: skip
def test_torch_same_is_same_upper_at_stride_one(
    size: tuple[int, int], kernel: tuple[int, int], dilation: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    data = torch.tensor(rng.integers(-9, 10, (1, 1, *size)), dtype=torch.float64)
    weights = torch.tensor(rng.integers(1, 10, (1, 1, *kernel)), dtype=torch.float64)
    (top, bottom), (left, right) = (
        same_upper(n, k, 1, d) for n, k, d in zip(size, kernel, dilation, strict=True)
    )
    padded = F.pad(data, (left, right, top, bottom))
    explicit = F.conv2d(padded, weights, dilation=dilation)
    assert torch.equal(explicit, F.conv2d(data, weights, dilation=dilation, padding="same"))


@pytest.mark.parametrize(
    ("name", "case", "pads"),
    [
        pytest.param("same_upper", (224, 3, 2, 1), (0, 1), id="mobilenet-stem"),
        pytest.param("same_upper", (225, 3, 2, 1), (1, 1), id="odd-size-is-symmetric"),
        pytest.param("same_upper", (17, 4, 1, 1), (1, 2), id="even-kernel"),
        pytest.param("same_upper", (17, 4, 1, 2), (3, 3), id="dilation-makes-the-kernel-odd"),
        pytest.param("same_upper", (8, 1, 4, 1), (0, 0), id="never-negative"),
        pytest.param("same_upper", (2, 7, 3, 1), (2, 3), id="kernel-beyond-the-input"),
        pytest.param("same_lower", (224, 3, 2, 1), (1, 0), id="lower-puts-it-first"),
        pytest.param("causal", (100, 3, 1, 4), (8, 0), id="causal-dilated"),
        pytest.param("valid", (100, 3, 1, 4), (0, 0), id="valid"),
    ],
)
def test_known_amounts(name: str, case: tuple[int, int, int, int], pads: AxisPads) -> None:
    assert FORMULAS[name](*case) == pads
