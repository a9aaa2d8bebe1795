"""Distances between arrays, against math.ulp, numpy.nextafter and numpy.isclose."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from padaudit.verification.compare import (
    INCOMPARABLE_ULP,
    Difference,
    compare_arrays,
    merge,
    ulp_distance,
)

FLOATS = ("float16", "float32", "float64")
finite = st.floats(allow_nan=False, allow_infinity=False)


def test_identical_arrays_are_equal() -> None:
    a = np.array([[1.5, -2.0]], np.float32)
    assert compare_arrays(a, a.copy()) == Difference(0.0, 0, True, None, "")


def test_worst_element_is_found_and_named() -> None:
    a, b = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    b[0, 1], b[1, 2] = 0.25, -2.0
    found = compare_arrays(a, b)
    assert (found.max_abs, found.equal, found.where) == (2.0, False, (1, 2))
    assert found.reason == "2 of 6 elements differ, the worst at (1, 2): 0.0 against -2.0"


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (np.zeros((1, 2)), np.zeros((2, 1)), "shape (1, 2) against (2, 1)"),
        (np.zeros(2, np.float32), np.zeros(2), "type float32 against float64"),
        (np.zeros(2, np.int8), np.zeros(2, bool), "type int8 against bool"),
    ],
    ids=["shape", "float type", "integer type"],
)
def test_other_shape_or_type_is_a_difference(a: Any, b: Any, reason: str) -> None:
    assert compare_arrays(a, b, rtol=1.0, atol=1.0) == Difference(
        math.inf, INCOMPARABLE_ULP, False, None, reason
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_equal_themselves_only(dtype: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1.0], dtype)
    assert compare_arrays(values, values.copy()).equal
    for one, other in [(0, 1), (0, 3), (3, 0), (1, 2), (1, 3), (3, 2)]:
        found = compare_arrays(values[[one]], values[[other]], rtol=1.0, atol=1e30)
        assert (found.equal, found.max_abs, found.where) == (False, math.inf, (0,))
        assert (found.max_ulp == INCOMPARABLE_ULP) == (0 in (one, other))


def test_signed_zeros_are_equal() -> None:
    assert compare_arrays(np.array([-0.0], np.float32), np.array([0.0], np.float32)) == Difference()


def test_scalars_and_empty_arrays_compare() -> None:
    assert compare_arrays(np.zeros((0, 3)), np.zeros((0, 3))).equal
    assert compare_arrays(np.array(1.0), np.array(1.5)).where == ()
    extremes = np.array(-math.inf), np.array(math.inf)
    assert compare_arrays(*extremes).max_ulp == 2 * 0x7FF0000000000000
    assert compare_arrays(np.array(-(2**63)), np.array(2**63 - 1)).max_ulp == 2**64 - 1


def test_overflowing_difference_is_infinite() -> None:
    found = compare_arrays(np.array([1.7e308]), np.array([-1.7e308]), rtol=0.1)
    assert (found.equal, found.max_abs) == (False, math.inf)


def test_within_tolerance_still_reports_the_deviation() -> None:
    found = compare_arrays(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-9]), atol=1e-6)
    assert found.equal and found.where == (1,) and not found.reason
    assert 0 < found.max_abs < 1e-8


def test_element_outside_tolerance_is_worse_than_a_larger_one_inside() -> None:
    found = compare_arrays(np.array([1000.0, 1.0]), np.array([1001.0, 1.5]), rtol=0.01)
    assert (found.equal, found.where, found.max_abs) == (False, (1,), 1.0)


@given(a=finite, b=finite, rtol=st.floats(0, 1), atol=st.floats(0, 10))
def test_tolerance_is_that_of_isclose(a: float, b: float, rtol: float, atol: float) -> None:
    with np.errstate(over="ignore"):
        expected = bool(np.isclose(a, b, rtol, atol)) and math.isfinite(a - b)
        found = compare_arrays(np.array([a]), np.array([b]), rtol, atol)
    assert found.equal == (expected or a == b)


@given(a=finite, b=finite)
def test_zero_tolerance_means_the_same(a: float, b: float) -> None:
    assert compare_arrays(np.array([a]), np.array([b])).equal == (a == b)


@given(value=finite)
def test_one_ulp_is_one_step(value: float) -> None:
    up = math.nextafter(value, math.inf)
    assume(math.isfinite(up))
    found = compare_arrays(np.array([value]), np.array([up]))
    assert found.max_ulp == 1
    assert found.max_abs in (math.ulp(value), math.ulp(up))


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), steps=st.integers(0, 40))
def test_ulp_counts_steps_of_nextafter(dtype: str, data: st.DataObject, steps: int) -> None:
    start = data.draw(hnp.arrays(dtype, ()))[()]
    end = start
    with np.errstate(over="ignore"):
        for _ in range(steps):
            end = np.nextafter(end, np.dtype(dtype).type(np.inf))
    assume(np.isfinite(start) and np.isfinite(end))
    assert int(ulp_distance(np.array([start]), np.array([end]))[0]) == steps


@given(data=st.data(), dtype=st.sampled_from(FLOATS))
def test_ulp_is_symmetric_and_nan_safe(data: st.DataObject, dtype: str) -> None:
    arrays = hnp.arrays(dtype, (5,))
    a, b = data.draw(arrays), data.draw(arrays)
    distance = ulp_distance(a, b)
    np.testing.assert_array_equal(distance, ulp_distance(b, a))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    np.testing.assert_array_equal(distance == 0, same)


def test_bfloat16_steps_are_counted() -> None:
    a = np.array([1.0, -0.0], ml_dtypes.bfloat16)
    found = compare_arrays(a, np.array([1.0078125, 0.0], ml_dtypes.bfloat16))
    assert (found.max_ulp, found.max_abs, found.where) == (1, 0.0078125, (0,))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_integers_are_exact_over_their_whole_range(dtype: str) -> None:
    info = np.iinfo(dtype)
    a, b = np.array([0, info.min], dtype), np.array([0, info.max], dtype)
    found = compare_arrays(a, b, rtol=1.0, atol=1e300)
    assert (found.equal, found.where) == (False, (1,))
    assert found.max_ulp == int(info.max) - int(info.min)
    assert found.max_abs == float(found.max_ulp)


def test_bools_and_strings_are_exact() -> None:
    assert compare_arrays(np.array([True, False]), np.array([True, True])).max_abs == 1.0
    text = compare_arrays(np.array(["cat", "a"]), np.array(["cat", "other"]))
    assert (text.equal, text.max_abs, text.where) == (False, math.inf, (1,))
    assert compare_arrays(np.array(["cat"]), np.array(["cat"], "U9")).equal


def test_merge_keeps_the_worst_and_the_largest_figures() -> None:
    inside = Difference(5.0, 3, True, (0,))
    outside = Difference(0.5, 9, False, (4,), "why")
    assert merge([inside, outside]) == Difference(5.0, 9, False, (4,), "why")
    assert merge([inside, Difference()]) == inside
    assert merge([]) == Difference()
