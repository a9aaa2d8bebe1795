"""Every padded ONNX operator over its whole space of settings, against golden values.

Each example of the property test is one model with one node per operator. Sizes, kernels,
strides (also larger than the kernel), dilations, groups, batches, element types and open axes
are drawn per node; opset and style per model. The golden values come from the gather and scatter
of this file, which share nothing with padaudit.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import padaudit
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.verification.evidence import Status
from padaudit.verification.runner import Job, run

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]

MICROSOFT = "com.microsoft"
LATEST = onnx.defs.onnx_opset_version()
FEEDS = 3
STYLES = ("pad", "attrs", "auto")
FLOATS = ("float32", "float16")
BYTES = ("uint8", "int8")
POOLS = frozenset({"MaxPool", "MaxPool+Indices", "AveragePool", "LpPool", "QLinearAveragePool",
                   "NhwcMaxPool"})  # fmt: skip
CHANNELS_LAST = frozenset({"NhwcMaxPool", "QLinearConv+last", "QLinearAveragePool+last"})


# --- golden values ------------------------------------------------------------------------


def same_pads(size: int, kernel: int, stride: int, dilation: int, mode: str) -> Pair:
    """Return (before, after) of one axis, in elements of the input."""
    windows = -(-size // stride)
    total = max((windows - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    half = total // 2
    return (half, total - half) if mode == "SAME_UPPER" else (total - half, half)


def gather(x: Array, case: Case) -> tuple[Array, Array]:
    """Return the windows of (N, C, *spatial) data, and which of their elements are data.

    Returns
    -------
    ndarray, shape (N, C, *windows, *kernel)
        Elements outside the data repeat its border: the caller masks them.
    ndarray of bool, shape (*windows, *kernel)
    """
    rank = len(case.kernel)
    inside = np.ones((1,) * (2 * rank), bool)
    for axis, size in enumerate(x.shape[2:]):
        kernel, stride, dilation = case.kernel[axis], case.strides[axis], case.dilations[axis]
        before, _ = same_pads(size, kernel, stride, dilation, case.mode)
        starts = np.arange(-(-size // stride)) * stride - before
        index = starts[:, None] + np.arange(kernel)[None, :] * dilation
        x = np.take(x, np.clip(index, 0, size - 1), axis=2 + 2 * axis)
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = index.shape
        inside = inside & ((index >= 0) & (index < size)).reshape(shape)
    places = [2 + 2 * axis for axis in range(rank)] + [3 + 2 * axis for axis in range(rank)]
    return x.transpose(0, 1, *places), inside


def over_kernel(rank: int) -> tuple[int, ...]:
    return tuple(range(-rank, 0))


def golden_conv(x: Array, kernel: Array, bias: Array | None, case: Case, zero: int = 0) -> Array:
    """Return a grouped convolution of data that is padded with ``zero`` (kept as 0)."""
    windows, inside = gather(x.astype(np.float64) - zero, case)
    windows = windows * inside
    rank, width = len(case.kernel), x.shape[1] // case.group
    filters = kernel.shape[0] // case.group
    found = []
    for group in range(case.group):
        part = windows[:, group * width : (group + 1) * width]
        weights = kernel[group * filters : (group + 1) * filters].astype(np.float64)
        axes = (1, *over_kernel(rank))
        summed = np.tensordot(part, weights, (axes, axes))
        found.append(np.moveaxis(summed, -1, 1))
    result = np.concatenate(found, axis=1)
    return result if bias is None else result + bias.reshape(-1, *(1,) * rank)


def golden_max(x: Array, case: Case) -> tuple[Array, Array]:
    """Return maxima, and their places in the flat input (N, C, *spatial); -inf and -1 for none."""
    rank = len(case.kernel)
    windows, inside = gather(x.astype(np.float64), case)
    places = np.arange(x.size).reshape(x.shape)
    if case.attributes.get("storage_order"):
        shape = x.shape
        lead = np.arange(shape[0] * shape[1]).reshape(*shape[:2], 1, 1) * shape[2] * shape[3]
        places = lead + np.arange(shape[2] * shape[3]).reshape(shape[3], shape[2]).T
    index, _ = gather(places, case)
    masked = np.where(inside, windows, -np.inf)
    flat = masked.reshape(*masked.shape[:-rank], -1)
    best = flat.argmax(-1)[..., None]
    chosen = np.take_along_axis(index.reshape(flat.shape), best, -1)[..., 0]
    return flat.max(-1), np.where(np.isfinite(flat.max(-1)), chosen, -1)


def golden_average(x: Array, case: Case) -> Array:
    """Return means: over all elements of a window, or over those that are data (nan for none)."""
    rank = len(case.kernel)
    windows, inside = gather(x.astype(np.float64), case)
    summed = (windows * inside).sum(over_kernel(rank))
    if case.attributes.get("count_include_pad"):
        return summed / math.prod(case.kernel)
    count = inside.sum(over_kernel(rank))
    return np.where(count > 0, summed / np.maximum(count, 1), np.nan)


def golden_lp(x: Array, case: Case) -> Array:
    power = case.attributes["p"]
    windows, inside = gather(np.abs(x.astype(np.float64)), case)
    return ((windows * inside) ** power).sum(over_kernel(len(case.kernel))) ** (1 / power)


def golden_transposed(x: Array, kernel: Array, bias: Array | None, case: Case) -> Array:
    """Return a transposed convolution: scattered whole, then cropped or extended."""
    rank, filters = len(case.kernel), kernel.shape[1]
    extra = case.attributes.get("output_padding", [0] * rank)
    full = [case.full_size(axis, size) + extra[axis] for axis, size in enumerate(x.shape[2:])]
    given = case.attributes.get("output_shape")
    wanted = given or [n * s for n, s in zip(x.shape[2:], case.strides, strict=True)]
    result = np.zeros((x.shape[0], filters * case.group, *np.maximum(full, wanted)))
    width = x.shape[1] // case.group
    for group in range(case.group):
        part = x[:, group * width : (group + 1) * width].astype(np.float64)
        weights = kernel[group * width : (group + 1) * width].astype(np.float64)
        for tap in product(*map(range, case.kernel)):
            steps = zip(tap, case.dilations, case.strides, x.shape[2:], strict=True)
            target = tuple(slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, s, n in steps)
            added = np.einsum("nc...,cm->nm...", part, weights[(..., *tap)])
            result[(slice(None), slice(group * filters, (group + 1) * filters), *target)] += added
    for axis in range(rank):
        total = max(full[axis] - wanted[axis], 0)
        start = total // 2 if case.mode == "SAME_UPPER" else total - total // 2
        result = np.take(result, np.arange(start, start + wanted[axis]), axis=2 + axis)
    return result if bias is None else result + bias.reshape(-1, *(1,) * rank)


# --- cases --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One node.

    Parameters
    ----------
    op : str
        Key of `OPERATORS`.
    kernel, strides, dilations : tuple of int
        The window, per spatial axis.
    mode : str
        ``auto_pad``.
    open_axes : tuple of str
        Per axis ``fixed``, ``open`` (no name) or ``symbol``.
    sizes : tuple of tuple of int
        The spatial sizes of each feed; equal on fixed axes.
    batch : int
        Batch size; declared as a number unless `open_batch`.
    optional : frozenset of str
        Which optional inputs it has.
    """

    op: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    mode: str
    open_axes: tuple[str, ...]
    sizes: tuple[tuple[int, ...], ...]
    batch: int
    open_batch: bool
    group: int
    channels: int
    filters: int
    dtype: str
    optional: frozenset[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> bool:
        """Whether channels stand last in data and result."""
        return self.op in CHANNELS_LAST

    def full_size(self, axis: int, size: int) -> int:
        """Return the size of an uncropped transposed convolution."""
        return (size - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def may_stay(self, opset: int) -> bool:
        """Tell whether ONNX may have no form for it (the README's table)."""
        moving = any(
            kind != "fixed" and stride > 1
            for kind, stride in zip(self.open_axes, self.strides, strict=True)
        )
        counted = self.op == "AveragePool" and "count_include_pad" in self.attributes
        averaged = "AveragePool" in self.op and not counted
        attribute_only = averaged or self.op == "MaxPool+Indices"
        if self.op == "ConvTranspose":
            return "output_shape" in self.attributes and self._appends_a_stride()
        if moving and (opset < 11 or attribute_only):
            return self.op not in POOLS - {"LpPool"} or opset < 10 or self._wide()
        no_pad = attribute_only or (self.op == "NhwcMaxPool" and opset < 11)
        return no_pad and max(self.dilations) > 1 and self._wide()

    def _wide(self) -> bool:
        """Tell whether an amount is not below the kernel, which runtimes refuse in pools."""
        axes = zip(self.kernel, self.strides, self.dilations, strict=True)
        return any(
            max(same_pads(n, k, s, d, self.mode)) >= k
            for axis, (k, s, d) in enumerate(axes)
            for n in ([self.sizes[0][axis]] if self.open_axes[axis] == "fixed" else range(1, s + 1))
        )

    def _appends_a_stride(self) -> bool:
        extra = self.attributes.get("output_padding", [0] * len(self.kernel))
        return any(
            wanted - self.full_size(axis, size) >= self.strides[axis]
            or max(wanted - self.full_size(axis, size), extra[axis]) >= self.strides[axis]
            for axis, (wanted, size) in enumerate(
                zip(self.attributes["output_shape"], self.sizes[0], strict=True)
            )
        )


@dataclass(frozen=True)
class Operator:
    """Where an operator starts, and which settings it takes."""

    op_type: str
    opset: int
    dtypes: Callable[[int], Sequence[str]]
    domain: str = ""
    ranks: tuple[int, ...] = (1, 2, 3)
    dilated: int = 1
    grouped: bool = True


def floats(opset: int) -> Sequence[str]:
    return FLOATS


def max_types(opset: int) -> Sequence[str]:
    more = ("float64",) if opset >= 8 else ()
    return (*FLOATS, *more, *BYTES) if opset >= 12 else (*FLOATS, *more)


def eight_bit(opset: int) -> Sequence[str]:
    return BYTES


def unsigned(opset: int) -> Sequence[str]:
    return ("uint8",)


NEVER = LATEST + 1
OPERATORS: dict[str, Operator] = {
    "Conv": Operator("Conv", 7, floats),
    "ConvTranspose": Operator("ConvTranspose", 7, floats),
    "MaxPool": Operator("MaxPool", 7, max_types, dilated=10, grouped=False),
    "MaxPool+Indices": Operator("MaxPool", 8, max_types, dilated=10, grouped=False),
    "AveragePool": Operator("AveragePool", 7, floats, dilated=19, grouped=False),
    "LpPool": Operator("LpPool", 7, floats, dilated=18, grouped=False),
    "ConvInteger": Operator("ConvInteger", 10, unsigned),
    "QLinearConv": Operator("QLinearConv", 10, eight_bit),
    "QLinearConv+last": Operator("QLinearConv", 10, eight_bit, MICROSOFT),
    "FusedConv": Operator("FusedConv", 7, lambda opset: ("float32",), MICROSOFT),
    "QLinearAveragePool": Operator(
        "QLinearAveragePool", 7, eight_bit, MICROSOFT, dilated=NEVER, grouped=False
    ),
    "QLinearAveragePool+last": Operator(
        "QLinearAveragePool", 7, eight_bit, MICROSOFT, dilated=NEVER, grouped=False
    ),
    "NhwcMaxPool": Operator("NhwcMaxPool", 7, eight_bit, MICROSOFT, grouped=False),
}


@st.composite
def cases(draw: st.DrawFn, op: str, opset: int) -> Case:
    """Draw the settings of one node."""
    operator = OPERATORS[op]
    rank = draw(st.sampled_from(operator.ranks))
    largest = 6 if rank == 3 else 11

    def axes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, strides = axes(1, 3 if rank == 3 else 4), axes(1, 4)
    dilations = axes(1, 3) if opset >= operator.dilated and draw(st.booleans()) else (1,) * rank
    mode = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
    attributes = draw(_attributes(op, opset, rank, strides))
    kinds = ["fixed", "fixed", "open", "symbol"] if "output_shape" not in attributes else ["fixed"]
    open_axes = tuple(draw(st.sampled_from(kinds)) for _ in range(rank))
    sizes = [axes(1, largest)]
    for _ in range(FEEDS - 1):
        others = zip(open_axes, sizes[0], axes(1, largest), strict=True)
        sizes.append(tuple(first if kind == "fixed" else other for kind, first, other in others))
    group = draw(st.sampled_from([1, 2, 3])) if operator.grouped else 1
    case = Case(
        op, kernel, strides, dilations, mode, open_axes, tuple(sizes),
        batch=draw(st.integers(1, 3)),
        open_batch=draw(st.booleans()),
        group=group,
        channels=group * draw(st.integers(1, 2)),
        filters=group * draw(st.integers(1, 2)),
        dtype=draw(st.sampled_from(operator.dtypes(opset))),
        optional=frozenset(name for name in ("bias", "zero", "w_zero") if draw(st.booleans())),
        attributes=attributes,
    )  # fmt: skip
    return case if "output_shape" not in attributes else draw(_with_output_shape(case))


@st.composite
def _attributes(
    draw: st.DrawFn, op: str, opset: int, rank: int, strides: Sequence[int]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if op in POOLS and op != "NhwcMaxPool" and opset >= (18 if op == "LpPool" else 10):
        found |= {"ceil_mode": 1} if draw(st.booleans()) else {}
    if "AveragePool" in op and draw(st.booleans()):
        found["count_include_pad"] = 1
    if op == "LpPool":
        found["p"] = draw(st.integers(1, 3))
    if op == "MaxPool+Indices" and rank == 2 and draw(st.booleans()):
        found["storage_order"] = 1
    if op == "FusedConv":
        found["activation"] = draw(st.sampled_from(["Relu", "LeakyRelu"]))
        found |= {"activation_params": [0.5]} if found["activation"] == "LeakyRelu" else {}
    if op == "ConvTranspose":
        how = draw(st.sampled_from(["plain", "output_padding", "output_shape", "both"]))
        if how in ("output_padding", "both"):
            found["output_padding"] = [draw(st.integers(0, max(s - 1, 0))) for s in strides]
        if how in ("output_shape", "both"):
            found["output_shape"] = [0] * rank
    return found


@st.composite
def _with_output_shape(draw: st.DrawFn, case: Case) -> Case:
    """Draw an output_shape around the full output, with any auto_pad."""
    extra = case.attributes.get("output_padding", [0] * len(case.kernel))
    wanted = []
    for axis, size in enumerate(case.sizes[0]):
        full = case.full_size(axis, size) + extra[axis]
        low = max(1, size, full - 2 * case.kernel[axis])
        wanted.append(draw(st.integers(min(low, full), full + case.strides[axis] - 1)))
    mode = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "NOTSET"]))
    changed = {**case.__dict__, "mode": mode}
    return Case(**{**changed, "attributes": {**case.attributes, "output_shape": wanted}})


