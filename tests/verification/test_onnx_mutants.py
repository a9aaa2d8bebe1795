"""A rewrite that is wrong by one thing is never proven, whatever the operator and the strategy.

Each scenario is one operator with implicit padding. It is rewritten and proven; then its written
file is changed by one thing, and the proof must not say "equivalent". What makes no difference,
because no window reaches it or because the value can't win, is listed as such in `HARMLESS`,
and must be proven.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import load
from padaudit.verification import site_level
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.proof import prove_rewrite

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_runs import run_here

Array = np.ndarray[Any, Any]
Mutation = Callable[[ModelProto], None]
Dims = tuple[int | str | None, ...]

MICROSOFT = "com.microsoft"
SIZES: Dims = (16, 14)
OPEN: Dims = ("H", "W")
WINDOW: dict[str, Any] = {"kernel_shape": [5, 7], "strides": [2, 3]}
"""On `SIZES` the amounts are (1, 2) and (2, 3): unequal on both sides and on both axes."""
SPARSE: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [4, 5]}
"""Smaller than its strides: amounts are clamped at 0 at most sizes."""
STEPS: dict[str, Any] = {"kernel_shape": [4, 6], "strides": [3, 4]}
"""At open sizes the start varies on both axes; the most at either end is (1, 2) and (2, 3)."""
UPPER = {"auto_pad": "SAME_UPPER"}
LOWER = {"auto_pad": "SAME_LOWER"}


# --- models -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """An operator, how it is rewritten, and what is changed afterwards.

    Parameters
    ----------
    op_type : str
        With its domain before a colon, if it has one.
    strategy : str
        The strategy that the plan must choose.
    mutants : Mapping of str to Mutation
        What is changed.
    attributes : Mapping
        Of the node ``target``.
    sizes : tuple
        Spatial sizes of the data.
    constants : tuple of ndarray or None
        The inputs behind the data; None leaves one out.
    """

    op_type: str
    strategy: str
    mutants: Mapping[str, Mutation]
    attributes: Mapping[str, Any]
    style: str = "pad"
    sizes: Dims = SIZES
    constants: tuple[Any, ...] = ()
    dtype: str = "float32"
    outputs: tuple[str, ...] = ("y",)
    opset: int = 21
    ahead: tuple[int, ...] = ()
    hoist: str | None = None
    channels_last: bool = False


def kernel(*shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(3).integers(1, 5, shape).astype(dtype)


def model_of(scenario: Scenario) -> ModelProto:
    """Return the model of a scenario, with a Pad ahead of the operator if it has one."""
    domain, _, op_type = scenario.op_type.rpartition(":")
    tensors = {
        f"c{slot}": value for slot, value in enumerate(scenario.constants) if value is not None
    }
    source, nodes = "x", []
    if scenario.ahead:
        tensors |= {"amounts": np.asarray(scenario.ahead, np.int64), "zero": np.float32(0)}
        nodes = [helper.make_node("Pad", ["x", "amounts", "zero"], ["padded"], "ahead")]
        source = "padded"
    names = [f"c{slot}" if f"c{slot}" in tensors else "" for slot in range(len(scenario.constants))]
    node = helper.make_node(
        op_type, [source, *names], scenario.outputs, "target", domain=domain, **scenario.attributes
    )
    element = helper.np_dtype_to_tensor_dtype(np.dtype(scenario.dtype))
    dims = (1, *scenario.sizes, 2) if scenario.channels_last else (1, 2, *scenario.sizes)
    integer = {"i": TensorProto.INT64}
    result = TensorProto.INT32 if op_type == "ConvInteger" else element
    graph = helper.make_graph(
        [*nodes, node],
        "g",
        [helper.make_tensor_value_info("x", element, dims)],
        [
            helper.make_tensor_value_info(name, integer.get(name, result), None)
            for name in scenario.outputs
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    imports = [helper.make_opsetid("", scenario.opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def prove(scenario: Scenario, folder: Path, mutate: Mutation | None) -> Verification:
    """Rewrite a scenario, change the result, write it, and prove it."""
    source, written = folder / "m.onnx", folder / "written.onnx"
    source.write_bytes(model_of(scenario).SerializeToString())
    options = Options(style=scenario.style, verify="site", hoist=scenario.hoist)
    read = load(source, InputShapes())
    plan = make_plan(read.document, read.sites, scenario.style, options.wishes, read.graph)
    assert [edit.strategy for edit in plan.edits] == [scenario.strategy]
    result: ModelProto = apply_plan(read.document, plan, read.graph).document.model
    if mutate:
        before = result.SerializeToString(deterministic=True)
        mutate(result)
        assert result.SerializeToString(deterministic=True) != before, "the mutant is no mutant"
    written.write_bytes(result.SerializeToString())
    return prove_rewrite(read, written, plan, options)


# --- mutations ----------------------------------------------------------------------------


def node(proto: ModelProto, name: str) -> NodeProto:
    return next(item for item in proto.graph.node if item.name == name)


def target_pad(proto: ModelProto) -> NodeProto:
    (pad,) = [item for item in proto.graph.node if item.op_type == "Pad"]
    return pad


def constant_of(proto: ModelProto, name: str) -> Array:
    tensor = next(item for item in proto.graph.initializer if item.name == name)
    return numpy_helper.to_array(tensor).copy()


def set_constant(proto: ModelProto, name: str, value: Any) -> None:
    tensor = next(item for item in proto.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def set_attribute(name: str, value: Any, on: str = "target") -> Mutation:
    """Return a mutation that writes an attribute; None removes it."""

    def mutate(proto: ModelProto) -> None:
        changed = node(proto, on)
        kept = [item for item in changed.attribute if item.name != name]
        del changed.attribute[:]
        changed.attribute.extend(kept)
        if value is not None:
            changed.attribute.append(helper.make_attribute(name, value))

    return mutate


def attribute_ints(proto: ModelProto, name: str) -> list[int]:
    found = [item for item in node(proto, "target").attribute if item.name == name]
    return list(found[0].ints) if found else [0, 0] * (2 if name == "pads" else 1)


def both(*mutations: Mutation) -> Mutation:
    def mutate(proto: ModelProto) -> None:
        for change in mutations:
            change(proto)

    return mutate


Change = Callable[[list[int]], list[int]]


def moved(**by: int) -> Change:
    """Return a change of [top, left, bottom, right]."""
    places = ["top", "left", "bottom", "right"]

    def change(pads: list[int]) -> list[int]:
        return [value + by.get(place, 0) for value, place in zip(pads, places, strict=True)]

    return change


AMOUNTS: dict[str, Change] = {
    "one more at the top": moved(top=1),
    "one less at the top": moved(top=-1),
    "one more at the bottom": moved(bottom=1),
    "one less at the bottom": moved(bottom=-1),
    "one more on the left": moved(left=1),
    "one less on the left": moved(left=-1),
    "one more on the right": moved(right=1),
    "one less on the right": moved(right=-1),
    "down by one": moved(top=1, bottom=-1),
    "up by one": moved(top=-1, bottom=1),
    "right by one": moved(left=1, right=-1),
    "left by one": moved(left=-1, right=1),
    "before and after swapped": lambda pads: [*pads[2:], *pads[:2]],
    "axes swapped": lambda pads: [pads[1], pads[0], pads[3], pads[2]],
    "nothing": lambda pads: [0] * 4,
}


def in_pad(change: Change, first: int = 2) -> Mutation:
    """Return a mutation of the spatial amounts of a constant Pad of rank 4."""

    def mutate(proto: ModelProto) -> None:
        name = target_pad(proto).input[1]
        flat = constant_of(proto, name)
        places = [first, first + 1, 4 + first, 5 + first]
        flat[places] = change([int(value) for value in flat[places]])
        set_constant(proto, name, flat)

    return mutate


def in_attribute(change: Change) -> Mutation:
    def mutate(proto: ModelProto) -> None:
        set_attribute("pads", change(attribute_ints(proto, "pads")))(proto)

    return mutate


def on_axis(axis: int, first: int = 2) -> Mutation:
    """Return a mutation that moves the top's padding to another axis of the Pad."""

    def mutate(proto: ModelProto) -> None:
        name = target_pad(proto).input[1]
        flat = constant_of(proto, name)
        flat[[axis, first]] = flat[[first, axis]]
        flat[[axis + 4, first + 4]] = flat[[first + 4, axis + 4]]
        set_constant(proto, name, flat)

    return mutate


