"""Amounts of an open size: the table by remainder is the formula at every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padaudit.padding.amounts import FORMULAS, same_lower, same_upper
from padaudit.padding.symbolic import ByRemainder, open_amounts

names = st.sampled_from(sorted(FORMULAS))


@given(names, st.integers(1, 500), st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
def test_every_size_has_the_amounts_of_its_remainder(
    name: str, size: int, kernel: int, stride: int, dilation: int
) -> None:
    formula = FORMULAS[name]
    found = open_amounts(formula, kernel, stride, dilation)
    at_size = found.at(size) if isinstance(found, ByRemainder) else found
    assert at_size == formula(size, kernel, stride, dilation)


@given(names, st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
def test_a_table_is_given_only_where_the_amounts_differ(
    name: str, kernel: int, stride: int, dilation: int
) -> None:
    sizes = range(1, 3 * stride + 1)
    different = {FORMULAS[name](size, kernel, stride, dilation) for size in sizes}
    found = open_amounts(FORMULAS[name], kernel, stride, dilation)
    assert isinstance(found, ByRemainder) == (len(different) > 1)
    if isinstance(found, ByRemainder):
        assert (found.stride, set(found.cases)) == (stride, different)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "cases"),
    [
        pytest.param(3, 2, 1, ((0, 1), (1, 1)), id="stride-2"),
        pytest.param(3, 3, 1, ((0, 0), (1, 1), (0, 1)), id="stride-3"),
        pytest.param(2, 3, 1, ((0, 0), (0, 1), (0, 0)), id="kernel-below-stride"),
        pytest.param(2, 2, 4, ((1, 2), (2, 2)), id="dilated"),
    ],
)
def test_remainder_zero_comes_first(
    kernel: int, stride: int, dilation: int, cases: tuple[tuple[int, int], ...]
) -> None:
    assert open_amounts(same_upper, kernel, stride, dilation) == ByRemainder(stride, cases)


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        pytest.param(4, 1, (2, 1), id="stride-1-never-varies"),
        pytest.param(1, 7, (0, 0), id="kernel-1-never-pads"),
    ],
)
def test_a_constant_stays_a_pair(kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert open_amounts(same_lower, kernel, stride, 1) == pads


def test_the_text_says_which_size_gets_what() -> None:
    text = str(open_amounts(same_upper, 3, 2, 1))
    assert text == "(0, 1) where size % 2 = 0, (1, 1) where size % 2 = 1"


def test_the_text_of_a_huge_stride_is_cut() -> None:
    text = str(open_amounts(same_upper, 5000, 3000, 1))
    assert text.startswith("(1000, 1000) where size % 3000 = 0, (2499, 2500) where")
    assert text.endswith(", and 2992 more")
