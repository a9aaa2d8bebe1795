"""A model's padded operators, their weights, and which of them follow which."""

from __future__ import annotations

from pathlib import Path

import pytest

from padaudit.compare.align import align
from padaudit.compare.differences import differences
from padaudit.compare.unit import Unit
from padaudit.compare.units import units_of
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load

FIXTURES = Path(__file__).parents[2] / "fixtures"
DIGITS = {
    "stem": set(),
    "deep_expand": {"stem"},
    "deep_depthwise": {"deep_expand"},
    "wide": {"stem"},
    "wide/pointwise": {"wide"},
    "deep_project": {"deep_depthwise"},
    "dilated": {"wide/pointwise", "deep_project"},
    "head": {"dilated"},
}
NESTED = {
    "stem": set(),
    "right_pool": {"stem"},
    "inner/inner_sep": {"stem"},
    "inner/inner_sep/pointwise": {"inner/inner_sep"},
    "right_project": {"right_pool"},
}


def units(name: str) -> list[Unit]:
    return units_of(load(FIXTURES / name, InputShapes()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("digits.keras", DIGITS), ("digits.h5", DIGITS), ("digits-keras2.h5", NESTED)],
)
def test_what_is_next_upstream(name: str, expected: dict[str, set[str]]) -> None:
    found = units(name)
    assert {unit.id: {found[place].id for place in unit.before} for unit in found} == expected
    for unit in found:
        assert all(unit.position in found[place].after for place in unit.before)


def test_weights_of_both_keras_formats_and_of_onnx_are_rows_of_one_layout() -> None:
    old, new = units("digits.h5"), units("digits.keras")
    for first, second in zip(old, new, strict=True):
        assert first.kernel is not None and second.kernel is not None
        assert first.kernel.shape[0] == first.channels_out
        assert (first.kernel == second.kernel).all()
    pairs = align(old, units("digits.onnx")).pairs
    assert len(pairs) == len(old)
    for ours, theirs in pairs:
        assert ours.kernel is not None and theirs.kernel is not None
        assert abs((ours.kernel * theirs.kernel).sum(axis=1)) == pytest.approx(1.0, abs=1e-5)


def test_a_translation_pads_as_its_keras_model() -> None:
    alignment = align(units("digits.keras"), units("digits.onnx"))
    assert not alignment.original and not alignment.port
    assert not differences(alignment)
