"""What a case of the corpus is, and the parts that its models are built of.

The cases stand in ``cases_*.py``; every model is built in code, with integer-valued weights, and
comes with inputs and with what they give, computed by `golden`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import golden
import numpy as np
import pytest
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)
from onnx.defs import onnx_opset_version

Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]
Dims = Sequence[int | str | None] | None
FLOAT = TensorProto.FLOAT
LATEST = int(onnx_opset_version())


@dataclass(frozen=True)
class Run:
    """One set of inputs, and the outputs that they have to give (None: any value)."""

    feeds: Feeds
    outputs: Sequence[Array | None]


@dataclass(frozen=True)
class Built:
    """A model and what it computes."""

    model: ModelProto
    runs: Sequence[Run] = ()


@dataclass(frozen=True)
class Case:
    """One model of the corpus and what a rewrite has to make of it.

    Parameters
    ----------
    id : str
        Its name in pytest.
    build : callable
        Returns the model and its runs.
    adds : (int, int), optional
        How many Pad nodes style "pad" and style "attrs" add; None: not looked at.
    kept : Mapping
        Site id to a part of the reason, for every site that has to stay implicit.
    amounts : Mapping
        Site id to the (before, after) pairs that the plan has to name.
    tolerance : float
        Relative; 0 for integer-valued results.
    runtime : str
        ``onnxruntime``, ``reference`` (onnx's evaluator, where onnxruntime has no kernel or
        refuses two nodes of one name) or ``none``.
    options : Mapping
        Keywords of `padaudit.rewrite`.
    foreign : bool
        Whether nodes of unknown domains have to be taken out before the model can run.
    bug : str
        What padaudit does not do rightly yet.
    """

    id: str
    build: Callable[[], Built]
    adds: tuple[int, int] | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    amounts: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0
    runtime: str = "onnxruntime"
    options: Mapping[str, Any] = field(default_factory=dict)
    foreign: bool = False
    bug: str = ""

    @property
    def marks(self) -> list[Any]:
        """What pytest has to know of it."""
        return [pytest.mark.xfail(reason=self.bug, strict=True)] if self.bug else []


# --- data ---------------------------------------------------------------------------------


def ints(shape: Sequence[int], seed: int = 0, dtype: Any = np.float32) -> Array:
    """Return small integers; unsigned types get 0 to 8, others -4 to 4."""
    low = 0 if np.dtype(dtype).kind == "u" else -4
    return np.random.default_rng(seed + 17).integers(low, low + 9, tuple(shape)).astype(dtype)


def distinct(shape: Sequence[int], seed: int = 0, dtype: Any = np.float32) -> Array:
    """Return unequal integers, all below zero where the type has a sign: no maximum is shared."""
    count = int(np.prod(shape))
    values = np.random.default_rng(seed + 5).permutation(count)
    shift = 0 if np.dtype(dtype).kind == "u" else count + 3
    return (values - shift).reshape(tuple(shape)).astype(dtype)


def wide(shape: Sequence[int], seed: int = 0, dtype: Any = np.uint8) -> Array:
    """Return values over the whole range of an 8-bit type."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed + 3).integers(
        limits.min, limits.max + 1, tuple(shape), dtype=dtype
    )


# --- protobuf -----------------------------------------------------------------------------


def tensor(name: str, values: Any, dtype: Any = None) -> TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def node(op_type: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> NodeProto:
    """Return a node; names of tensors are separated by blanks, ``-`` is one left out."""
    given = ["" if part == "-" else part for part in inputs.split()]
    return helper.make_node(op_type, given, outputs.split(), name, **attributes)


def value(name: str, dims: Dims, dtype: int = FLOAT) -> Any:
    """Return a graph input or output; dims None is a tensor of unknown rank."""
    return helper.make_tensor_value_info(name, dtype, dims)


def body(
    name: str,
    nodes: Sequence[NodeProto],
    outputs: Sequence[Any],
    inputs: Sequence[Any] = (),
    initializers: Sequence[TensorProto] = (),
) -> GraphProto:
    """Return a body of an If, Loop or Scan."""
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(initializers))


def function(
    name: str,
    inputs: str,
    outputs: str,
    nodes: Sequence[NodeProto],
    *,
    attributes: Sequence[str] = (),
    opset: int = 17,
    domain: str = "local",
) -> Any:
    """Return a local function; it may call others of its domain."""
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(domain, 1)]
    return helper.make_function(
        domain, name, inputs.split(), outputs.split(), list(nodes), imports, list(attributes)
    )