# --- nodes and data -----------------------------------------------------------------------


def integers(shape: Sequence[int], low: int, high: int, seed: int) -> Array:
    return np.random.default_rng(seed).integers(low, high + 1, tuple(shape))


ZERO = {"uint8": 7, "int8": -3}
"""Zero points of data; those of weights and results differ."""
W_ZERO = 2
Y_ZERO = 11
Y_SCALE = 2.0
AVERAGE_SCALE = 0.125


def data_of(case: Case, feed: int, seed: int) -> Array:
    """Return data (N, C, *spatial): integers, for max pools distinct, the first channel below 0."""
    shape = (case.batch, case.channels, *case.sizes[feed])
    if case.op.startswith("MaxPool") and case.dtype not in BYTES:
        values = np.random.default_rng(seed).permutation(math.prod(shape)).reshape(shape)
        values[:, 0] -= math.prod(shape)
        return values.astype(case.dtype)
    if "MaxPool" in case.op:
        return _low_bytes(shape, case.dtype, seed, 0 if case.op != "MaxPool+Indices" else 1)
    if case.dtype in BYTES:
        around = ZERO[case.dtype] if "zero" in case.optional or case.op != "ConvInteger" else 4
        return (integers(shape, -4, 4, seed) + around).astype(case.dtype)
    return integers(shape, -4, 4, seed).astype(case.dtype)