def drop_pad(proto: ModelProto) -> None:
    pad = target_pad(proto)
    node(proto, "target").input[0] = pad.input[0]
    proto.graph.node.remove(pad)


def mode(name: str) -> Mutation:
    def mutate(proto: ModelProto) -> None:
        pad = target_pad(proto)
        del pad.attribute[:], pad.input[2:]
        pad.attribute.append(helper.make_attribute("mode", name))

    return mutate


def value(number: float, dtype: str = "float32") -> Mutation:
    """Return a mutation that pads with a constant."""

    def mutate(proto: ModelProto) -> None:
        pad = target_pad(proto)
        del pad.input[2:]
        pad.input.append("another_value")
        proto.graph.initializer.append(
            numpy_helper.from_array(np.asarray(number, dtype), "another_value")
        )

    return mutate


def value_from(name: str) -> Mutation:
    """Return a mutation that pads with another tensor of the model; "" for a plain 0."""

    def mutate(proto: ModelProto) -> None:
        pad = target_pad(proto)
        del pad.input[2:]
        pad.input.extend([name] if name else [])

    return mutate


def amounts_in_pad(first: int = 2) -> dict[str, Mutation]:
    return {name: in_pad(change, first) for name, change in AMOUNTS.items()}


def reconnect(proto: ModelProto, slot: int) -> None:
    """Let the target read another tensor of the same shape."""
    read = node(proto, "target").input
    values = constant_of(proto, read[slot])
    proto.graph.initializer.append(numpy_helper.from_array(values + 1, "other"))
    read[slot] = "other"