def referring(made: NodeProto, attribute: str, parameter: str, kind: int) -> NodeProto:
    """Let an attribute of a function's node come from the call."""
    item = made.attribute.add()
    item.name, item.ref_attr_name, item.type = attribute, parameter, kind  # type: ignore[assignment]
    return made


INTS, STRING = AttributeProto.INTS, AttributeProto.STRING


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Any],
    initializers: Sequence[TensorProto] = (),
    outputs: Sequence[str] | Mapping[str, Any] = ("y",),
    *,
    opset: int = 17,
    ir: int = 8,
    domains: Sequence[str] = (),
    functions: Sequence[Any] = (),
) -> ModelProto:
    """Return a model.

    ``inputs`` and ``outputs`` give dims, or a pair (dims, element type). Below ir_version 4 all
    initializers become inputs too.
    """
    given = [_typed(name, item) for name, item in inputs.items()]
    if ir < 4:
        given += [value(item.name, item.dims, item.data_type) for item in initializers]
    named = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs)
    results = [_typed(name, item) for name, item in named.items()]
    graph = helper.make_graph(list(nodes), "corpus", given, results, list(initializers))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(
        graph,
        opset_imports=imports,
        ir_version=ir,
        functions=list(functions),
        producer_name="corpus",
    )


def _typed(name: str, item: Any) -> Any:
    if isinstance(item, tuple) and len(item) == 2 and not isinstance(item[0], int | str):
        return value(name, *item)
    return value(name, item)


def element(dtype: Any) -> int:
    """Return ONNX's number of a numpy type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


# --- models of one operator ---------------------------------------------------------------


def conv_built(
    sizes: Sequence[int | str | None],
    kernel: Sequence[int],
    *others: Sequence[int],
    channels: int = 2,
    filters: int = 4,
    group: int = 1,
    batch: int | str | None = 1,
    opset: int = 17,
    ir: int = 8,
    dtype: Any = np.float32,
    mode: str = "SAME_UPPER",
    bias: bool = True,
    declared: Dims = (),
    runs: bool = True,
    **attributes: Any,
) -> Built:
    """Return one Conv named ``conv``; ``others`` are the sizes to run it with, if open."""
    weight = ints((filters, channels // group, *kernel), 1, dtype)
    offset = ints((filters,), 2, dtype) if bias else None
    names = "x w b" if bias else "x w"
    made = node("Conv", names, "y", "conv", auto_pad=mode, **attributes)
    if group > 1:
        made.attribute.append(helper.make_attribute("group", group))
    given = [tensor("w", weight)] + ([tensor("b", offset)] if bias else [])
    kind = element(dtype)
    dims = (batch, channels, *sizes) if declared == () else declared
    proto = model([made], {"x": (dims, kind)}, given, {"y": (None, kind)}, opset=opset, ir=ir)
    how = {key: attributes[key] for key in ("strides", "dilations") if key in attributes}
    made_runs = []
    for number, size in enumerate(others or [sizes]) if runs else []:
        count = batch if isinstance(batch, int) else 1 + number % 3
        data = ints((count, channels, *size), 3 + number, dtype)  # type: ignore[misc]
        result = golden.conv(data, weight, offset, group=group, mode=mode, **how)
        made_runs.append(Run({"x": data}, [result]))
    return Built(proto, made_runs)


Rule = Callable[[Array], Sequence[Array]]


def pool_built(
    op_type: str,
    sizes: Sequence[int | str | None],
    kernel: Sequence[int],
    rule: Rule,
    *others: Sequence[int],
    channels: int = 2,
    opset: int = 17,
    ir: int = 8,
    dtype: Any = np.float32,
    outputs: str = "y",
    data: Callable[..., Array] = distinct,
    mode: str = "SAME_UPPER",
    **attributes: Any,
) -> Built:
    """Return one pool named ``pool``; ``rule`` maps its input to its outputs."""
    made = node(op_type, "x", outputs, "pool", kernel_shape=kernel, auto_pad=mode, **attributes)
    kinds = [(None, element(dtype)), (None, TensorProto.INT64)]
    results = dict(zip(outputs.split(), kinds, strict=False))
    proto = model(
        [made], {"x": ((1, channels, *sizes), kinds[0][1])}, (), results, opset=opset, ir=ir
    )
    made_runs = []
    for number, size in enumerate(others or [sizes]):
        feed = data((1, channels, *size), number, dtype)
        made_runs.append(Run({"x": feed}, rule(feed)))
    return Built(proto, made_runs)
