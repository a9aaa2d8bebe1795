"""The numpy oracle against torch, against a brute-force loop and against the formulas."""

from __future__ import annotations

import ast
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from padaudit.padding import amounts
from padaudit.verification import oracle

Array = NDArray[Any]
MODES = ("valid", "same_upper", "same_lower", "causal")


@dataclass(frozen=True)
class Case:
    x: Array
    w: Array
    bias: Array
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int

    def convolve(self, mode: str, **kwargs: Any) -> Array:
        return oracle.convolve(
            self.x,
            self.w,
            self.bias,
            strides=self.strides,
            dilations=self.dilations,
            group=self.group,
            mode=mode,
            **kwargs,
        )

    def axes(self) -> list[tuple[int, int, int, int]]:
        return list(
            zip(self.x.shape[2:], self.w.shape[2:], self.strides, self.dilations, strict=True)
        )


@st.composite
def cases(draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2, 3), largest: int = 9) -> Case:
    rank = draw(st.sampled_from(ranks))

    def per_axis(high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(1, high)) for _ in range(rank))

    group, inner, outer = draw(st.tuples(*[st.integers(1, 3)] * 3))
    sizes, kernel = per_axis(largest), per_axis(4 if rank < 3 else 3)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def whole(*shape: int) -> Array:
        return rng.integers(-4, 4, shape, endpoint=True).astype(np.float32)

    x = whole(draw(st.integers(1, 2)), group * inner, *sizes)
    w, bias = whole(group * outer, inner, *kernel), whole(group * outer)
    return Case(x, w, bias, per_axis(4), per_axis(3), group)


def torch_convolve(case: Case, pads: list[tuple[int, int]]) -> Array | None:
    """Pad and convolve without padding; None if no window fits."""
    import torch
    from torch.nn import functional

    if any(
        amounts.window_output(*axis, pair) == 0
        for axis, pair in zip(case.axes(), pads, strict=True)
    ):
        return None
    flat = [amount for pair in reversed(pads) for amount in pair]
    x, w, bias = (torch.from_numpy(a).double() for a in (case.x, case.w, case.bias))
    convolve = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[len(pads)]
    padded = functional.pad(x, flat)
    out = convolve(padded, w, bias, stride=case.strides, dilation=case.dilations, groups=case.group)
    return out.numpy()


def brute_force(case: Case, pads: list[tuple[int, int]], pad_value: float) -> Array:
    padded = np.pad(case.x, [(0, 0), (0, 0), *pads], constant_values=pad_value)
    inner, outer = case.w.shape[1], case.w.shape[0] // case.group
    outputs = [
        amounts.window_output(*axis, pair) for axis, pair in zip(case.axes(), pads, strict=True)
    ]
    result = np.zeros((case.x.shape[0], case.w.shape[0], *outputs))
    for n, m, *place in np.ndindex(*result.shape):
        total = float(case.bias[m])
        for c, *tap in np.ndindex(inner, *case.w.shape[2:]):
            at = [
                o * s + j * d
                for o, s, j, d in zip(place, case.strides, tap, case.dilations, strict=True)
            ]
            value = padded[(n, m // outer * inner + c, *at)]
            total += float(value) * float(case.w[(m, c, *tap)])
        result[(n, m, *place)] = total
    return result


@pytest.mark.parametrize("mode", MODES)
@given(case=cases())
@settings(max_examples=80, deadline=None)
def test_implicit_padding_equals_torch_on_padded_input(mode: str, case: Case) -> None:
    expected = torch_convolve(case, [amounts.FORMULAS[mode](*axis) for axis in case.axes()])
    got = case.convolve(mode)
    if expected is None:
        assert got.size == 0
    else:
        np.testing.assert_array_equal(got, expected)


@given(case=cases(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_explicit_padding_equals_torch(case: Case, data: st.DataObject) -> None:
    pads = [tuple(data.draw(st.tuples(*[st.integers(0, 4)] * 2))) for _ in case.axes()]
    expected = torch_convolve(case, pads)
    got = case.convolve("explicit", pads=pads)
    if expected is None:
        assert got.size == 0
    else:
        np.testing.assert_array_equal(got, expected)


@given(case=cases(ranks=(1, 2), largest=5), value=st.sampled_from([0.0, 2.0, -3.0]))
@settings(max_examples=60, deadline=None)
def test_pad_value_equals_brute_force(case: Case, value: float) -> None:
    pads = [amounts.same_upper(*axis) for axis in case.axes()]
    expected = brute_force(case, pads, value)
    np.testing.assert_array_equal(case.convolve("same_upper", pad_value=value), expected)


def test_same_start_equals_the_formulas_everywhere() -> None:
    for axis in itertools.product(range(1, 20), range(1, 6), range(1, 6), range(1, 4)):
        for lower, formula in ((False, amounts.same_upper), (True, amounts.same_lower)):
            outputs, start = oracle.same_start(*axis, lower=lower)
            pads = formula(*axis)
            assert (outputs, -start) == (amounts.window_output(*axis, pads), pads[0]), axis


def test_negative_pads_crop() -> None:
    x = np.arange(6.0).reshape(1, 1, 6)
    got = oracle.convolve(
        x, np.ones((1, 1, 1)), strides=[1], dilations=[1], mode="explicit", pads=[(-1, -2)]
    )
    assert got.ravel().tolist() == [1.0, 2.0, 3.0]


def test_kernel_larger_than_input_has_no_output() -> None:
    got = oracle.convolve(
        np.ones((1, 1, 2)), np.ones((3, 1, 3)), strides=[1], dilations=[1], mode="valid"
    )
    assert got.shape == (1, 3, 0)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "reflect", "explicit"])
def test_unknown_mode_and_missing_pads_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=mode):
        oracle.convolve(
            np.ones((1, 1, 4)), np.ones((1, 1, 3)), strides=[1], dilations=[1], mode=mode
        )


def test_windows_can_be_reduced_with_another_pad_value() -> None:
    x = -np.arange(1.0, 5.0).reshape(1, 1, 4)
    axis = oracle.axis_windows(4, 3, 2, 1, "same_lower")
    taps = [oracle.gather(x, reads, -np.inf) for reads in oracle.each_tap([axis])]
    assert np.max(taps, axis=0).ravel().tolist() == [-1.0, -2.0]


def test_it_shares_nothing_with_the_product_and_pads_nothing() -> None:
    modules = list(Path(oracle.__file__).parent.glob("*.py"))
    assert len(modules) >= 5
    for module in modules:
        tree = ast.parse(module.read_text(encoding="utf-8"))
        imported = {
            name
            for node in ast.walk(tree)
            for name in (
                [node.module or "." * node.level]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
        }
        ours = {name for name in imported if name.startswith((".", "padaudit"))}
        assert all(name.startswith("padaudit.verification.oracle") for name in ours), module.name
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert "pad" not in attributes, module.name


def test_pads_count_for_explicit_only() -> None:
    x, w = np.arange(1.0, 5.0).reshape(1, 1, 4), np.ones((1, 1, 2))
    placed: dict[str, Any] = {"strides": [1], "dilations": [1], "pads": [(3, 3)]}
    assert oracle.convolve(x, w, mode="valid", **placed).ravel().tolist() == [3, 5, 7]
    assert oracle.convolve(x, w, mode="same_lower", **placed).ravel().tolist() == [1, 3, 5, 7]
    assert oracle.convolve(x, w, mode="causal", **placed).ravel().tolist() == [1, 3, 5, 7]
