"""The oracle's transposed convolution against torch, loops, the adjoint and onnxruntime.

Weights, inputs and biases are small whole numbers: all comparisons are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch.nn import functional

from padaudit.verification import oracle

Array = NDArray[Any]
Pads = list[tuple[int, int]]


@dataclass(frozen=True)
class Case:
    x: Array
    w: Array
    bias: Array
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int

    @property
    def rank(self) -> int:
        return len(self.strides)

    def run(self, mode: str, *, biased: bool = True, **kwargs: Any) -> Array:
        return oracle.conv_transpose(
            self.x,
            self.w,
            self.bias if biased else None,
            strides=self.strides,
            dilations=self.dilations,
            group=self.group,
            mode=mode,
            **kwargs,
        )

    def extents(self) -> list[int]:
        kernel = self.w.shape[2:]
        return [(k - 1) * d + 1 for k, d in zip(kernel, self.dilations, strict=True)]

    def full(self) -> list[int]:
        parts = zip(self.x.shape[2:], self.strides, self.extents(), strict=True)
        return [s * (n - 1) + extent for n, s, extent in parts]


@st.composite
def cases(draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2, 3), largest: int = 6) -> Case:
    rank = draw(st.sampled_from(ranks))

    def per_axis(high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(1, high)) for _ in range(rank))

    group, inner, outer = draw(st.tuples(*[st.integers(1, 3)] * 3))
    sizes, kernel = per_axis(largest), per_axis(4 if rank < 3 else 3)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def whole(*shape: int) -> Array:
        return rng.integers(-4, 4, shape, endpoint=True).astype(np.float32)

    x = whole(draw(st.integers(1, 2)), group * inner, *sizes)
    w, bias = whole(group * inner, outer, *kernel), whole(group * outer) + 9
    return Case(x, w, bias, per_axis(5), per_axis(3), group)


def torch_transposed(case: Case, **kwargs: Any) -> Array:
    transposed = getattr(functional, f"conv_transpose{case.rank}d")
    x, w, bias = (torch.from_numpy(a).double() for a in (case.x, case.w, case.bias))
    placed = {"stride": case.strides, "dilation": case.dilations, "groups": case.group}
    result: Array = transposed(x, w, bias, **placed, **kwargs).numpy()
    return result


def cut(case: Case, begins: Sequence[int], sizes: Sequence[int]) -> Array:
    """Take a part of torch's full output; what is behind its end holds only the bias."""
    full = torch_transposed(case)
    missing = [
        max(begin + size - length, 0)
        for begin, size, length in zip(begins, sizes, full.shape[2:], strict=True)
    ]
    extended = np.tile(
        case.bias.astype(np.float64).reshape(1, -1, *(1,) * case.rank),
        (full.shape[0], 1, *(n + more for n, more in zip(full.shape[2:], missing, strict=True))),
    )
    extended[tuple(slice(0, length) for length in full.shape)] = full
    parts = tuple(slice(b, b + size) for b, size in zip(begins, sizes, strict=True))
    taken: Array = extended[(slice(None), slice(None), *parts)]
    return taken


