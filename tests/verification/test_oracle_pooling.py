"""The oracle's pools against torch, brute-force loops and, where it is right, onnxruntime.

Values are whole numbers; for averages they are multiples of every possible divisor, so that
all comparisons but those of roots are exact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
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

from padaudit.padding import amounts
from padaudit.verification import oracle

Array = NDArray[Any]
Pads = list[tuple[int, int]]
DIVISOR = 12
"""Windows have at most 4 taps on an axis, so counts are products of 1 to 4."""


@dataclass(frozen=True)
class Pool:
    x: Array
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    def run(self, op: Callable[..., Any], mode: str, **kwargs: Any) -> Any:
        where = {"strides": self.strides, "dilations": self.dilations, "mode": mode}
        return op(self.x, self.kernel, **where, **kwargs)

    def axes(self) -> list[tuple[int, int, int, int]]:
        parts = zip(self.x.shape[2:], self.kernel, self.strides, self.dilations, strict=True)
        return list(parts)

    def formula(self, mode: str) -> Pads:
        return [amounts.FORMULAS[mode](*axis) for axis in self.axes()]

    def fits(self, pads: Pads) -> bool:
        """Tell whether at least one window fits every axis."""
        return all(amounts.window_output(*a, p) for a, p in zip(self.axes(), pads, strict=True))


@st.composite
def pools(
    draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2, 3), dilation: int = 3, largest: int = 9
) -> Pool:
    rank = draw(st.sampled_from(ranks))

    def per_axis(high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(1, high)) for _ in range(rank))

    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *per_axis(largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Few values, so that maxima are often equal; mostly negative, so that a padded 0 shows.
    x = rng.integers(-6, 2, shape, endpoint=True).astype(np.float32) * DIVISOR**rank
    return Pool(x, per_axis(4 if rank < 3 else 3), per_axis(5), per_axis(dilation))


def drawn_pads(data: st.DataObject, pool: Pool, largest: int = 4) -> Pads:
    return [tuple(data.draw(st.tuples(*[st.integers(0, largest)] * 2))) for _ in pool.kernel]


# --- Brute force --------------------------------------------------------------------------


def counted_outputs(axis: tuple[int, ...], pads: tuple[int, int], ceil_mode: bool) -> int:
    """Return ONNX's output size: its formula, less a last window that starts in the end pads."""
    size, kernel, stride, dilation = axis
    space = size + sum(pads) - ((kernel - 1) * dilation + 1)
    if not ceil_mode:
        return max(math.floor(space / stride) + 1, 0)
    outputs = math.ceil(space / stride) + 1
    if (outputs - 1) * stride >= size + pads[0]:
        outputs -= 1
    return max(outputs, 0)


def windows(
    pool: Pool, pads: Pads, ceil_mode: bool
) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Yield each output's place, and what its taps read in order."""
    outputs = [counted_outputs(a, p, ceil_mode) for a, p in zip(pool.axes(), pads, strict=True)]
    for place in np.ndindex(*outputs):
        starts = [o * s - p[0] for o, s, p in zip(place, pool.strides, pads, strict=True)]
        taps = itertools.product(*map(range, pool.kernel))
        yield (
            place,
            [
                tuple(b + j * d for b, j, d in zip(starts, tap, pool.dilations, strict=True))
                for tap in taps
            ],
        )


def looped(
    pool: Pool,
    pads: Pads,
    reduce: Callable[[list[float], int], float],
    ceil_mode: bool = False,
) -> Array:
    """Reduce each window by ``reduce(real elements, number of them and of declared padding)``."""
    spatial = pool.x.shape[2:]
    outputs = [counted_outputs(a, p, ceil_mode) for a, p in zip(pool.axes(), pads, strict=True)]
    result = np.full((*pool.x.shape[:2], *outputs), np.nan)
    for place, reads in windows(pool, pads, ceil_mode):
        real = [at for at in reads if all(0 <= i < n for i, n in zip(at, spatial, strict=True))]
        declared = sum(
            all(-p[0] <= i < n + p[1] for i, n, p in zip(at, spatial, pads, strict=True))
            for at in reads
        )
        for channel in np.ndindex(*pool.x.shape[:2]):
            values = [float(pool.x[channel + at]) for at in real]
            result[channel + place] = reduce(values, declared)
    return result


