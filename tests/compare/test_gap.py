"""Outputs are compared in whatever layout they come."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from padaudit.compare.gap import gap

RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 5, 7, 3)).astype(np.float32)
LOGITS = 3 * RNG.standard_normal((4, 6)).astype(np.float32)


def softmax(values: Any, axis: int) -> Any:
    powers = np.exp(values.astype(np.float64))
    return (powers / powers.sum(axis, keepdims=True)).astype(np.float32)


SAME: dict[str, tuple[Any, Any]] = {
    "as it is": (IMAGE, IMAGE),
    "channels first": (IMAGE, IMAGE.transpose(0, 3, 1, 2)),
    "channels last": (IMAGE.transpose(0, 3, 1, 2), IMAGE),
    "axes of size 1": (LOGITS, LOGITS[:, :, np.newaxis, np.newaxis]),
    "another type": (IMAGE, IMAGE.astype(np.float64)),
    "half precision": (IMAGE, IMAGE.astype(np.float16)),
    "no numbers at the same places": (np.float32([[np.nan, 1]]), np.float32([[np.nan, 1]])),
}
TAILS: dict[str, tuple[Any, Any, str]] = {
    "softmax": (softmax(LOGITS, 1), LOGITS, "softmax"),
    "softmax of channels": (softmax(IMAGE, 3), IMAGE.transpose(0, 3, 1, 2), "softmax"),
    "sigmoid": ((1 / (1 + np.exp(-IMAGE))).astype(np.float32), IMAGE, "sigmoid"),
}


@pytest.mark.parametrize("case", SAME)
def test_outputs_that_are_the_same(case: str) -> None:
    ours, theirs = SAME[case]
    found = gap([[ours]], [[theirs]])
    assert found.equal and not found.reason and not found.note


@pytest.mark.parametrize("case", TAILS)
def test_a_tail_that_only_the_original_has(case: str) -> None:
    ours, theirs, name = TAILS[case]
    found = gap([[ours]], [[theirs]])
    assert found.equal and f"ends in a {name}" in found.note
    assert not gap([[theirs]], [[ours]]).equal


def test_the_largest_difference_of_all_runs_is_told() -> None:
    other = IMAGE.copy()
    other[1, 2, 3, 0] += 0.5
    found = gap([[IMAGE], [IMAGE]], [[IMAGE], [other]])
    assert not found.equal
    assert found.max_abs == pytest.approx(0.5, rel=1e-6)
    assert found.relative == pytest.approx(0.5 / np.abs(IMAGE).max(), rel=1e-2)


def test_outputs_are_paired_whatever_their_order() -> None:
    found = gap([[LOGITS, IMAGE, IMAGE + 1]], [[IMAGE + 1, LOGITS, IMAGE]])
    assert found.max_abs == 0


def test_shapes_that_do_not_fit_are_told() -> None:
    found = gap([[IMAGE]], [[IMAGE[:, :4]]])
    assert found.max_abs == math.inf and not found.equal
    assert "(2, 5, 7, 3)" in found.reason and "(2, 4, 7, 3)" in found.reason


def test_a_number_is_not_the_same_as_none() -> None:
    assert gap([[np.float32([[1, np.nan]])]], [[np.float32([[1, 2]])]]).max_abs == math.inf


def test_inputs_on_which_an_output_is_nothing_but_rounding_decide_nothing() -> None:
    noise = 1e-6 * RNG.standard_normal(IMAGE.shape).astype(np.float32)
    ours, theirs = [[IMAGE], [1000 * noise]], [[IMAGE], [-1000 * noise]]
    assert not gap(ours, theirs).equal
    found = gap(ours, theirs, [(1e-6,), (3.0,)])
    assert found.equal and not found.plain and not found.mute
    assert gap(ours, theirs, [(1.0,), (3.0,)]).mute
    wrong = [[IMAGE + np.float32(0.01)], theirs[1]]
    assert not gap(ours, wrong, [(1e-6,), (3.0,)]).equal


def test_an_output_decides_through_inputs_on_which_it_is_not_0() -> None:
    zero, one = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    noise = [(0.0,), (3.0,)]
    drowned = gap([[zero], [one]], [[zero], [-one]], noise)
    assert drowned.equal and drowned.mute and drowned.drowned
    tiny = gap([[1e-6 * one], [one]], [[1e-6 * one], [-one]], [(1e-4,), (3.0,)])
    assert tiny.mute
    both = gap([[one, zero], [one, one]], [[one, zero], [one, -one]], [(0.0, 0.0), (0.0, 3.0)])
    assert both.equal and not both.mute and both.silent == (1,)


@pytest.mark.parametrize("largest", [3, 10**4, 10**9])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_whole_numbers_are_the_same_or_others(largest: int, kind: Any) -> None:
    ours = np.asarray([[1, largest]], kind)
    assert gap([[ours]], [[ours.astype(np.int64)]]).equal
    found = gap([[ours]], [[ours + kind(1)]])
    assert found.max_abs == 1 and not found.equal


def test_a_bias_decides_nothing_where_all_else_is_rounding() -> None:
    bias, one = np.full((2, 3), 0.5, np.float32), np.ones((2, 3), np.float32)
    noise = [(0.0,), (1e-6,), (3.0,)]
    alone = gap([[bias], [bias], [one]], [[bias], [bias], [-one]], noise)
    assert alone.equal and alone.mute
    beside = gap([[bias], [2 * bias], [one]], [[bias], [2 * bias], [-one]], noise)
    assert beside.equal and not beside.mute