SHAPE_OF_PAD: dict[str, Mutation] = {
    "no Pad": drop_pad,
    "reflected": mode("reflect"),
    "edge repeated": mode("edge"),
    "auto_pad left": set_attribute("auto_pad", "SAME_UPPER"),
    "pads left": set_attribute("pads", [1, 2, 2, 3]),
}
FLOAT_PAD = {
    **amounts_in_pad(),
    **SHAPE_OF_PAD,
    "top on the batch axis": on_axis(0),
    "top on the channel axis": on_axis(1),
}
ZEROS = {"padded with ones": value(1.0), "padded with minus infinity": value(-np.inf)}
POOL_WINDOW = {
    "another stride": set_attribute("strides", [2, 2]),
    "another kernel": set_attribute("kernel_shape", [5, 6]),
}
LEAST = {
    "padded with 0": value(0.0),
    "padded with -1": value(-1.0),
    "padded with -1000": value(-1000.0),
    "padded with infinity": value(np.inf),
}
ATTRIBUTE = {
    **{name: in_attribute(change) for name, change in AMOUNTS.items()},
    "auto_pad left": set_attribute("auto_pad", "SAME_UPPER"),
    "no pads": set_attribute("pads", None),
}
CEIL = {"ceil_mode": set_attribute("ceil_mode", 1)}
CONV_WINDOW = {
    "another stride": set_attribute("strides", [2, 2]),
    "a dilation": set_attribute("dilations", [1, 2]),
}


def output_padding(change: Callable[[list[int]], list[int] | None]) -> Mutation:
    def mutate(proto: ModelProto) -> None:
        set_attribute("output_padding", change(attribute_ints(proto, "output_padding")))(proto)

    return mutate


TRANSPOSED = {
    **ATTRIBUTE,
    "output_padding one more in height": output_padding(lambda now: [now[0] + 1, now[1]]),
    "output_padding one more in width": output_padding(lambda now: [now[0], now[1] + 1]),
    "output_shape left": set_attribute("output_shape", [48, 28]),
    "output_shape of one less": set_attribute("output_shape", [47, 28]),
    "another dilation": set_attribute("dilations", [2, 1]),
}
TRANSPOSED_PADDED = {
    "output_padding dropped": output_padding(lambda now: None),
    "output_padding one less in height": output_padding(lambda now: [now[0] - 1, now[1]]),
    "output_padding one less in width": output_padding(lambda now: [now[0], now[1] - 1]),
    "output_padding swapped": output_padding(lambda now: now[::-1]),
    "output_padding one more in height": output_padding(lambda now: [now[0] + 1, now[1]]),
}


# --- mutations of computed amounts --------------------------------------------------------


def maker(proto: ModelProto, op_type: str, place: int = 0) -> NodeProto:
    return [item for item in proto.graph.node if item.op_type == op_type][place]


def skipped(op_type: str, place: int = 0) -> Mutation:
    """Return a mutation that reads the first input of a node in place of its result."""

    def mutate(proto: ModelProto) -> None:
        gone = maker(proto, op_type, place)
        for other in proto.graph.node:
            other.input[:] = [gone.input[0] if n == gone.output[0] else n for n in other.input]
        proto.graph.node.remove(gone)

    return mutate


def retyped(old: str, new: str, place: int = 0) -> Mutation:
    def mutate(proto: ModelProto) -> None:
        maker(proto, old, place).op_type = new

    return mutate


def vector(label: str, change: Callable[[list[int]], list[int]], of: str = "pad") -> Mutation:
    """Return a mutation of a constant that the amounts of a Pad or Slice are computed with."""

    def mutate(proto: ModelProto) -> None:
        (name,) = [t.name for t in proto.graph.initializer if t.name.endswith(f"/{of}/{label}")]
        now = [int(item) for item in constant_of(proto, name)]
        set_constant(proto, name, np.asarray(change(now), np.int64))

    return mutate


def concat(*order: int) -> Mutation:
    """Return a mutation that gives the parts of Pad's amounts another order."""

    def mutate(proto: ModelProto) -> None:
        node_ = [item for item in proto.graph.node if item.op_type == "Concat"][-1]
        node_.input[:] = [node_.input[place] for place in order]

    return mutate


