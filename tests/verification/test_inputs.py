"""Generated inputs: deterministic, telling at borders, safe as indices."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from padaudit.errors import UsageError
from padaudit.verification.inputs import (
    KINDS,
    InputSpec,
    concrete_shape,
    generate,
    open_sizes,
)

IMAGE = InputSpec("x", "float32", (1, 6, 7, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_values_depend_on_name_and_seed_only(kind: str) -> None:
    other = InputSpec("a", "float32", (1, 6, 7, 3))
    alone = generate([IMAGE], kind, 5)["x"]
    beside = generate([other, IMAGE], kind, 5)
    np.testing.assert_array_equal(alone, beside["x"])
    assert alone.dtype == np.float32 and alone.shape == (1, 6, 7, 3)
    if kind != "constant":
        assert not np.array_equal(alone, beside["a"])
        assert not np.array_equal(alone, generate([IMAGE], kind, 6)["x"])


def test_random_values_have_both_signs_and_fractions() -> None:
    values = generate([IMAGE], "random", 0)["x"]
    assert (values < 0).any() and (values > 0).any() and (values != np.round(values)).any()


def test_integer_values_are_small_whole_numbers() -> None:
    values = generate([InputSpec("x", "float32", (1, 40, 40))], "integer", 0)["x"]
    assert set(np.unique(values)) == set(range(-4, 5))


def test_constant_values_are_one_half() -> None:
    assert (generate([IMAGE], "constant", 0)["x"] == 0.5).all()


@given(shape=st.tuples(*[st.integers(1, 6)] * 3), batch=st.integers(1, 2))
def test_border_values_are_at_the_ends_of_every_axis_and_in_the_middle(
    shape: tuple[int, ...], batch: int
) -> None:
    values = generate([InputSpec("x", "float32", (batch, *shape))], "border", 3)["x"]
    middle = tuple(size // 2 for size in shape) if 2 not in shape and max(shape) > 2 else None
    for place in itertools.product(*map(range, shape)):
        ends = any(size > 1 and at in (0, size - 1) for at, size in zip(place, shape, strict=True))
        index: Any = (slice(None), *place)
        assert ((values[index] != 0) == (ends or place == middle)).all()


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("step", [-1, 1])
def test_border_values_show_a_shift_of_one(axis: int, step: int) -> None:
    values = generate([InputSpec("x", "float32", (1, 9, 8))], "border", 0)["x"]
    assert np.abs(values - np.roll(values, step, axis)).max() > 0.1


def test_border_of_a_vector_is_at_its_ends() -> None:
    values = generate([InputSpec("x", "float32", (5,))], "border", 0)["x"]
    assert (values != 0).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_wide_integers_are_safe_as_indices(kind: str, dtype: str) -> None:
    values = generate([InputSpec("i", dtype, (1, 50))], kind, 0)["i"]
    assert values.dtype == dtype and values.any()
    assert set(np.unique(values)) <= {0, 1}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_narrow_integers_use_their_range(dtype: str) -> None:
    values = generate([InputSpec("x", dtype, (1, 99, 99))], "random", 0)["x"]
    assert (values.min(), values.max()) == (np.iinfo(dtype).min, np.iinfo(dtype).max)
    border = generate([InputSpec("x", dtype, (1, 9, 9))], "border", 0)["x"]
    assert border[0, 0].all() and np.count_nonzero(border[0, 1:-1, 1:-1]) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float64", "bool"])
def test_other_types_keep_their_type(kind: str, dtype: str) -> None:
    assert generate([InputSpec("x", dtype, (1, 4, 4))], kind, 0)["x"].dtype == dtype


@pytest.mark.parametrize("dtype", ["str", "object"])
@pytest.mark.parametrize("kind", KINDS)
def test_text_is_made_that_can_be_read_as_numbers(kind: str, dtype: str) -> None:
    values = generate([InputSpec("x", dtype, (2, 5, 6))], kind, 0)["x"]
    assert values.dtype.kind == "U"
    assert set(values.astype(np.float32).ravel()) <= {0.0, 1.0}


def test_bfloat16_is_made() -> None:
    values = generate([InputSpec("x", "bfloat16", (1, 4))], "random", 0)["x"]
    assert values.dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("dtype", ["complex64", "int4x"])
def test_types_without_numbers_are_declined(dtype: str) -> None:
    with pytest.raises(
        UsageError, match=rf"input 't' holds {dtype} elements, for which no test values"
    ):
        generate([InputSpec("t", dtype, (1, 2))], "random", 0)


def test_open_size_without_assignment_is_refused() -> None:
    with pytest.raises(UsageError, match=r"axis 1 of input 'x' has an open size"):
        generate([InputSpec("x", "float32", (1, None))], "random", 0)


def test_unnamed_open_axes_are_told_apart() -> None:
    spec = InputSpec("x", "float32", (None, None, 3))
    assert concrete_shape(spec, {"x[0]": 2, "x[1]": 5}) == (2, 5, 3)


def test_open_sizes_are_unequal_per_axis_and_rotate() -> None:
    spec = InputSpec("x", "float32", (None, 3, "H", "W"))
    assert [concrete_shape(spec, sizes) for sizes in open_sizes([spec])] == [
        (1, 3, 32, 33),
        (2, 3, 33, 47),
        (1, 3, 47, 32),
    ]


def test_a_symbol_has_one_size_everywhere() -> None:
    specs = [InputSpec("a", "float32", ("N", "W", "H")), InputSpec("b", "float32", ("N", "H"))]
    proposals = open_sizes(specs)
    assert len(proposals) == 3
    for sizes in proposals:
        assert concrete_shape(specs[0], sizes)[2] == concrete_shape(specs[1], sizes)[1]
        assert concrete_shape(specs[0], sizes)[0] == concrete_shape(specs[1], sizes)[0]


def test_fixed_sizes_and_base_override() -> None:
    spec = InputSpec("x", "float32", ("N", "H", "W"))
    proposals = open_sizes([spec], base=(7, 8), fixed={"H": 224})
    assert proposals == [{"N": 1, "H": 224, "W": 8}, {"N": 2, "H": 224, "W": 7}]


def test_nothing_open_is_one_empty_assignment() -> None:
    assert open_sizes([IMAGE]) == [{}]


def test_open_batch_alone_is_one_then_two() -> None:
    assert open_sizes([InputSpec("x", "float32", ("N", 3))]) == [{"N": 1}, {"N": 2}]
