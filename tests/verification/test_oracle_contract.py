"""Every operator of the catalogue has an oracle, and every oracle equals torch.

Torch pads (``F.pad``) and applies the operator without padding; the oracle reads by index. Whole
numbers make all of it exact but quotients and roots.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import Family
from padaudit.padding.amounts import FORMULAS, same_output, transposed_crop
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import load
from padaudit.rules.load import op_index
from padaudit.verification import oracle
from padaudit.verification.keras_sites import keras_kit
from padaudit.verification.kits import kit_of

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import test_keras_mutants
from keras_configs import write
from mutant_space import OPERATORS, rewritten, scenarios

Array = np.ndarray[Any, Any]
Tensor = torch.Tensor
ORACLES = (
    "convolve", "conv_transpose", "max_pool", "average_pool", "lp_pool", "conv_integer",
    "qlinear_conv",
)  # fmt: skip


# --- which operators have which oracle ----------------------------------------------------


def _spied(name: str, real: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    def call(*given: Any, **how: Any) -> Any:
        names.append(name)
        return real(*given, **how)

    return call


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The oracles that are called, in order."""
    names: list[str] = []
    for name in ORACLES:
        monkeypatch.setattr(oracle, name, _spied(name, getattr(oracle, name), names))
    return names


OF_ONNX = {
    "Conv": "convolve", "FusedConv": "convolve", "ConvTranspose": "conv_transpose",
    "MaxPool": "max_pool", "NhwcMaxPool": "max_pool", "AveragePool": "average_pool",
    "QLinearAveragePool": "average_pool", "LpPool": "lp_pool", "ConvInteger": "conv_integer",
    "QLinearConv": "qlinear_conv",
}  # fmt: skip


def test_every_onnx_operator_has_an_oracle(called: list[str]) -> None:
    found: dict[tuple[str, str], str] = {}
    for scenario in scenarios():
        operator = OPERATORS[scenario.case.op]
        key = operator.domain, operator.op_type
        made = rewritten(scenario) if key not in found else None
        if made is not None:
            edit = made.plan.edits[0]
            assert edit.site.window is not None
            kit = kit_of(edit, edit.site.window, made.original.graph)
            called.clear()
            shape = (1, kit.channels, *(size or 9 for size in scenario.case.sizes[-1]))
            kit.expected(kit.make(shape, 1))
            (found[key],) = set(called)
    listed = {key for key, (table, _) in op_index().items() if table.framework == "onnx"}
    assert {key: OF_ONNX[key[1]] for key in listed} == found


OF_KERAS = {
    Family.CONV: "convolve", Family.CONV_LSTM: "convolve", Family.MAX_POOL: "max_pool",
    Family.AVG_POOL: "average_pool", Family.TRANSPOSED_CONV: "conv_transpose",
}  # fmt: skip


def test_every_keras_family_has_an_oracle(called: list[str], tmp_path: Path) -> None:
    """What is proven of a Keras layer follows from its family."""
    found: dict[Family, str] = {}
    for index, scenario in enumerate(test_keras_mutants.SCENARIOS.values()):
        source = write(tmp_path / f"{index}{scenario.suffix}", scenario.config)
        options = Options(open_sizes=scenario.open_sizes)
        read = load(source, InputShapes())
        plan = make_plan(read.document, read.sites, "pad", options.wishes, read.graph)
        for edit in plan.edits:
            assert edit.site.window is not None
            kit = keras_kit(edit, edit.site.window)
            called.clear()
            kit.expected(kit.make((1, kit.channels, *[9] * edit.site.window.rank), 1))
            (found[edit.site.family],) = set(called)
    listed = {table.family for table, _ in op_index().values() if table.framework == "keras"}
    assert {family: OF_KERAS[family] for family in listed} == found


# --- what torch says ----------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """One operator's window, and data for it."""

    x: Array
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    filters: int
    mode: str
    seed: int

    @property
    def how(self) -> dict[str, Any]:
        return {"strides": self.strides, "dilations": self.dilations, "mode": self.mode}

    @property
    def pads(self) -> list[tuple[int, int]]:
        axes = zip(self.x.shape[2:], self.kernel, self.strides, self.dilations, strict=True)
        return [FORMULAS[self.mode](*axis) for axis in axes]

    def whole(self, *shape: int, low: int = -4, high: int = 4) -> Array:
        return np.random.default_rng(self.seed).integers(low, high + 1, shape).astype(np.float64)

    def padded(self, x: Array, value: float = 0.0) -> Tensor:
        """Pad, and drop what the last window does not reach, where it is needed."""
        flat = [amount for pair in reversed(self.pads) for amount in pair]
        return functional.pad(torch.from_numpy(x).double(), flat, value=value)

    def convolved(self, x: Tensor, w: Array, group: int) -> Tensor:
        convolve: Callable[..., Tensor] = getattr(functional, f"conv{len(self.kernel)}d")
        how = {"stride": self.strides, "dilation": self.dilations, "groups": group}
        return convolve(x, torch.from_numpy(w).double(), **how)

    def summed(self, x: Tensor) -> Tensor:
        """Sum the windows of every channel."""
        channels = self.x.shape[1]
        return self.convolved(x, np.ones((channels, 1, *self.kernel)), channels)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Draw 1-D to 3-D windows: even kernels, strides above the kernel, unequal on all axes."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))

    def per_axis(high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(1, high)) for _ in range(rank))

    group = draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 2)), group * draw(st.integers(1, 2)), *per_axis(8))
    seed = draw(st.integers(0, 2**31))
    x = np.random.default_rng(seed).integers(-6, 4, shape).astype(np.float64)
    return Window(
        x,
        per_axis(4 if rank < 3 else 3),
        per_axis(5),
        per_axis(3),
        group,
        group * draw(st.integers(1, 2)),
        draw(st.sampled_from(["same_upper", "same_lower"])),
        seed,
    )