def truncated_ceil(proto: ModelProto) -> None:
    """Write ceil(n / s) as -(-n / s), which is floor in ONNX: integer Div truncates."""
    add, div = maker(proto, "Add"), maker(proto, "Div")
    place = list(proto.graph.node).index(add)
    size, stride = add.input[0], div.input[1]
    made = [
        helper.make_node("Neg", [size], ["negated"], "negate"),
        helper.make_node("Div", ["negated", stride], ["quotient"], "divide"),
        helper.make_node("Neg", ["quotient"], [div.output[0]], "again"),
    ]
    proto.graph.node.remove(add)
    proto.graph.node.remove(div)
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes[:place], *made, *nodes[place:]])


def frozen_amounts(proto: ModelProto) -> None:
    """Write the amounts of one size (16 x 14), as an exporter that traces would."""
    pad = target_pad(proto)
    name = "frozen"
    flat = np.asarray([0, 0, 1, 2, 0, 0, 2, 3], np.int64)
    proto.graph.initializer.append(numpy_helper.from_array(flat, name))
    pad.input[1] = name


def up(place: int, by: int = 1) -> Change:
    def change(values: list[int]) -> list[int]:
        values[place] += by
        return values

    return change


def backwards(values: list[int]) -> list[int]:
    return values[::-1]


COMPUTED = {
    "before and after swapped": concat(0, 3, 2, 1),
    "spatial axes first": concat(1, 0, 3, 2),
    "no Pad": drop_pad,
    "reflected": mode("reflect"),
    "edge repeated": mode("edge"),
    "auto_pad left": set_attribute("auto_pad", "SAME_UPPER"),
    "strides swapped": vector("strides", backwards),
    "stride one more": vector("strides", up(1)),
    "floor for ceil": vector("round_up", lambda now: [0] * len(now)),
    "one more before division": vector("round_up", up(0)),
    "one less before division": vector("round_up", up(0, -1)),
    "ceil by truncating division": truncated_ceil,
    "overlap one more": vector("overlap", up(0)),
    "overlap one less": vector("overlap", up(1, -1)),
    "overlaps swapped": vector("overlap", backwards),
    "everything at the start": vector("two", lambda now: [1] * len(now)),
    "a third for half": vector("two", up(0)),
    "amounts of one size": frozen_amounts,
}
CLAMPED = {
    "no clamp": skipped("Max"),
    "clamped from above": retyped("Max", "Min"),
    "clamped at 2": vector("zero", up(0, 2)),
    "clamped at -1": vector("zero", up(0, -1)),
}


# --- mutations of sliced pools ------------------------------------------------------------


def sliced(label: str, change: Callable[[list[int]], list[int]]) -> Mutation:
    return vector(label, change, "slice")


def unsliced(slot: int) -> Mutation:
    """Return a mutation that lets a result of the pool be every window."""

    def mutate(proto: ModelProto) -> None:
        gone = maker(proto, "Slice", slot)
        node(proto, "target").output[slot] = gone.output[0]
        proto.graph.node.remove(gone)

    return mutate


def slice_from(slot: int, place: int, values: Sequence[int]) -> Mutation:
    """Return a mutation that gives a Slice a constant in place of one of its inputs."""

    def mutate(proto: ModelProto) -> None:
        tensor = numpy_helper.from_array(np.asarray(values, np.int64), "constant")
        proto.graph.initializer.append(tensor)
        maker(proto, "Slice", slot).input[place] = "constant"

    return mutate


SLICED = {
    "auto_pad left": set_attribute("auto_pad", "SAME_UPPER"),
    "strides left": set_attribute("strides", [3, 4]),
    "no Slice": unsliced(0),
    "starts of one size": slice_from(0, 1, [1, 1]),
    "no step": slice_from(0, 4, [1, 1]),
    "without the last": slice_from(0, 2, [-1, -1]),
    "starts one later": sliced("most", up(0)),
    "starts one earlier": sliced("most", up(1, -1)),
    "steps swapped": sliced("steps", backwards),
    "step one more": sliced("steps", up(1)),
    "axes swapped": sliced("axes", backwards),
    "channels sliced": sliced("axes", up(0, -1)),
    "strides swapped": sliced("strides", backwards),
    "stride one more": sliced("strides", up(1)),
    "floor for ceil": sliced("round_up", lambda now: [0] * len(now)),
    "one more before division": sliced("round_up", up(0)),
    "ceil by truncating division": truncated_ceil,
    "overlap one more": sliced("overlap", up(0)),
    "overlap one less": sliced("overlap", up(1, -1)),
    "overlaps swapped": sliced("overlap", backwards),
    "everything at the start": sliced("two", lambda now: [1] * len(now)),
    "a third for half": sliced("two", up(0)),
}
SLICED_WINDOW = {
    "another kernel": set_attribute("kernel_shape", [4, 5]),
    "a stride": set_attribute("strides", [2, 1]),
}


# --- scenarios ----------------------------------------------------------------------------