def onnx_begins(case: Case, mode: str, outputs: Sequence[int], extra: Sequence[int]) -> list[int]:
    """Return what ONNX's text on ``output_shape`` crops at the start."""
    begins = []
    for length, more, output in zip(case.full(), extra, outputs, strict=True):
        total = max(length + more - output, 0)
        begins.append(total // 2 if mode == "same_upper" else total - total // 2)
    return begins


@given(case=cases(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_torchs_own_padding_and_output_padding(case: Case, data: st.DataObject) -> None:
    """torch crops alike on both sides, and appends less than a stride or a dilation."""
    extra = [
        data.draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(case.strides, case.dilations, strict=True)
    ]
    crop = [
        data.draw(st.integers(0, (n + e - 1) // 2)) for n, e in zip(case.full(), extra, strict=True)
    ]
    expected = torch_transposed(case, padding=crop, output_padding=extra)
    got = case.run("explicit", pads=[(c, c) for c in crop], output_padding=extra)
    np.testing.assert_array_equal(got, expected)


@given(case=cases(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_unequal_crops_equal_a_part_of_torchs_full_output(case: Case, data: st.DataObject) -> None:
    extra = [data.draw(st.integers(0, 4)) for _ in case.strides]
    pads: Pads = []
    for length, more in zip(case.full(), extra, strict=True):
        before = data.draw(st.integers(0, length + more))
        pads.append((before, data.draw(st.integers(0, length + more - before))))
    sizes = [n + e - sum(pair) for n, e, pair in zip(case.full(), extra, pads, strict=True)]
    expected = cut(case, [before for before, _ in pads], sizes)
    got = case.run("explicit", pads=pads, output_padding=extra)
    np.testing.assert_array_equal(got, expected)


@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_valid_is_torchs_full_output(case: Case) -> None:
    expected = torch_transposed(case)
    np.testing.assert_array_equal(case.run("valid"), expected)
    np.testing.assert_array_equal(case.run("explicit", pads=[(0, 0)] * case.rank), expected)
    # pads count for explicit only
    got = case.run("valid", pads=[(1, 0)] * case.rank)
    np.testing.assert_array_equal(got, expected)
    unbiased = expected - case.bias.reshape(-1, *(1,) * case.rank)
    np.testing.assert_array_equal(case.run("valid", biased=False), unbiased)


@pytest.mark.parametrize("mode", ["same_upper", "same_lower"])
@given(case=cases(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_same_gives_size_times_stride(mode: str, case: Case, data: st.DataObject) -> None:
    extra = [data.draw(st.integers(0, 3)) for _ in case.strides]
    sizes = [n * s for n, s in zip(case.x.shape[2:], case.strides, strict=True)]
    expected = cut(case, onnx_begins(case, mode, sizes, extra), sizes)
    np.testing.assert_array_equal(case.run(mode, output_padding=extra), expected)


@pytest.mark.parametrize("mode", ["valid", "explicit", "same_upper", "same_lower"])
@given(case=cases(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_wanted_output_shape(mode: str, case: Case, data: st.DataObject) -> None:
    extra = [data.draw(st.integers(0, 3)) for _ in case.strides]
    sizes = [data.draw(st.integers(1, n + 4)) for n in case.full()]
    expected = cut(case, onnx_begins(case, mode, sizes, extra), sizes)
    # pads have no meaning beside output_shape
    ignored = [(1, 2)] * case.rank if mode == "explicit" else None
    got = case.run(mode, output_shape=sizes, output_padding=extra, pads=ignored)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["same_upper", "same_lower"])
@given(case=cases(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_it_is_the_adjoint_of_the_convolution(mode: str, case: Case, data: st.DataObject) -> None:
    """<convolve(u), x> = <u, transposed(x)> for every size u that the convolution maps to x's."""
    sizes = [
        data.draw(st.integers((n - 1) * s + 1, n * s))
        for n, s in zip(case.x.shape[2:], case.strides, strict=True)
    ]
    channels = case.w.shape[1] * case.group
    rng = np.random.default_rng(sum(sizes))
    u = rng.integers(-4, 5, (case.x.shape[0], channels, *sizes)).astype(np.float64)
    placed: dict[str, Any] = {
        "strides": case.strides,
        "dilations": case.dilations,
        "group": case.group,
    }
    forward = oracle.convolve(u, case.w, mode=mode, **placed)
    assert forward.shape == case.x.shape
    back = case.run(mode, biased=False, output_shape=sizes)
    assert (forward * case.x).sum() == (u * back).sum()


@given(case=cases(ranks=(1, 2), largest=4), data=st.data())
@settings(max_examples=40, deadline=None)
def test_it_equals_loops(case: Case, data: st.DataObject) -> None:
    pads: Pads = [
        (data.draw(st.integers(0, (n - 1) // 2)), data.draw(st.integers(0, n // 2)))
        for n in case.full()
    ]
    sizes = [n - sum(pair) for n, pair in zip(case.full(), pads, strict=True)]
    inner, outer = case.w.shape[0] // case.group, case.w.shape[1]
    expected = np.zeros((case.x.shape[0], outer * case.group, *sizes))
    expected += case.bias.reshape(-1, *(1,) * case.rank)
    for n, c, *place in np.ndindex(*case.x.shape):
        for m, *tap in np.ndindex(*case.w.shape[1:]):
            parts = zip(place, case.strides, tap, case.dilations, pads, strict=True)
            at = [i * s + j * d - before for i, s, j, d, (before, _) in parts]
            if all(0 <= i < size for i, size in zip(at, sizes, strict=True)):
                product = float(case.x[(n, c, *place)]) * float(case.w[(c, m, *tap)])
                expected[(n, c // inner * outer + m, *at)] += product
    np.testing.assert_array_equal(case.run("explicit", pads=pads), expected)


# --- Single facts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"), [("same_upper", [1, 1, 2, 1]), ("same_lower", [1, 2, 1, 1])]
)
def test_the_odd_element_is_cropped_at_the_end_or_the_start(mode: str, expected: list[int]) -> None:
    x, w = np.array([[[1.0, 1.0]]]), np.array([[[1.0, 1.0, 1.0]]])
    assert oracle.conv_transpose(
        x, w, strides=[2], dilations=[1], mode="valid"
    ).ravel().tolist() == [1, 1, 2, 1, 1]
    got = oracle.conv_transpose(x, w, strides=[2], dilations=[1], mode=mode)
    assert got.ravel().tolist() == expected


def test_a_kernel_smaller_than_the_stride_leaves_the_bias_between_and_behind() -> None:
    x, w = np.array([[[1.0, 2.0]]]), np.array([[[10.0]]])
    got = oracle.conv_transpose(
        x, w, np.array([0.5]), strides=[3], dilations=[1], mode="same_lower"
    )
    assert got.ravel().tolist() == [10.5, 0.5, 0.5, 20.5, 0.5, 0.5]


@pytest.mark.parametrize("mode", ["causal", "SAME_UPPER", "same"])
def test_unknown_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=mode):
        oracle.conv_transpose(
            np.ones((1, 1, 4)), np.ones((1, 1, 3)), strides=[1], dilations=[1], mode=mode
        )


def test_more_than_there_is_can_not_be_cropped() -> None:
    with pytest.raises(ValueError, match="cropped"):
        oracle.conv_transpose(
            np.ones((1, 1, 2)),
            np.ones((1, 1, 3)),
            strides=[1],
            dilations=[1],
            mode="explicit",
            pads=[(3, 2)],
        )


# --- onnxruntime, where it is right -------------------------------------------------------


def onnxruntime_transposed(case: Case, **attrs: Any) -> Array:
    import onnxruntime

    named = {"x": case.x, "w": case.w, "b": case.bias}
    graph = helper.make_graph(
        [
            helper.make_node(
                "ConvTranspose",
                list(named),
                ["y"],
                strides=case.strides,
                dilations=case.dilations,
                group=case.group,
                kernel_shape=case.w.shape[2:],
                **attrs,
            )
        ],
        "transposed",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in named.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    result: Array = session.run(None, named)[0]
    return result


def drawn_extra(case: Case, data: st.DataObject) -> list[int]:
    """Draw output_padding that onnxruntime takes: less than the stride, whatever the dilation."""
    return [data.draw(st.integers(0, s - 1)) for s in case.strides]


@given(case=cases(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_explicit_pads_equal_onnxruntime(case: Case, data: st.DataObject) -> None:
    extra = drawn_extra(case, data)
    pads: Pads = [
        (data.draw(st.integers(0, (n - 1) // 2)), data.draw(st.integers(0, (n - 1) // 2)))
        for n in case.full()
    ]
    flat = [before for before, _ in pads] + [after for _, after in pads]
    got = onnxruntime_transposed(case, pads=flat, output_padding=extra)
    expected = case.run("explicit", pads=pads, output_padding=extra)
    np.testing.assert_array_equal(got, expected)


@given(case=cases(), mode=st.sampled_from(["same_upper", "same_lower"]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_same_equals_onnxruntime_where_the_output_is_long_enough(
    case: Case, mode: str, data: st.DataObject
) -> None:
    extra = drawn_extra(case, data)
    parts = zip(case.extents(), extra, case.strides, strict=True)
    assume(all(extent + more >= s for extent, more, s in parts))
    got = onnxruntime_transposed(case, auto_pad=mode.upper(), output_padding=extra)
    np.testing.assert_array_equal(got, case.run(mode, output_padding=extra))


@given(case=cases(), mode=st.sampled_from(["notset", "same_upper", "same_lower"]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_wanted_output_shape_equals_onnxruntime(
    case: Case, mode: str, data: st.DataObject
) -> None:
    sizes = [data.draw(st.integers(1, n)) for n in case.full()]
    got = onnxruntime_transposed(case, auto_pad=mode.upper(), output_shape=sizes)
    expected = case.run("explicit" if mode == "notset" else mode, output_shape=sizes)
    assert math.prod(got.shape[2:]) == math.prod(sizes)
    np.testing.assert_array_equal(got, expected)
