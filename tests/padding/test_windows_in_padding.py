"""Windows that read only padding, against a loop over all taps; and the docstrings."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from padaudit.padding import amounts, symbolic
from padaudit.padding.amounts import AxisPads, same_upper, sees_only_padding

pads = st.tuples(st.integers(0, 14), st.integers(0, 14))


def some_window_is_empty(size: int, kernel: int, stride: int, dilation: int, pad: AxisPads) -> bool:
    """Look at every tap of every window of the padded axis."""
    before, after = pad
    start, found = 0, False
    while start + (kernel - 1) * dilation < before + size + after:
        read = [start + tap * dilation - before for tap in range(kernel)]
        found = found or not any(0 <= position < size for position in read)
        start += stride
    return found


@settings(max_examples=400)
@given(st.integers(1, 14), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), pads)
@example(1, 2, 1, 4, (2, 2))
@example(2, 3, 1, 5, (4, 4))
@example(5, 2, 3, 1, (0, 2))
def test_every_window_is_judged_as_by_the_loop(
    size: int, kernel: int, stride: int, dilation: int, pad: AxisPads
) -> None:
    expected = some_window_is_empty(size, kernel, stride, dilation, pad)
    assert sees_only_padding(size, kernel, stride, dilation, pad) == expected


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 8))
def test_same_without_dilation_always_reads_input(size: int, kernel: int, stride: int) -> None:
    pad = same_upper(size, kernel, stride, 1)
    assert not sees_only_padding(size, kernel, stride, 1, pad)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param((17, 3, 1, 1, (3, 0)), True, id="first-window-before-the-data"),
        pytest.param((17, 3, 1, 1, (2, 2)), False, id="border-windows-read-one-element"),
        pytest.param((17, 3, 1, 1, (0, 3)), True, id="last-window-after-the-data"),
        pytest.param((17, 3, 4, 1, (0, 3)), False, id="the-stride-steps-over-the-empty-window"),
        pytest.param((1, 2, 1, 4, (2, 2)), True, id="taps-on-both-sides-of-the-data"),
        pytest.param((17, 3, 1, 1, (10**9, 10**9)), True, id="huge-pads-are-answered-at-once"),
        pytest.param((1, 9, 1, 1, (0, 0)), False, id="no-window-at-all"),
    ],
)
def test_known_windows(case: tuple[int, int, int, int, AxisPads], expected: bool) -> None:
    assert sees_only_padding(*case) is expected


@pytest.mark.parametrize("module", [amounts, symbolic])
def test_docstring_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
