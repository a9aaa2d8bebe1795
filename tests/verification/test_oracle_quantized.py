"""The oracle's quantised convolutions against whole-number loops, torch and onnxruntime.

`qlinear_conv` is judged by fractions: its scales are whole or powers of two, so that the value
before rounding is known exactly and halves really occur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch.nn import functional

from padaudit.padding import amounts
from padaudit.verification import oracle

Array = NDArray[Any]
Pads = list[tuple[int, int]]
BYTES = st.sampled_from(["uint8", "int8"])
KINDS = {
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "float32": TensorProto.FLOAT,
}


@dataclass(frozen=True)
class Case:
    x: Array
    x_zero: Array
    w: Array
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int

    @property
    def rank(self) -> int:
        return len(self.strides)

    @property
    def windows(self) -> dict[str, Any]:
        return {"strides": self.strides, "dilations": self.dilations, "group": self.group}

    def axes(self) -> list[tuple[int, int, int, int]]:
        parts = zip(self.x.shape[2:], self.w.shape[2:], self.strides, self.dilations, strict=True)
        return list(parts)

    def sums(self, pads: Pads, w_zeros: Array) -> Array:
        """Sum products of centred whole numbers by loops; the padding holds x_zero."""
        outer = self.w.shape[0] // self.group
        outputs = [amounts.window_output(*a, p) for a, p in zip(self.axes(), pads, strict=True)]
        result = np.zeros((self.x.shape[0], self.w.shape[0], *outputs), dtype=object)
        for n, m, *place in np.ndindex(*result.shape):
            total = 0
            for c, *tap in np.ndindex(*self.w.shape[1:]):
                parts = zip(place, self.strides, tap, self.dilations, pads, strict=True)
                at = [o * s + j * d - before for o, s, j, d, (before, _) in parts]
                inside = all(0 <= i < n for i, n in zip(at, self.x.shape[2:], strict=True))
                channel = m // outer * self.w.shape[1] + c
                read = int(self.x[(n, channel, *at)]) if inside else int(self.x_zero)
                weight = int(self.w[(m, c, *tap)]) - int(w_zeros[m])
                total += (read - int(self.x_zero)) * weight
            result[(n, m, *place)] = total
        return result


@st.composite
def cases(
    draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2), dilation: int = 3, largest: int = 6
) -> Case:
    rank = draw(st.sampled_from(ranks))

    def per_axis(high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(1, high)) for _ in range(rank))

    group, inner, outer = draw(st.tuples(*[st.integers(1, 2)] * 3))
    sizes, kernel = per_axis(largest), per_axis(3)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def integers(dtype: str, *shape: int) -> Array:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)

    x_type, w_type = draw(BYTES), draw(BYTES)
    x = integers(x_type, draw(st.integers(1, 2)), group * inner, *sizes)
    w = integers(w_type, group * outer, inner, *kernel)
    return Case(x, integers(x_type), w, per_axis(4), per_axis(dilation), group)


def zeros_of(data: st.DataObject, case: Case, per_channel: bool) -> Array:
    """Draw zero points of the weights' type, one or one per output channel."""
    limits = np.iinfo(case.w.dtype)
    shape = (case.w.shape[0],) if per_channel else ()
    drawn = [data.draw(st.integers(limits.min, limits.max)) for _ in range(math.prod(shape))]
    return np.asarray(drawn, case.w.dtype).reshape(shape)


def each_channel(value: Array, case: Case) -> Array:
    return np.broadcast_to(value, (case.w.shape[0],))


def drawn_mode(data: st.DataObject, case: Case) -> tuple[str, Pads | None, Pads]:
    """Draw a mode; return it, the pads to pass and the amounts that it means."""
    mode = data.draw(st.sampled_from(["valid", "same_upper", "same_lower", "explicit"]))
    if mode != "explicit":
        return mode, None, [amounts.FORMULAS[mode](*axis) for axis in case.axes()]
    pads = [tuple(data.draw(st.tuples(*[st.integers(0, 3)] * 2))) for _ in case.strides]
    return mode, pads, pads


# --- Sums ---------------------------------------------------------------------------------