def mean_of_real(values: list[float], declared: int) -> float:
    return sum(values) / len(values) if values else math.nan


def mean_of_declared(values: list[float], declared: int) -> float:
    return sum(values) / declared if declared else math.nan


def largest(values: list[float], declared: int) -> float:
    return max(values, default=-math.inf)


# --- torch --------------------------------------------------------------------------------


def torch_pool(name: str, rank: int) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(functional, f"{name}_pool{rank}d")
    return found


def torch_max(pool: Pool, pads: Pads) -> tuple[Array, Array]:
    """Pad with -inf and pool without padding; indices are moved to the unpadded input."""
    padded = functional.pad(
        torch.from_numpy(pool.x).double(),
        [amount for pair in reversed(pads) for amount in pair],
        value=-math.inf,
    )
    values, flat = torch_pool("max", pool.rank)(
        padded, pool.kernel, pool.strides, 0, pool.dilations, return_indices=True
    )
    places = np.unravel_index(flat.numpy(), padded.shape[2:])
    moved = [at - before for at, (before, _) in zip(places, pads, strict=True)]
    # A window without an element has a place in the padding.
    empty = np.isinf(values.numpy())
    spatial = pool.x.shape[2:]
    inner = np.ravel_multi_index(tuple(np.where(empty, 0, at) for at in moved), spatial)
    channels = np.arange(math.prod(pool.x.shape[:2])).reshape(*pool.x.shape[:2], *(1,) * pool.rank)
    return values.numpy(), np.where(empty, -1, channels * math.prod(spatial) + inner)


@pytest.mark.parametrize("mode", ["valid", "same_upper", "same_lower"])
@given(pool=pools())
@settings(max_examples=80, deadline=None)
def test_maxima_and_their_places_equal_torch_on_padded_input(mode: str, pool: Pool) -> None:
    values, indices = pool.run(oracle.max_pool, mode)
    pads = pool.formula(mode)
    if not pool.fits(pads):
        assert values.size == indices.size == 0
        return
    expected = torch_max(pool, pads)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(indices, expected[1])
    assert indices.dtype == np.int64


