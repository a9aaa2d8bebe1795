"""What runs say of a port, and what they can't."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from padaudit.compare.align import Alignment
from padaudit.compare.differences import PaddingDifference
from padaudit.compare.engine import Ran
from padaudit.compare.gap import Gap
from padaudit.compare.needed import Found, Trial, needed
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.run import compare_files, measured
from padaudit.compare.verdict import judged, unneeded
from padaudit.formats.shape_options import InputShapes
from padaudit.report.compare import compare_json, compare_lines
from padaudit.verification.telling import TELLS_NOTHING

SHAPE = (1, 3, 11, 14)


def dead(seed: int, tail: str, path: Path) -> Path:
    """Write a convolution of random weights, behind which a tail gives one answer to everything."""
    weights = np.random.default_rng(seed).standard_normal((3, 3, 3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "c", pads=[0, 1, 1, 1], strides=[1, 2]),
        helper.make_node("Abs", ["c"], ["a"]),
        helper.make_node("Neg", ["a"], ["n"]),
        helper.make_node(tail, ["n"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(*item) for item in (("x", 1, SHAPE), ("y", 1, None))]
    graph = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")]
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


@pytest.mark.parametrize("tail", ["Sqrt", "Relu"])
def test_outputs_that_are_nan_or_0_for_all_inputs_prove_nothing(tail: str, tmp_path: Path) -> None:
    original, same, other = (
        dead(seed, tail, tmp_path / f"{name}.onnx")
        for name, seed in zip("abc", (0, 0, 1), strict=True)
    )
    right = compare_files(original, same, InputShapes())
    assert right.status is Sameness.SAME
    assert any("do not change with the inputs" in note for note in right.notes)
    wrong = compare_files(original, other, InputShapes())
    assert wrong.status is Sameness.DIFFERENT and wrong.first is not None
    assert wrong.first.port == "c" and "its weights differ" in wrong.first.note


def by_noise(relative: float, mute: bool = False) -> Gap:
    """Return a deviation where rounding was measured to give as much as the outputs are."""
    return Gap(relative, relative, relative, noise=1.0, mute=mute)


def difference(certain: bool = True) -> PaddingDifference:
    place: Any = type("Stand-in", (), {"id": "conv"})()
    return PaddingDifference(place, place, None, None, certain=certain)


def draft(before: Gap, after: Gap | None, *differences: PaddingDifference) -> Comparison:
    paths = Path("original.onnx"), Path("port.onnx")
    made = Comparison(*paths, Sameness.UNVERIFIED, Alignment((), (), ()), differences)
    return replace(made, before=before, after=after)


@pytest.mark.parametrize(
    ("after", "status"), [(1.1, Sameness.DIFFERENT), (4.0, Sameness.SAME)], ids=["chance", "clear"]
)
def test_a_difference_stays_unless_correcting_it_is_clearly_worse(
    after: float, status: Sameness
) -> None:
    found = judged(draft(by_noise(0.9), by_noise(after), difference()), by_noise(0.9), True)
    assert found.status is status
    assert bool(found.differences) == (status is Sameness.DIFFERENT)


def test_where_outputs_tell_nothing_the_graph_decides() -> None:
    gaps = by_noise(0.9, mute=True), by_noise(4.0, mute=True)
    certain = judged(draft(*gaps, difference()), by_noise(0.9), True)
    assert certain.status is Sameness.DIFFERENT and TELLS_NOTHING in certain.reason
    for left in ((), (difference(certain=False),)):
        found = judged(draft(*gaps, *left), by_noise(0.9), True)
        assert found.status is Sameness.UNVERIFIED and found.reason == TELLS_NOTHING


@pytest.mark.parametrize(("corrected", "stays"), [(1.1, True), (4.0, False)])
def test_a_port_that_agrees_by_chance_keeps_its_differences(corrected: float, stays: bool) -> None:
    only = difference()

    def attempt(chosen: Found) -> Trial:
        return Trial(chosen, by_noise(corrected if chosen else 0.9), Ran(None))

    best = needed((only,), lambda item: False, attempt)
    assert best.found == ((only,) if stays else ())
    dropped = [] if stays else [only]
    assert bool(unneeded(dropped, best.gap)) != stays


class Measured:
    """Trials of a port in Keras, whose outputs are apart by what rounding gives."""

    def __init__(self, relative: float) -> None:
        self.runs = SimpleNamespace(gap=Gap(relative, relative, relative))
        self.relative = relative

    def attempt(self, found: Found) -> Trial:
        return Trial(found, by_noise(self.relative), Ran(None))


def test_what_graphs_leave_open_is_no_difference_where_rounding_explains_it() -> None:
    left_open = difference(certain=False)
    for relative, stays in ((0.9, False), (1.1, True)):
        trials: Any = Measured(relative)
        found = judged(measured(draft(trials.runs.gap, None, left_open), trials), None, True)
        assert found.status is (Sameness.DIFFERENT if stays else Sameness.SAME)
        assert bool(found.differences) == stays


def test_inputs_that_rounding_excuses_are_counted_and_are_no_tolerance() -> None:
    gap = Gap(1.0, 1.0, 1.0, noise=3.0, excused=2)
    made = compare_json(draft(gap, None))
    assert made["tolerance"] == {"relative": 1e-4, "measured": True, "excused_inputs": 2}
    lines = [line.plain for line in compare_lines(draft(gap, None))]
    assert any("but not on 2 of the inputs" in line for line in lines)
