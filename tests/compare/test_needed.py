"""Only what running shows to be needed is reported, whatever the graphs look like."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from pairs import export

from padaudit.compare.differences import PaddingDifference
from padaudit.compare.engine import Ran
from padaudit.compare.gap import Gap
from padaudit.compare.needed import Found, Trial, needed
from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.formats.shape_options import InputShapes


def difference(index: int, certain: bool) -> PaddingDifference:
    """Return a stand-in that only its pair's identity and its kind tell from others."""
    places: Any = (f"original{index}", f"port{index}")
    return PaddingDifference(*places, None, None, divisor=not certain, certain=certain)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.5]),
)
def test_the_set_that_makes_a_port_agree_is_found(kinds: Any, rest: float) -> None:
    """What is left out and real, and what is corrected and false, moves the outputs alike."""
    found = tuple(difference(index, windows) for index, (windows, _) in enumerate(kinds))
    real = {item for item, (_, is_real) in zip(found, kinds, strict=True) if is_real}
    attempts = []

    def attempt(chosen: Found) -> Trial:
        attempts.append(chosen)
        apart = len(real ^ set(chosen)) ** 0.5 + rest
        return Trial(chosen, Gap(apart, apart, apart), Ran(None))

    best = needed(found, lambda item: False, attempt)
    if rest == 0:
        assert set(best.found) == real and best.gap.equal
    else:
        # What is no port's fault stays: windows are reported, and divisors where that helps.
        windows = {item for item in found if item.certain}
        assert set(best.found) == windows | {item for item in real if not item.certain}
    assert len(attempts) <= 40


@pytest.mark.parametrize("made_up", [False, True])
def test_what_agrees_either_way_goes_only_if_the_graph_makes_up_for_it(made_up: bool) -> None:
    pool, conv = difference(0, certain=False), difference(1, certain=True)

    def attempt(chosen: Found) -> Trial:
        apart = 0.0 if conv in chosen else 1.0
        return Trial(chosen, Gap(apart, apart, apart), Ran(None))

    best = needed((pool, conv), lambda item: made_up and item.port == pool.port, attempt)
    assert best.found == ((conv,) if made_up else (pool, conv))


def test_windows_that_stand_elsewhere_are_named_though_correcting_them_alone_is_no_help() -> None:
    conv = difference(0, certain=True)
    mean = replace(difference(1, certain=True), divisor=True, note="its divisor counts")

    def attempt(chosen: Found) -> Trial:
        mended = any(item.port == mean.port for item in chosen)
        apart = 2.0 + mended - (conv in chosen)
        return Trial(chosen, Gap(apart, apart, apart), Ran(None))

    best = needed((conv, mean), lambda item: False, attempt)
    windows = replace(mean, divisor=False, note="")
    assert best.found == (conv, windows)
    assert [item.difference for item in best.unfixed] == [windows]
    assert best.gap.rms == 1.0


class Means(nn.Module):
    """A strided convolution, a mean and a second one, which count no padding: TensorFlow's."""

    def __init__(self, ways: tuple[str, str], strided: str = "right") -> None:
        super().__init__()
        torch.manual_seed(3)
        self.ways, self.strided = ways, strided
        self.conv, self.last = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pads = (0, 1, 0, 1) if self.strided == "right" else (1, 1, 1, 1)
        x = self.conv(functional.pad(x, pads))
        return mean(self.last(mean(x, self.ways[0])), self.ways[1])


def mean(x: torch.Tensor, way: str) -> torch.Tensor:
    if way == "plain":
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    if way == "wrong":
        return functional.avg_pool2d(x, 3, 1, 1)
    ones = (
        torch.ones_like(x[:, :1])
        if way.endswith("computed ratio")
        else torch.ones(1, 1, *x.shape[2:])
    )
    pads = (0, 2, 2, 0) if way.startswith("wrong") else (1, 1, 1, 1)
    padded, shares = (functional.pad(item, pads) for item in (x, ones))
    return functional.avg_pool2d(padded, 3, 1) / functional.avg_pool2d(shares, 3, 1)


CASES: dict[str, tuple[tuple[str, str], str, set[str]]] = {
    "both ratios right": (("ratio", "computed ratio"), "right", set()),
    "a convolution": (("ratio", "computed ratio"), "wrong", {"/conv/Conv"}),
    "a mean behind a ratio": (("ratio", "wrong"), "right", {"/AveragePool_2"}),
    "a mean in front of a ratio": (("wrong", "computed ratio"), "right", {"/AveragePool"}),
    "a ratio": (("wrong ratio", "computed ratio"), "right", {"/AveragePool"}),
    "another ratio": (("ratio", "wrong computed ratio"), "right", {"/AveragePool_2"}),
    "everything": (
        ("wrong computed ratio", "wrong ratio"),
        "wrong",
        {"/conv/Conv", "/AveragePool", "/AveragePool_2"},
    ),
    "all but a ratio": (("ratio", "wrong"), "wrong", {"/conv/Conv", "/AveragePool_2"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mean_that_is_divided_by_a_mean_of_ones_is_right(case: str, tmp_path: Path) -> None:
    ways, strided, wrong = CASES[case]
    size = (3, 23, 34)
    original = export(Means(("plain", "plain")), size, tmp_path / "original.onnx")
    port = export(Means(ways, strided), size, tmp_path / "port.onnx")
    result = compare_files(original, port, InputShapes(), tmp_path / "fixed.onnx")
    assert {item.port.id for item in result.differences} == wrong
    assert not result.notes
    assert result.status is (Sameness.DIFFERENT if wrong else Sameness.SAME)
    assert (result.fixed is not None) == bool(wrong)
    if result.fixed:
        assert compare_files(original, result.fixed, InputShapes()).status is Sameness.SAME