def _low_bytes(shape: Sequence[int], dtype: str, seed: int, first: int) -> Array:
    """Return the lowest values of a type in any order, from the ``first`` above the least on.

    A maximum of int8 or uint8 shows what it was padded with only where all data is low.
    """
    values = np.arange(math.prod(shape)) % 200 + np.iinfo(dtype).min + first
    values = np.random.default_rng(seed).permutation(values).reshape(shape)
    values[:, 0] = np.minimum(values[:, 0], np.iinfo(dtype).min + first + 5)
    return values.astype(dtype)


def weights_of(case: Case, seed: int) -> Array | None:
    """Return (M, C / group, *kernel), transposed (C, M / group, *kernel); None for pools."""
    if "Conv" not in case.op:
        return None
    shape = (case.filters, case.channels // case.group, *case.kernel)
    if case.op == "ConvTranspose":
        shape = (case.channels, case.filters // case.group, *case.kernel)
    values = integers(shape, -2, 2, seed + 1)
    if case.dtype not in BYTES:
        return values.astype(case.dtype)
    return (values + (w_zero(case) or 4)).astype(case.dtype)


def bias_of(case: Case, seed: int) -> Array | None:
    if "bias" not in case.optional or case.op == "ConvInteger" or "Conv" not in case.op:
        return None
    return integers((case.filters,), 1, 9, seed + 2) * np.where(np.arange(case.filters) % 2, -1, 1)


def w_zero(case: Case) -> int:
    """Return the zero point of the weights; onnxruntime wants 0 for those of type int8."""
    if case.dtype == "int8":
        return 0
    return W_ZERO if case.op != "ConvInteger" or "w_zero" in case.optional else 0


def zero_of(case: Case) -> int:
    return ZERO[case.dtype] if case.op != "ConvInteger" or "zero" in case.optional else 0


def constants_of(case: Case, seed: int) -> list[Array | None]:
    """Return the inputs behind the data, in the order of the slots; None leaves one out."""
    weights, bias = weights_of(case, seed), bias_of(case, seed)
    one = np.asarray(1.0, np.float32)
    if case.op in ("Conv", "ConvTranspose", "FusedConv"):
        return [weights, None if bias is None else bias.astype(case.dtype)]
    if case.op == "ConvInteger":
        zeros = [np.asarray(zero_of(case), case.dtype) if "zero" in case.optional else None]
        return [weights, *zeros, _byte(w_zero(case), case) if "w_zero" in case.optional else None]
    if case.op.startswith("QLinearConv"):
        whole = None if bias is None else bias.astype(np.int32)
        ahead = [one, _byte(zero_of(case), case), weights, one, _byte(w_zero(case), case)]
        return [*ahead, np.asarray(Y_SCALE, np.float32), _byte(Y_ZERO, case), whole]
    if case.op.startswith("QLinearAveragePool"):
        scale = np.asarray(AVERAGE_SCALE, np.float32)
        return [one, _byte(zero_of(case), case), scale, _byte(Y_ZERO, case)]
    return []


def _byte(value: int, case: Case) -> Array:
    return np.asarray(value, case.dtype)


def golden(case: Case, x: Array, seed: int) -> list[Array]:
    """Return the right outputs, channels first, in float64."""
    weights, bias = weights_of(case, seed), bias_of(case, seed)
    name = case.op.partition("+")[0]
    if name == "MaxPool":
        return list(golden_max(x, case))[: 2 if case.op.endswith("Indices") else 1]
    simple = {
        "NhwcMaxPool": lambda: golden_max(x, case)[0],
        "AveragePool": lambda: golden_average(x, case),
        "LpPool": lambda: golden_lp(x, case),
        "QLinearAveragePool": lambda: _clipped(
            golden_average(x.astype(np.float64) - zero_of(case), case) / AVERAGE_SCALE, case
        ),
    }
    if weights is None:
        return [simple[name]()]
    if name == "ConvTranspose":
        return [golden_transposed(x, weights, bias, case)]
    if case.dtype in BYTES:
        kernel = weights.astype(np.int64) - w_zero(case)
        summed = golden_conv(x, kernel, bias, case, zero_of(case))
        return [summed if name == "ConvInteger" else _clipped(np.rint(summed / Y_SCALE), case)]
    result = golden_conv(x, weights, bias, case)
    if name == "FusedConv":
        slope = case.attributes.get("activation_params", [0.0])[0]
        result = np.where(result < 0, result * slope, result)
    return [result]


def _clipped(value: Array, case: Case) -> Array:
    limits = np.iinfo(case.dtype)
    return np.clip(value + Y_ZERO, limits.min, limits.max)


def tolerance(case: Case) -> tuple[float, float]:
    """Return (relative, absolute): quotients and roots are rounded, everything else is exact."""
    if case.op.startswith("QLinearAveragePool"):
        return 0.0, 0.501
    if case.op in ("AveragePool", "LpPool"):
        return (2e-3 if case.dtype == "float16" else 1e-5), 0.0
    return 0.0, 0.0


def node_of(case: Case, index: int) -> tuple[NodeProto, dict[str, Array]]:
    """Return the node ``n<index>`` and its constants."""
    operator = OPERATORS[case.op]
    tensors = {
        f"c{index}_{slot}": value
        for slot, value in enumerate(constants_of(case, index))
        if value is not None
    }
    names = [f"c{index}_{slot}" for slot in range(len(constants_of(case, index)))]
    inputs = [f"x{index}", *(name if name in tensors else "" for name in names)]
    while not inputs[-1]:
        inputs.pop()
    attributes = dict(case.attributes)
    if case.group > 1:
        attributes["group"] = case.group
    if case.last and case.op != "NhwcMaxPool":
        attributes["channels_last"] = 1
    if max(case.dilations) > 1:
        attributes["dilations"] = case.dilations
    if "Pool" in case.op or index % 2:
        attributes["kernel_shape"] = case.kernel
    outputs = [f"y{index}", f"i{index}"] if case.op == "MaxPool+Indices" else [f"y{index}"]
    node = helper.make_node(
        operator.op_type, inputs, outputs, f"n{index}", domain=operator.domain,
        auto_pad=case.mode, strides=case.strides, **attributes,
    )  # fmt: skip
    return node, tensors


def declared_dims(case: Case, index: int) -> list[int | str | None]:
    """Return the declared shape of a node's data, in its layout."""
    spatial: list[int | str | None] = []
    for axis, (kind, size) in enumerate(zip(case.open_axes, case.sizes[0], strict=True)):
        names: dict[str, int | str | None] = {"fixed": size, "symbol": f"s{index}_{axis}"}
        spatial.append(names.get(kind))
    batch: int | str = f"b{index}" if case.open_batch else case.batch
    return [batch, *spatial, case.channels] if case.last else [batch, case.channels, *spatial]


def model_of(batch: Sequence[Case], opset: int) -> ModelProto:
    """Return one model with a node, an input and its outputs for every case."""
    nodes, inputs, outputs, tensors = [], [], [], {}
    for index, case in enumerate(batch):
        node, constants = node_of(case, index)
        nodes.append(node)
        tensors |= constants
        element = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
        inputs.append(
            helper.make_tensor_value_info(f"x{index}", element, declared_dims(case, index))
        )
        kinds = [TensorProto.INT32 if case.op == "ConvInteger" else element, TensorProto.INT64]
        rank = len(case.kernel) + 2
        outputs += [
            helper.make_tensor_value_info(name, kind, [None] * rank)
            for name, kind in zip(node.output, kinds, strict=False)
        ]
    held = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "space", inputs, outputs, held)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def feeds_of(batch: Sequence[Case]) -> list[dict[str, Array]]:
    """Return the data of every node for every feed, in its layout."""
    return [
        {
            f"x{index}": laid_out(data_of(case, feed, index), case)
            for index, case in enumerate(batch)
        }
        for feed in range(FEEDS)
    ]


def laid_out(x: Array, case: Case) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if case.last else x


# --- what is checked ----------------------------------------------------------------------


@st.composite
def batches(draw: st.DrawFn) -> tuple[int, str, tuple[Case, ...]]:
    """Draw an opset, a style, and a case for every operator that the opset has."""
    opset = draw(st.integers(7, newest_that_runs()))
    style = draw(st.sampled_from(STYLES))
    names = [name for name, operator in OPERATORS.items() if operator.opset <= opset]
    return opset, style, tuple(draw(cases(name, opset)) for name in names)


@cache
def newest_that_runs() -> int:
    """Return the newest opset that the installed onnxruntime loads."""
    node = helper.make_node("Relu", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    models = {
        opset: helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )
        for opset in range(17, LATEST + 1)
    }
    feed = ({"x": np.zeros(1, np.float32)},)
    outcomes = run([Job(proto.SerializeToString(), feed) for proto in models.values()])
    ran = zip(models, outcomes, strict=True)
    return max(opset for opset, outcome in ran if outcome.error is None)


def assert_valid(proto: ModelProto) -> None:
    onnx.checker.check_model(proto)


def kept_nodes(proto: ModelProto, batch: Sequence[Case], opset: int, style: str) -> set[str]:
    """Return the nodes that the plan keeps; each must be one that ONNX may have no form for."""
    read = padaudit.load(proto)
    plan = make_plan(read.document, read.sites, style, Options(style).wishes, read.graph)
    cases_by_name = {f"n{index}": case for index, case in enumerate(batch)}
    assert len(plan.edits) + len(plan.kept) == len(batch)
    for kept in plan.kept:
        assert len(kept.reason) > 10, kept
        case = cases_by_name[kept.site.op.origin.node.name]
        assert case.may_stay(opset), f"kept though it has a form: {kept.reason}\n{case}"
    return {kept.site.op.origin.node.name for kept in plan.kept}


def assert_explicit(proto: ModelProto, kept: set[str]) -> None:
    """No SAME and no output_shape is left outside the nodes that are kept."""
    for node in proto.graph.node:
        left = {item.name: item for item in node.attribute}
        implicit = "auto_pad" in left and left["auto_pad"].s.startswith(b"SAME")
        if node.name not in kept:
            assert not implicit, node
            assert "output_shape" not in left, node


def without(proto: ModelProto, names: set[str]) -> ModelProto:
    """Return a copy without the kept nodes, which onnxruntime may refuse or miscompute."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    gone = {name for node in copy.graph.node if node.name in names for name in node.output}
    for kind in (copy.graph.node, copy.graph.output):
        stale = [item for item in kind if item.name in names | gone]
        for item in stale:
            kind.remove(item)
    return copy


def wrong_outputs(
    batch: Sequence[Case],
    names: Sequence[str],
    runs: Sequence[Sequence[Array]],
) -> list[str]:
    """Return a line for every output that is not golden."""
    found = []
    for feed, values in enumerate(runs):
        got = dict(zip(names, values, strict=True))
        for index, case in enumerate(batch):
            if f"y{index}" not in got:
                continue
            right = golden(case, data_of(case, feed, index), index)
            for name, wanted in zip((f"y{index}", f"i{index}"), right, strict=False):
                seen = np.moveaxis(got[name], -1, 1) if case.last else got[name]
                problem = _difference(seen, wanted, case)
                found += [f"{name}, sizes {case.sizes[feed]}: {problem}\n  {case}"] * bool(problem)
    return found


def in_padding_only(seen: Array, wanted: Array) -> Array:
    """Tell where a window holds no data: a mean or place of nothing is not defined.

    A maximum of nothing is the least value there is, be it infinite or not.
    """
    if seen.dtype.kind == "f":
        least = seen <= np.finfo(seen.dtype).min
    else:
        least = seen == np.iinfo(seen.dtype).min
    no_place = (wanted == -1) & (seen.dtype == np.int64)
    return np.isnan(wanted) | no_place | (np.isneginf(wanted) & least)


def _difference(seen: Array, wanted: Array, case: Case) -> str:
    if seen.shape != wanted.shape:
        return f"shape {seen.shape} instead of {wanted.shape}"
    relative, absolute = tolerance(case)
    close = np.isclose(seen.astype(np.float64), wanted, rtol=relative, atol=absolute)
    if case.op in POOLS or case.last:
        close |= in_padding_only(seen, wanted)
    return "" if close.all() else f"{(~close).sum()} of {close.size} elements differ"


@settings(
    max_examples=16,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(batches())
def test_every_operator_becomes_explicit_and_computes_the_same(
    drawn: tuple[int, str, tuple[Case, ...]],
) -> None:
    opset, style, batch = drawn
    proto = model_of(batch, opset)
    assert_valid(proto)
    kept = kept_nodes(proto, batch, opset, style)
    after = padaudit.explicit(proto, style=style)
    assert_valid(after)
    assert_explicit(after, kept)
    feeds = feeds_of(batch)
    outcome = run([Job(without(after, kept).SerializeToString(), tuple(feeds))])[0]
    assert outcome.outputs is not None, f"opset {opset}, {style}: {outcome.error}"
    wrong = wrong_outputs(batch, outcome.output_names, outcome.outputs)
    assert not wrong, f"opset {opset}, {style}:\n" + "\n".join(wrong)
    with tempfile.TemporaryDirectory() as folder:
        assert_proven(proto, after, Path(folder), style)


def assert_proven(proto: ModelProto, after: ModelProto, folder: Path, style: str) -> None:
    """The rewrite of the file is the same model, and its sites are proven."""
    source, target = folder / "m.onnx", folder / "explicit.onnx"
    source.write_bytes(proto.SerializeToString())
    result = padaudit.rewrite(source, target, style=style, verify="site")
    verdict = result.verification
    assert verdict.status is Status.EQUIVALENT, (verdict.first_difference, verdict.reason)
    assert result.written
    assert onnx.load(target) == after


WIDE = ("Conv", "AveragePool", "LpPool")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("op", WIDE)
def test_double_precision_stays_double(op: str, style: str, data: st.DataObject) -> None:
    """onnxruntime has no such kernels: onnx.reference runs explicit forms of float64."""
    opset = data.draw(st.integers(19, LATEST))
    drawn = data.draw(cases(op, opset))
    case = Case(**{**drawn.__dict__, "dtype": "float64"})
    proto = model_of([case], opset)
    kept = kept_nodes(proto, [case], opset, style)
    after = padaudit.explicit(proto, style=style)
    assert_valid(after)
    assert_explicit(after, kept)
    if kept:
        return
    session = ReferenceEvaluator(after)
    runs = [session.run(None, feed) for feed in feeds_of([case])]
    assert all(values[0].dtype == np.float64 for values in runs)
    wrong = wrong_outputs([case], session.output_names, runs)
    assert not wrong, f"opset {opset}, {style}:\n" + "\n".join(wrong)