OPERANDS: dict[str, Mutation] = {
    "no bias": lambda proto: node(proto, "target").input.__delitem__(2),
    "another kernel tensor": lambda proto: reconnect(proto, 1),
    "another bias tensor": lambda proto: reconnect(proto, 2),
}
FLOAT_KERNEL = kernel(4, 2, 5, 7)
BIAS = np.asarray([1, -2, 3, -4], np.float32)
DEPTHWISE = kernel(4, 1, 5, 7)
TRANSPOSED_KERNEL = kernel(2, 3, 6, 7)
U8, I8 = "uint8", "int8"
ONE = np.float32(1)
QUANTIZED = (
    ONE, np.uint8(128), kernel(4, 2, 5, 7, dtype=U8), ONE, np.uint8(2), np.float32(64),
    np.uint8(5), np.asarray([1, -2, 3, -4], np.int32),
)  # fmt: skip
INTEGER = (kernel(4, 2, 5, 7, dtype=U8), np.uint8(128), np.uint8(2))
AVERAGE = (ONE, np.uint8(128), ONE, np.uint8(5))
X_ZERO_MUTANTS = {
    "padded with 0": value_from(""),
    "padded with 1": value(1, U8),
}


def attributes(*parts: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {name: item for part in (*parts, more) for name, item in part.items()}


SCENARIOS: dict[str, Scenario] = {
    "Conv, Pad": Scenario(
        "Conv", "onnx_pad", {**FLOAT_PAD, **ZEROS, **CONV_WINDOW, **OPERANDS},
        attributes(WINDOW, UPPER), constants=(FLOAT_KERNEL, BIAS),
    ),
    "depthwise Conv, Pad, SAME_LOWER": Scenario(
        "Conv", "onnx_pad", {**amounts_in_pad(), "another group": set_attribute("group", 1)},
        attributes(WINDOW, LOWER, group=2), constants=(DEPTHWISE,),
    ),
    "Conv, pads": Scenario(
        "Conv", "onnx_pads_attribute", {**ATTRIBUTE, **CONV_WINDOW},
        attributes(WINDOW, UPPER), "attrs", constants=(FLOAT_KERNEL, BIAS),
    ),
    "Conv, computed": Scenario(
        "Conv", "onnx_computed_pad", {**COMPUTED, **ZEROS},
        attributes(WINDOW, UPPER), sizes=OPEN, constants=(FLOAT_KERNEL, BIAS),
    ),
    "Conv, computed, SAME_LOWER": Scenario(
        "Conv", "onnx_computed_pad", {"before and after swapped": concat(0, 3, 2, 1)},
        attributes(WINDOW, LOWER), sizes=OPEN, constants=(FLOAT_KERNEL, BIAS),
    ),
    "Conv, computed, sparse": Scenario(
        "Conv", "onnx_computed_pad", {**COMPUTED, **CLAMPED},
        attributes(SPARSE, UPPER), sizes=OPEN, constants=(kernel(4, 2, 3, 2),),
    ),
    "Conv, hoisted": Scenario(
        "Conv", "onnx_pad", {**amounts_in_pad(), **SHAPE_OF_PAD, **ZEROS},
        attributes(WINDOW, pads=[2, 1, 3, 4]), hoist="all", constants=(FLOAT_KERNEL, BIAS),
    ),
    "Conv, folded": Scenario(
        "Conv", "onnx_fold_pad", {**ATTRIBUTE, **CONV_WINDOW},
        attributes(WINDOW, pads=[0, 1, 2, 2]), "attrs", constants=(FLOAT_KERNEL, BIAS),
        ahead=(0, 0, 1, 2, 0, 0, 2, 3),
    ),
    "Conv, folded and implicit": Scenario(
        "Conv", "onnx_fold_pad", ATTRIBUTE,
        attributes(WINDOW, UPPER), "attrs", constants=(FLOAT_KERNEL, BIAS),
        ahead=(0, 0, 1, 2, 0, 0, 2, 3),
    ),
    "ConvTranspose": Scenario(
        "ConvTranspose", "onnx_pads_attribute", TRANSPOSED,
        attributes(UPPER, kernel_shape=[6, 7], strides=[3, 2]),
        constants=(TRANSPOSED_KERNEL, BIAS[:3]),
    ),
    "ConvTranspose, SAME_LOWER, grouped": Scenario(
        "ConvTranspose", "onnx_pads_attribute",
        {name: ATTRIBUTE[name] for name in ("before and after swapped", "axes swapped",
                                           "down by one", "left by one")},
        attributes(LOWER, kernel_shape=[6, 7], strides=[3, 2], group=2),
        constants=(TRANSPOSED_KERNEL,), opset=11,
    ),
    "ConvTranspose, short": Scenario(
        "ConvTranspose", "onnx_pads_attribute", TRANSPOSED_PADDED,
        attributes(UPPER, kernel_shape=[2, 2], strides=[5, 3]),
        constants=(kernel(2, 3, 2, 2), BIAS[:3]),
    ),
    "ConvTranspose, output_shape": Scenario(
        "ConvTranspose", "onnx_pads_attribute",
        TRANSPOSED,
        attributes(kernel_shape=[6, 7], strides=[3, 2], output_shape=[48, 28]),
        constants=(TRANSPOSED_KERNEL,),
    ),
    "MaxPool, Pad": Scenario(
        "MaxPool", "onnx_pad", {**FLOAT_PAD, **LEAST, **POOL_WINDOW, **CEIL},
        attributes(WINDOW, UPPER),
    ),
    "MaxPool int8, Pad": Scenario(
        "MaxPool", "onnx_pad",
        {"padded with 0": value(0, I8), "padded with 1 above the least": value(-127, I8),
         "padded with its default": value_from("")},
        attributes(WINDOW, UPPER), dtype=I8,
    ),
    "MaxPool uint8, Pad": Scenario(
        "MaxPool", "onnx_pad",
        {"padded with 128": value(128, U8), "padded with 1 above the least": value(1, U8)},
        attributes(WINDOW, UPPER), dtype=U8,
    ),
    "MaxPool, pads": Scenario(
        "MaxPool", "onnx_pads_attribute", {**ATTRIBUTE, **POOL_WINDOW, **CEIL},
        attributes(WINDOW, UPPER), "attrs",
    ),
    "MaxPool, sparse": Scenario(
        "MaxPool", "onnx_pads_attribute", CEIL, attributes(SPARSE, UPPER), "attrs",
    ),
    "MaxPool with Indices": Scenario(
        "MaxPool", "onnx_pads_attribute",
        {**ATTRIBUTE, "other order": set_attribute("storage_order", 1)},
        attributes(WINDOW, UPPER), outputs=("y", "i"),
    ),
    "MaxPool, dilated": Scenario(
        "MaxPool", "onnx_pad", {**amounts_in_pad(), **SHAPE_OF_PAD, **LEAST},
        attributes(UPPER, kernel_shape=[2, 3], strides=[3, 1], dilations=[5, 3]), "attrs",
    ),
    "MaxPool, computed": Scenario(
        "MaxPool", "onnx_computed_pad", {**COMPUTED, **LEAST},
        attributes(WINDOW, UPPER), sizes=OPEN,
    ),
    "MaxPool, pads for all sizes": Scenario(
        "MaxPool", "onnx_pads_attribute",
        {**ATTRIBUTE, **CEIL, "nothing at the bottom": set_attribute("pads", [0, 1, 0, 2])},
        attributes(UPPER, kernel_shape=[2, 4], strides=[2, 2], ceil_mode=1), "attrs", OPEN,
    ),
    "NhwcMaxPool, pads": Scenario(
        f"{MICROSOFT}:NhwcMaxPool", "onnx_pads_attribute", {**ATTRIBUTE, **POOL_WINDOW},
        attributes(WINDOW, UPPER), "attrs", dtype=U8, channels_last=True,
    ),
    "NhwcMaxPool, Pad": Scenario(
        f"{MICROSOFT}:NhwcMaxPool", "onnx_pad",
        {**amounts_in_pad(1), "top on the channel axis": on_axis(3, 1),
         "top on the batch axis": on_axis(0, 1), "padded with 128": value(128, U8)},
        attributes(WINDOW, UPPER), dtype=U8, channels_last=True,
    ),
    "AveragePool": Scenario(
        "AveragePool", "onnx_pads_attribute",
        {**ATTRIBUTE, **POOL_WINDOW, **CEIL,
         "padding counted": set_attribute("count_include_pad", 1)},
        attributes(WINDOW, UPPER),
    ),
    "AveragePool, padding counted, Pad": Scenario(
        "AveragePool", "onnx_pad",
        {**FLOAT_PAD, **ZEROS, **CEIL,
         "pads and padding not counted": both(drop_pad, set_attribute("pads", [1, 2, 2, 3]),
                                              set_attribute("count_include_pad", None)),
         "padding not counted": set_attribute("count_include_pad", 0)},
        attributes(WINDOW, UPPER, count_include_pad=1),
    ),
    "AveragePool, padding counted, pads": Scenario(
        "AveragePool", "onnx_pads_attribute",
        {**ATTRIBUTE, **CEIL, "padding not counted": set_attribute("count_include_pad", 0)},
        attributes(WINDOW, UPPER, count_include_pad=1), "attrs",
    ),
    "AveragePool, padding counted, computed": Scenario(
        "AveragePool", "onnx_computed_pad", {**COMPUTED, **ZEROS},
        attributes(WINDOW, UPPER, count_include_pad=1), sizes=OPEN,
    ),
    "AveragePool, pads for all sizes": Scenario(
        "AveragePool", "onnx_pads_attribute",
        {**ATTRIBUTE, **CEIL, "padding counted": set_attribute("count_include_pad", 1)},
        attributes(UPPER, kernel_shape=[4, 2], strides=[2, 2]), sizes=OPEN,
    ),
    "AveragePool, sliced": Scenario(
        "AveragePool", "onnx_sliced_pool",
        {**ATTRIBUTE, **CEIL, **SLICED, **SLICED_WINDOW,
         "padding counted": set_attribute("count_include_pad", 1)},
        attributes(STEPS, UPPER), sizes=OPEN,
    ),
    "AveragePool, sliced, SAME_LOWER, sparse": Scenario(
        "AveragePool", "onnx_sliced_pool",
        {"no clamp": skipped("Max"), "clamped from above": retyped("Max", "Min"),
         "clamped at 2": sliced("zero", up(0, 2)), "clamped at -1": sliced("zero", up(0, -1)),
         "the smaller half": skipped("Sub", 1)},
        attributes(SPARSE, LOWER), "attrs", OPEN,
    ),
    "AveragePool, sliced on one axis": Scenario(
        "AveragePool", "onnx_sliced_pool",
        {**ATTRIBUTE, "another stride": set_attribute("strides", [1, 1]),
         "both sliced": sliced("axes", lambda now: [2]), "no Slice": unsliced(0)},
        attributes(WINDOW, UPPER), sizes=(16, "W"),
    ),
    "MaxPool with Indices, sliced": Scenario(
        "MaxPool", "onnx_sliced_pool",
        {**ATTRIBUTE, **SLICED, **SLICED_WINDOW,
         "Indices not sliced": unsliced(1), "Indices of one size": slice_from(1, 1, [1, 1]),
         "Indices of all steps": slice_from(1, 4, [1, 1]),
         "other order": set_attribute("storage_order", 1)},
        attributes(STEPS, LOWER), sizes=OPEN, outputs=("y", "i"),
    ),
    "QLinearAveragePool, sliced": Scenario(
        f"{MICROSOFT}:QLinearAveragePool", "onnx_sliced_pool",
        {**ATTRIBUTE, "padding counted": set_attribute("count_include_pad", 1),
         "no Slice": unsliced(0), "starts one later": sliced("most", up(0))},
        attributes(STEPS, UPPER), sizes=OPEN, constants=AVERAGE, dtype=U8,
    ),
    "LpPool, Pad": Scenario(
        "LpPool", "onnx_pad",
        {**FLOAT_PAD, **ZEROS, **CEIL, "another norm": set_attribute("p", 2)},
        attributes(WINDOW, UPPER, p=3),
    ),
    "LpPool, pads": Scenario(
        "LpPool", "onnx_pads_attribute", {**ATTRIBUTE, **CEIL},
        attributes(WINDOW, LOWER), "attrs",
    ),
    "LpPool, computed": Scenario(
        "LpPool", "onnx_computed_pad", {**COMPUTED, **ZEROS}, attributes(WINDOW, UPPER), sizes=OPEN,
    ),
    "QLinearConv, Pad": Scenario(
        "QLinearConv", "onnx_pad",
        {**amounts_in_pad(), **SHAPE_OF_PAD, **X_ZERO_MUTANTS,
         "padded with the weights' zero point": value_from("c4"),
         "padded with the result's zero point": value_from("c6")},
        attributes(WINDOW, UPPER), constants=QUANTIZED, dtype=U8,
    ),
    "QLinearConv, pads": Scenario(
        "QLinearConv", "onnx_pads_attribute", ATTRIBUTE,
        attributes(WINDOW, LOWER), "attrs", constants=QUANTIZED, dtype=U8,
    ),
    "QLinearConv, computed": Scenario(
        "QLinearConv", "onnx_computed_pad", {**COMPUTED, **X_ZERO_MUTANTS},
        attributes(WINDOW, UPPER), sizes=OPEN, constants=QUANTIZED, dtype=U8,
    ),
    "QLinearConv of onnxruntime, channels last": Scenario(
        f"{MICROSOFT}:QLinearConv", "onnx_pad",
        {**amounts_in_pad(1), **X_ZERO_MUTANTS, "top on the channel axis": on_axis(3, 1)},
        attributes(WINDOW, UPPER, channels_last=1), constants=QUANTIZED, dtype=U8,
        channels_last=True,
    ),
    "ConvInteger, Pad": Scenario(
        "ConvInteger", "onnx_pad",
        {**amounts_in_pad(), **X_ZERO_MUTANTS,
         "padded with the weights' zero point": value_from("c2")},
        attributes(WINDOW, UPPER), constants=INTEGER, dtype=U8,
    ),
    "ConvInteger without zero points, Pad": Scenario(
        "ConvInteger", "onnx_pad", {"padded with 1": value(1, U8)},
        attributes(WINDOW, UPPER), constants=INTEGER[:1], dtype=U8,
    ),
    "ConvInteger, pads": Scenario(
        "ConvInteger", "onnx_pads_attribute", ATTRIBUTE,
        attributes(WINDOW, UPPER), "attrs", constants=INTEGER, dtype=U8,
    ),
    "QLinearAveragePool, pads": Scenario(
        f"{MICROSOFT}:QLinearAveragePool", "onnx_pads_attribute",
        {**ATTRIBUTE, "padding counted": set_attribute("count_include_pad", 1)},
        attributes(WINDOW, UPPER), constants=AVERAGE, dtype=U8,
    ),
    "QLinearAveragePool, padding counted": Scenario(
        f"{MICROSOFT}:QLinearAveragePool", "onnx_pads_attribute",
        {**ATTRIBUTE, "padding not counted": set_attribute("count_include_pad", 0)},
        attributes(WINDOW, UPPER, count_include_pad=1), constants=AVERAGE, dtype=U8,
    ),
    "FusedConv, pads": Scenario(
        f"{MICROSOFT}:FusedConv", "onnx_pads_attribute",
        {**ATTRIBUTE, "another activation": set_attribute("activation", "Tanh")},
        attributes(WINDOW, UPPER, activation="Relu"), "auto", constants=(FLOAT_KERNEL, BIAS),
    ),
    "FusedConv, Pad": Scenario(
        f"{MICROSOFT}:FusedConv", "onnx_pad", {**amounts_in_pad(), **ZEROS},
        attributes(WINDOW, LOWER, activation="Relu"), constants=(FLOAT_KERNEL, BIAS),
    ),
}  # fmt: skip

BEHIND = ("one more at the bottom", "one more on the right")
"""At a stride above 1 no window reaches one more element at the end."""
INSIDE = ("edge repeated",)
"""A window of a max pool that reaches over an edge holds that edge, unless it is dilated."""
FULL = ("ceil_mode",)
"""Windows fill the padded size, so that there is nothing to round up."""
HARMLESS: dict[str, Sequence[str]] = {
    **{name: BEHIND for name in SCENARIOS if "computed" not in name and "Transpose" not in name},
    "Conv, computed, sparse": ("clamped at -1",),  # crops an element that is skipped anyway
    "MaxPool, Pad": (*BEHIND, *INSIDE, *FULL, "reflected"),
    "MaxPool, computed": INSIDE,
    "MaxPool, pads": (*BEHIND, *FULL),
    "MaxPool, dilated": ("one more at the bottom",),
    "AveragePool": (*BEHIND, *FULL),
    "AveragePool, padding counted, Pad": (*BEHIND, *FULL),
    "AveragePool, padding counted, pads": (*BEHIND, *FULL),
    "MaxPool, pads for all sizes": (),
    "AveragePool, pads for all sizes": (),
    "AveragePool, sliced": (*BEHIND, *FULL),
    "LpPool, Pad": (*BEHIND, *FULL),
    "LpPool, pads": (*BEHIND, *FULL),
}
"""Mutants that compute the same at every input, by scenario."""


def mutants(harmless: bool) -> Iterator[tuple[str, str]]:
    for name, scenario in SCENARIOS.items():
        for mutant in scenario.mutants:
            if (mutant in HARMLESS.get(name, ())) == harmless:
                yield name, mutant


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run onnxruntime in this process: starting one per mutant would take minutes."""
    monkeypatch.setattr(site_level, "run", run_here)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_right_rewrite_is_equivalent(scenario: str, tmp_path: Path) -> None:
    verdict = prove(SCENARIOS[scenario], tmp_path, None)
    assert (verdict.status, verdict.reason) == (Status.EQUIVALENT, "")
    assert [item.level for item in verdict.evidence] == ["definition", "site"]


@pytest.mark.usefixtures("_fast")
@pytest.mark.parametrize(("scenario", "mutant"), mutants(harmless=False))
def test_a_mutant_is_not_equivalent(scenario: str, mutant: str, tmp_path: Path) -> None:
    verdict = prove(SCENARIOS[scenario], tmp_path, SCENARIOS[scenario].mutants[mutant])
    assert verdict.status is not Status.EQUIVALENT
    assert "target" in (verdict.first_difference or verdict.reason)


@pytest.mark.usefixtures("_fast")
@pytest.mark.parametrize(("scenario", "mutant"), mutants(harmless=True))
def test_what_no_window_reaches_makes_no_difference(
    scenario: str, mutant: str, tmp_path: Path
) -> None:
    verdict = prove(SCENARIOS[scenario], tmp_path, SCENARIOS[scenario].mutants[mutant])
    assert (verdict.status, verdict.reason) == (Status.EQUIVALENT, "")