@given(case=cases(), per_channel=st.booleans(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_sums_equal_loops(case: Case, per_channel: bool, data: st.DataObject) -> None:
    w_zero = zeros_of(data, case, per_channel)
    mode, pads, meant = drawn_mode(data, case)
    got = oracle.conv_integer(
        case.x, case.w, case.x_zero, w_zero, mode=mode, pads=pads, **case.windows
    )
    expected = case.sums(meant, each_channel(w_zero, case)).astype(np.int32)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, expected)


@given(case=cases(ranks=(1, 2, 3)), mode=st.sampled_from(["same_upper", "same_lower"]))
@settings(max_examples=60, deadline=None)
def test_sums_equal_torch_on_input_padded_with_the_zero_point(case: Case, mode: str) -> None:
    pads = [amounts.FORMULAS[mode](*axis) for axis in case.axes()]
    padded = functional.pad(
        torch.from_numpy(case.x.astype(np.float64)),
        [amount for pair in reversed(pads) for amount in pair],
        value=float(case.x_zero),
    )
    convolve = getattr(functional, f"conv{case.rank}d")
    expected = convolve(
        padded - float(case.x_zero),
        torch.from_numpy(case.w.astype(np.float64) - 3),
        stride=case.strides,
        dilation=case.dilations,
        groups=case.group,
    )
    got = oracle.conv_integer(case.x, case.w, case.x_zero, 3, mode=mode, **case.windows)
    np.testing.assert_array_equal(got, expected.numpy())


def test_the_padding_counts_as_the_zero_point() -> None:
    x, w = np.full((1, 1, 3), 7, np.uint8), np.array([[[1, 10, 100]]], np.uint8)
    placed: dict[str, Any] = {"strides": [1], "dilations": [1], "mode": "same_upper"}
    centred = oracle.conv_integer(x, w, 7, **placed)
    assert centred.ravel().tolist() == [0, 0, 0]
    assert oracle.conv_integer(x, w, **placed).ravel().tolist() == [770, 777, 77]
    assert oracle.conv_integer(x, w, 5, 1, **placed).ravel().tolist() == [216, 216, 18]


def test_sums_beyond_int32_wrap_around() -> None:
    x, w = np.full((1, 40000, 1), 255, np.uint8), np.full((1, 40000, 1), 255, np.uint8)
    got = oracle.conv_integer(x, w, strides=[1], dilations=[1], mode="valid")
    assert got.ravel().tolist() == [40000 * 255 * 255 - 2**32]


# --- Rounded ------------------------------------------------------------------------------


def rounded(value: Fraction, zero: int, dtype: np.dtype[Any]) -> int:
    """Round half to even, shift and saturate."""
    limits = np.iinfo(dtype)
    return min(max(round(value) + zero, int(limits.min)), int(limits.max))


@given(case=cases(), y_type=BYTES, per_channel=st.booleans(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_results_equal_fractions(
    case: Case, y_type: str, per_channel: bool, data: st.DataObject
) -> None:
    w_zero = zeros_of(data, case, per_channel)
    powers = st.sampled_from([0.25, 0.5, 1.0, 2.0])
    channels = case.w.shape[0]
    w_scale = np.array([data.draw(powers) for _ in range(channels if per_channel else 1)])
    x_scale, y_scale = data.draw(powers), data.draw(st.sampled_from([2.0, 64.0, 1024.0]))
    limits = np.iinfo(y_type)
    y_zero = np.asarray(data.draw(st.integers(limits.min, limits.max)), y_type)
    bias = np.array([data.draw(st.integers(-500, 500)) for _ in range(channels)], np.int32)
    bias_or_none = bias if data.draw(st.booleans()) else None
    mode, pads, meant = drawn_mode(data, case)
    got = oracle.qlinear_conv(
        case.x,
        x_scale,
        case.x_zero,
        case.w,
        w_scale if per_channel else w_scale[0],
        w_zero,
        y_scale,
        y_zero,
        bias_or_none,
        mode=mode,
        pads=pads,
        **case.windows,
    )
    sums = case.sums(meant, each_channel(w_zero, case))
    expected = np.zeros(sums.shape, y_type)
    for at in np.ndindex(*sums.shape):
        total = sums[at] + (int(bias[at[1]]) if bias_or_none is not None else 0)
        scale = Fraction(x_scale) * Fraction(w_scale[at[1] % len(w_scale)]) / Fraction(y_scale)
        expected[at] = rounded(total * scale, int(y_zero), expected.dtype)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("dtype", "zero", "halves", "limits"),
    [
        ("int8", 0, [-2, -2, 0, 0, 2, 2], [-128, 127]),
        ("uint8", 3, [1, 1, 3, 3, 5, 5], [0, 255]),
        ("int8", -5, [-7, -7, -5, -5, -3, -3], [-128, 127]),
    ],
)
def test_halves_go_to_the_even_number_and_results_saturate(
    dtype: str, zero: int, halves: list[int], limits: list[int]
) -> None:
    def scaled(values: list[int], scale: float) -> list[int]:
        x, w, y_zero = np.array([[values]], np.int8), np.ones((1, 1, 1)), np.array([zero], dtype)
        y = oracle.qlinear_conv(
            x, scale, 0, w, 1.0, 0, 2.0, y_zero, strides=[1], dilations=[1], mode="valid"
        )
        found: list[int] = y.ravel().tolist()
        return found

    assert scaled([-5, -3, -1, 1, 3, 5], 1.0) == halves
    assert scaled([-128, 127], 8.0) == limits


# --- onnxruntime, where it is right -------------------------------------------------------


def onnxruntime_node(op_type: str, inputs: dict[str, Array], y_type: str, **attrs: Any) -> Array:
    import onnxruntime

    node = helper.make_node(op_type, list(inputs), ["y"], **attrs)
    graph = helper.make_graph(
        [node],
        "quantized",
        [
            helper.make_tensor_value_info(name, KINDS[str(array.dtype)], array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_tensor_value_info("y", KINDS[y_type], None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    result: Array = session.run(None, inputs)[0]
    return result


def small(w: Array, dtype: str) -> Array:
    """Return weights of 6 bits.

    On processors without VNNI, onnxruntime adds two products of bytes in int16, which
    saturates: -109 * 166 - 124 * 233 gave -32768.
    """
    return (w.astype(np.int64) % 64 - (32 if dtype == "int8" else 0)).astype(dtype)


def placed_for_onnxruntime(
    data: st.DataObject, case: Case
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw padding that onnxruntime places right; return it in its terms and the oracle's.

    It refuses auto_pad with a dilation, and starts too late where windows fall 3 short.
    """
    attrs: dict[str, Any] = {
        "strides": case.strides,
        "dilations": case.dilations,
        "group": case.group,
        "kernel_shape": case.w.shape[2:],
    }
    right = max(case.dilations) == 1 and all(
        amounts.same_overhang(*axis) >= -2 for axis in case.axes()
    )
    if right and data.draw(st.booleans()):
        mode = data.draw(st.sampled_from(["same_upper", "same_lower"]))
        return attrs | {"auto_pad": mode.upper()}, {"mode": mode}
    pads: Pads = []
    for size, kernel, _, dilation in case.axes():
        reach = (kernel - 1) * dilation
        before = data.draw(st.integers(0, 3))
        # at least one window fits
        pads.append((before, max(reach + 1 - size - before, 0) + data.draw(st.integers(0, 2))))
    flat = [before for before, _ in pads] + [after for _, after in pads]
    return attrs | {"pads": flat}, {"mode": "explicit", "pads": pads}


@given(case=cases(ranks=(1, 2, 3), dilation=2), data=st.data())
@settings(max_examples=60, deadline=None)
def test_sums_equal_onnxruntime(case: Case, data: st.DataObject) -> None:
    w_zero = zeros_of(data, case, per_channel=False)
    w = small(case.w, str(case.w.dtype))
    attrs, placed = placed_for_onnxruntime(data, case)
    inputs = {"x": case.x, "w": w, "x_zero": case.x_zero, "w_zero": w_zero}
    got = onnxruntime_node("ConvInteger", inputs, "int32", **attrs)
    expected = oracle.conv_integer(case.x, w, case.x_zero, w_zero, **case.windows, **placed)
    np.testing.assert_array_equal(got, expected)


@given(case=cases(ranks=(1, 2, 3), dilation=2), per_channel=st.booleans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_results_equal_onnxruntime(case: Case, per_channel: bool, data: st.DataObject) -> None:
    channels = case.w.shape[0]
    # onnxruntime: int8 data takes int8 weights only, and one zero point for all channels
    w = small(case.w, str(case.w.dtype) if case.x.dtype == np.uint8 else "int8")
    w_zero = np.asarray(data.draw(st.integers(0, 9)), w.dtype)
    scales = [data.draw(st.sampled_from([0.25, 0.5, 1.0])) for _ in range(channels)]
    w_scale = np.array(scales if per_channel else scales[0], np.float32)
    x_scale, y_scale = np.float32(0.5), np.float32(data.draw(st.sampled_from([16.0, 256.0])))
    y_zero = np.asarray(data.draw(st.integers(0, 100)), case.x.dtype)
    bias = np.array([data.draw(st.integers(-500, 500)) for _ in range(channels)], np.int32)
    attrs, placed = placed_for_onnxruntime(data, case)
    inputs = {
        "x": case.x,
        "x_scale": np.asarray(x_scale),
        "x_zero": case.x_zero,
        "w": w,
        "w_scale": w_scale,
        "w_zero": np.full(channels, w_zero) if per_channel else w_zero,
        "y_scale": np.asarray(y_scale),
        "y_zero": y_zero,
        "bias": bias,
    }
    got = onnxruntime_node("QLinearConv", inputs, str(y_zero.dtype), **attrs)
    expected = oracle.qlinear_conv(
        case.x,
        float(x_scale),
        case.x_zero,
        w,
        w_scale,
        w_zero,
        float(y_scale),
        y_zero,
        bias,
        **case.windows,
        **placed,
    )
    np.testing.assert_array_equal(got, expected)