@given(pool=pools(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_explicitly_padded_maxima_equal_torch(pool: Pool, data: st.DataObject) -> None:
    pads = drawn_pads(data, pool)
    values, indices = pool.run(oracle.max_pool, "explicit", pads=pads)
    if not pool.fits(pads):
        assert values.size == indices.size == 0
        return
    expected = torch_max(pool, pads)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(indices, expected[1])


@given(pool=pools(), ceil_mode=st.booleans(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_torchs_own_padding_and_ceil_mode(pool: Pool, ceil_mode: bool, data: st.DataObject) -> None:
    halves = [data.draw(st.integers(0, k // 2)) for k in pool.kernel]
    pads = [(p, p) for p in halves]
    outputs = [counted_outputs(a, p, ceil_mode) for a, p in zip(pool.axes(), pads, strict=True)]
    assume(all(outputs))
    expected, flat = torch_pool("max", pool.rank)(
        torch.from_numpy(pool.x).double(),
        pool.kernel,
        pool.strides,
        halves,
        pool.dilations,
        ceil_mode=ceil_mode,
        return_indices=True,
    )
    values, indices = pool.run(oracle.max_pool, "explicit", pads=pads, ceil_mode=ceil_mode)
    np.testing.assert_array_equal(values, expected.numpy())
    spatial = math.prod(pool.x.shape[2:])
    real = indices >= 0
    np.testing.assert_array_equal((indices % spatial)[real], flat.numpy()[real])


@given(pool=pools(dilation=1), ceil_mode=st.booleans(), included=st.booleans(), data=st.data())
@settings(max_examples=150, deadline=None)
def test_averages_equal_torch(
    pool: Pool, ceil_mode: bool, included: bool, data: st.DataObject
) -> None:
    halves = [data.draw(st.integers(0, k // 2)) for k in pool.kernel]
    pads = [(p, p) for p in halves]
    outputs = [counted_outputs(a, p, ceil_mode) for a, p in zip(pool.axes(), pads, strict=True)]
    assume(all(outputs))
    # torch's 3-D average pool refuses an input that is smaller than the kernel.
    assume(pool.rank < 3 or all(n >= k for n, k, _, _ in pool.axes()))
    expected = torch_pool("avg", pool.rank)(
        torch.from_numpy(pool.x).double(),
        pool.kernel,
        pool.strides,
        halves,
        ceil_mode=ceil_mode,
        count_include_pad=included,
    )
    got = pool.run(
        oracle.average_pool, "explicit", pads=pads, ceil_mode=ceil_mode, count_include_pad=included
    )
    np.testing.assert_array_equal(got, expected.numpy())


# --- Loops --------------------------------------------------------------------------------


@given(pool=pools(ranks=(1, 2), largest=6), ceil_mode=st.booleans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_unequal_pads_equal_loops(pool: Pool, ceil_mode: bool, data: st.DataObject) -> None:
    pads = drawn_pads(data, pool)
    placed: dict[str, Any] = {"pads": pads, "ceil_mode": ceil_mode}
    values, _ = pool.run(oracle.max_pool, "explicit", **placed)
    np.testing.assert_array_equal(values, looped(pool, pads, largest, ceil_mode))
    for included, reduce in ((False, mean_of_real), (True, mean_of_declared)):
        got = pool.run(oracle.average_pool, "explicit", **placed, count_include_pad=included)
        np.testing.assert_array_equal(got, looped(pool, pads, reduce, ceil_mode))


@pytest.mark.parametrize("mode", ["valid", "same_upper", "same_lower"])
@given(pool=pools(ranks=(1, 2), largest=6))
@settings(max_examples=40, deadline=None)
def test_implicitly_padded_averages_equal_loops(mode: str, pool: Pool) -> None:
    pads, taps = pool.formula(mode), math.prod(pool.kernel)
    got = pool.run(oracle.average_pool, mode)
    np.testing.assert_array_equal(got, looped(pool, pads, mean_of_real))
    got = pool.run(oracle.average_pool, mode, count_include_pad=True)
    np.testing.assert_array_equal(got, looped(pool, pads, lambda values, _: sum(values) / taps))


@pytest.mark.parametrize("p", [1, 2, 3])
@given(pool=pools(ranks=(1, 2), largest=6), data=st.data())
@settings(max_examples=40, deadline=None)
def test_norms_equal_loops(p: int, pool: Pool, data: st.DataObject) -> None:
    def norm(values: list[float], declared: int) -> float:
        return float(sum(abs(v) ** p for v in values) ** (1 / p))

    pads = drawn_pads(data, pool)
    for mode, given_pads, amount in (
        ("same_lower", None, pool.formula("same_lower")),
        ("same_upper", None, pool.formula("same_upper")),
        ("explicit", pads, pads),
    ):
        got = pool.run(oracle.lp_pool, mode, pads=given_pads, p=p)
        rtol = 0 if p == 1 else 4 * float(np.finfo(np.float64).eps)
        np.testing.assert_allclose(got, looped(pool, amount, norm), rtol=rtol)
    got = pool.run(oracle.lp_pool, "explicit", pads=pads, p=p, ceil_mode=True)
    np.testing.assert_allclose(got, looped(pool, pads, norm, ceil_mode=True), rtol=1e-15)


@given(pool=pools(dilation=1), p=st.sampled_from([2, 4]))
@settings(max_examples=40, deadline=None)
def test_norms_equal_torch(pool: Pool, p: int) -> None:
    pads = pool.formula("same_upper")
    flat = [amount for pair in reversed(pads) for amount in pair]
    padded = functional.pad(torch.from_numpy(pool.x).double(), flat)
    window = (pool.kernel[0], pool.strides[0]) if pool.rank == 1 else (pool.kernel, pool.strides)
    expected = torch_pool("lp", pool.rank)(padded, float(p), *window)
    got = pool.run(oracle.lp_pool, "same_upper", p=p)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-14)


# --- Single facts -------------------------------------------------------------------------


@given(pool=pools(ranks=(2, 3)), mode=st.sampled_from(["same_upper", "same_lower"]))
@settings(max_examples=60, deadline=None)
def test_column_major_places_are_those_of_the_transposed_input(pool: Pool, mode: str) -> None:
    distinct = np.random.default_rng(pool.x.size).permutation(pool.x.size).reshape(pool.x.shape)
    back = (0, 1, *range(pool.rank + 1, 1, -1))
    turned = Pool(
        distinct.transpose(back), pool.kernel[::-1], pool.strides[::-1], pool.dilations[::-1]
    )
    straight = Pool(distinct, pool.kernel, pool.strides, pool.dilations)
    values, indices = straight.run(oracle.max_pool, mode, storage_order=1)
    expected, places = turned.run(oracle.max_pool, mode)
    np.testing.assert_array_equal(values, expected.transpose(back))
    np.testing.assert_array_equal(indices, places.transpose(back))


@given(pool=pools(), mode=st.sampled_from(["same_upper", "same_lower"]))
@settings(max_examples=60, deadline=None)
def test_places_lead_to_the_maxima(pool: Pool, mode: str) -> None:
    values, indices = pool.run(oracle.max_pool, mode)
    real = indices >= 0
    np.testing.assert_array_equal(pool.x.ravel()[indices[real]], values[real])
    assert np.isneginf(values[~real]).all()


def test_windows_without_an_element() -> None:
    x = np.full((1, 2, 1), -5.0)
    where: dict[str, Any] = {"strides": [1], "dilations": [4], "mode": "explicit", "pads": [(2, 2)]}
    values, indices = oracle.max_pool(x, [2], **where)
    assert values.tolist() == [[[-math.inf], [-math.inf]]]
    assert indices.tolist() == [[[-1], [-1]]]
    assert np.isnan(oracle.average_pool(x, [2], **where)).all()
    assert (oracle.average_pool(x, [2], **where, count_include_pad=True) == 0).all()
    assert (oracle.lp_pool(x, [2], **where) == 0).all()


@pytest.mark.parametrize("mode", ["valid", "same_upper", "same_lower"])
def test_pads_count_for_explicit_only(mode: str) -> None:
    x = np.arange(1.0, 6.0).reshape(1, 1, 5) * DIVISOR
    placed: dict[str, Any] = {"strides": [2], "dilations": [1], "mode": mode}
    tried: list[tuple[Callable[..., Any], dict[str, bool]]] = [
        (oracle.max_pool, {}),
        (oracle.average_pool, {"count_include_pad": True}),
        (oracle.average_pool, {"count_include_pad": True, "ceil_mode": mode == "valid"}),
        (oracle.lp_pool, {}),
    ]
    for op, options in tried:
        with_pads = op(x, [4], **placed, **options, pads=[(2, 3)])
        np.testing.assert_array_equal(with_pads, op(x, [4], **placed, **options))


def test_an_element_of_minus_infinity_has_a_place() -> None:
    x = np.full((1, 1, 3), -math.inf)
    _, indices = oracle.max_pool(x, [2], strides=[1], dilations=[1], mode="same_lower")
    assert indices.ravel().tolist() == [0, 0, 1]


def test_what_ceil_mode_adds_is_not_counted() -> None:
    x = np.full((1, 1, 5), 12.0)
    where: dict[str, Any] = {"strides": [3], "dilations": [1], "mode": "explicit", "pads": [(1, 0)]}
    for ceil_mode, expected in ((False, [8.0]), (True, [8.0, 12.0])):
        got = oracle.average_pool(x, [3], **where, ceil_mode=ceil_mode, count_include_pad=True)
        assert got.ravel().tolist()[: len(expected)] == expected


def test_ceil_mode_counts_windows_as_torch_does() -> None:
    for n, k, s, d in itertools.product(range(1, 7), range(1, 8), range(1, 5), range(1, 3)):
        got = oracle.axis_windows(n, k, s, d, "explicit", (0, 0), ceil_mode=True).outputs
        assert got == counted_outputs((n, k, s, d), (0, 0), ceil_mode=True)
        pool = torch.nn.MaxPool1d(k, s, 0, d, ceil_mode=True)
        if got:
            assert pool(torch.ones(1, 1, n)).shape[-1] == got
        else:
            with pytest.raises(RuntimeError, match="output size"):
                pool(torch.ones(1, 1, n))


@pytest.mark.parametrize("op", [oracle.max_pool, oracle.average_pool, oracle.lp_pool])
def test_unknown_modes_and_ranks_are_refused(op: Callable[..., Any]) -> None:
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ValueError, match="SAME_UPPER"):
        op(x, [2, 2], strides=[1, 1], dilations=[1, 1], mode="SAME_UPPER")
    with pytest.raises(ValueError, match="shorter"):
        op(x, [2], strides=[1], dilations=[1], mode="valid")


# --- onnxruntime, where it is right -------------------------------------------------------


def onnxruntime_pool(
    op_type: str, x: Array, outputs: int = 1, opset: int = 22, **attrs: Any
) -> Any:
    import onnxruntime

    names = ["y", "i"][:outputs]
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x"], names, **attrs)],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [
            helper.make_tensor_value_info(name, kind, None)
            for name, kind in zip(names, (TensorProto.FLOAT, TensorProto.INT64), strict=False)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"x": x.astype(np.float32)})
    return found if outputs > 1 else found[0]


def onnx_pads(pads: Sequence[tuple[int, int]]) -> list[int]:
    return [before for before, _ in pads] + [after for _, after in pads]


@given(pool=pools(dilation=1), mode=st.sampled_from(["same_upper", "same_lower"]))
@settings(max_examples=60, deadline=None)
def test_implicit_padding_equals_onnxruntime(pool: Pool, mode: str) -> None:
    assume(all(amounts.same_overhang(*axis) >= 0 for axis in pool.axes()))
    attrs: dict[str, Any] = {
        "kernel_shape": pool.kernel,
        "strides": pool.strides,
        "auto_pad": mode.upper(),
    }
    values, indices = onnxruntime_pool("MaxPool", pool.x, outputs=2, **attrs)
    expected = pool.run(oracle.max_pool, mode)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(indices, expected[1])
    for included in (0, 1):
        got = onnxruntime_pool("AveragePool", pool.x, count_include_pad=included, **attrs)
        average = pool.run(oracle.average_pool, mode, count_include_pad=bool(included))
        np.testing.assert_array_equal(got, average)
    got = onnxruntime_pool("LpPool", pool.x, p=1, **attrs)
    np.testing.assert_array_equal(got, pool.run(oracle.lp_pool, mode, p=1))


@given(pool=pools(), order=st.sampled_from([0, 1]), ceil=st.booleans(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_explicit_pads_equal_onnxruntime(
    pool: Pool, order: int, ceil: bool, data: st.DataObject
) -> None:
    # onnxruntime refuses pads that are not smaller than the undilated kernel.
    pads = [tuple(data.draw(st.tuples(*[st.integers(0, k - 1)] * 2))) for k in pool.kernel]
    sizes = [counted_outputs(a, p, ceil) for a, p in zip(pool.axes(), pads, strict=True)]
    assume(all(sizes))
    attrs: dict[str, Any] = {
        "kernel_shape": pool.kernel,
        "strides": pool.strides,
        "dilations": pool.dilations,
        "pads": onnx_pads(pads),
        "ceil_mode": int(ceil),
    }
    placed: dict[str, Any] = {"pads": pads, "ceil_mode": ceil}
    expected, places = pool.run(oracle.max_pool, "explicit", **placed, storage_order=order)
    assume((places >= 0).all())
    values, indices = onnxruntime_pool("MaxPool", pool.x, outputs=2, storage_order=order, **attrs)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(indices, places)
    for included in (0, 1):
        got = onnxruntime_pool("AveragePool", pool.x, count_include_pad=included, **attrs)
        average = pool.run(
            oracle.average_pool, "explicit", **placed, count_include_pad=bool(included)
        )
        np.testing.assert_array_equal(got, average)
    got = onnxruntime_pool("LpPool", pool.x, p=1, **attrs)
    np.testing.assert_array_equal(got, pool.run(oracle.lp_pool, "explicit", p=1, **placed))