def judge(case: Window, name: str) -> tuple[Array, Array]:
    """Return what an oracle gives, and what torch does."""
    kernel = case.whole(case.filters, case.x.shape[1] // case.group, *case.kernel)
    grouped = {**case.how, "group": case.group}
    if name == "convolve":
        bias = case.whole(case.filters)
        right = case.convolved(case.padded(case.x), kernel, case.group).numpy()
        return oracle.convolve(case.x, kernel, bias, **grouped), right + _column(bias, case)
    if name == "conv_integer":
        ours = oracle.conv_integer(case.x + 6, kernel + 9, 3, 5, **grouped)
        return ours, case.convolved(case.padded(case.x + 6, 3) - 3, kernel + 4, case.group).numpy()
    if name == "qlinear_conv":
        zero, bias = np.asarray(11, np.uint8), case.whole(case.filters, low=-99, high=99)
        ours = oracle.qlinear_conv(
            case.x + 6, 0.5, 3, kernel + 9, 0.25, 5, 2.0, zero, bias.astype(np.int32), **grouped
        )
        summed = case.convolved(case.padded(case.x + 6, 3) - 3, kernel + 4, case.group)
        scaled = (summed + torch.from_numpy(_column(bias, case))) * (0.5 * 0.25 / 2.0)
        return ours, torch.clip(torch.round(scaled) + 11, 0, 255).numpy()
    if name == "conv_transpose":
        return _transposed(case)
    return _pooled(case, name)


def _pooled(case: Window, name: str) -> tuple[Array, Array]:
    if name == "max_pool":
        pool: Callable[..., Tensor] = getattr(functional, f"max_pool{len(case.kernel)}d")
        padded = case.padded(case.x, -math.inf)
        right = pool(padded, case.kernel, case.strides, 0, case.dilations).numpy()
        return oracle.max_pool(case.x, case.kernel, **case.how)[0], right
    if name == "average_pool":
        counted = bool(case.seed % 2)
        ours = oracle.average_pool(case.x, case.kernel, **case.how, count_include_pad=counted)
        ones = np.ones_like(case.x)
        count = case.summed(case.padded(ones, float(counted)))
        return ours, (case.summed(case.padded(case.x)) / count).numpy()
    power = 1 + case.seed % 3
    ours = oracle.lp_pool(case.x, case.kernel, **case.how, p=power)
    return ours, (case.summed(case.padded(np.abs(case.x) ** power)) ** (1 / power)).numpy()


def _transposed(case: Window) -> tuple[Array, Array]:
    """Crop torch's full output, or append what is missing, to n * stride elements."""
    kernel = case.whole(case.x.shape[1], case.filters // case.group, *case.kernel)
    bias = case.whole(case.filters)
    ours = oracle.conv_transpose(case.x, kernel, bias, **case.how, group=case.group)
    transposed: Callable[..., Tensor] = getattr(functional, f"conv_transpose{len(case.kernel)}d")
    how = {"stride": case.strides, "dilation": case.dilations, "groups": case.group}
    full = transposed(torch.from_numpy(case.x), torch.from_numpy(kernel), **how)
    flat: list[int] = []
    for size, n, stride in zip(full.shape[2:], case.x.shape[2:], case.strides, strict=True):
        (before, after), more = transposed_crop(size, n * stride, case.mode == "same_lower")
        flat = [-before, more - after, *flat]
    return ours, functional.pad(full, flat).numpy() + _column(bias, case)


def _column(bias: Array, case: Window) -> Array:
    return bias.reshape(-1, *[1] * len(case.kernel))


def assert_equal(ours: Array, right: Array, sizes: Sequence[int], exact: bool) -> None:
    assert list(ours.shape[2:]) == list(sizes)
    # Where padding is clamped, torch has windows behind the last one.
    kept = right[np.index_exp[:, :] + tuple(slice(size) for size in sizes)]
    nothing = ~np.isfinite(kept)
    assert np.array_equal(nothing, ~np.isfinite(ours))
    near = np.allclose(ours[~nothing], kept[~nothing], rtol=0 if exact else 1e-12, atol=0)
    assert near


@pytest.mark.parametrize("name", ORACLES)
@given(case=windows())
@settings(max_examples=50, deadline=None)
def test_every_oracle_equals_torch(name: str, case: Window) -> None:
    ours, right = judge(case, name)
    pairs = zip(case.x.shape[2:], case.strides, strict=True)
    sizes = [same_output(n, s) if name != "conv_transpose" else n * s for n, s in pairs]
    assert_equal(ours, right, sizes, name not in ("average_pool", "lp_pool"))
