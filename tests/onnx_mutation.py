"""Mutants of a rewritten ONNX model: everything in it that may be wrong by one thing.

The model holds one padded operator ``n0`` with what its strategy wrote around it. Amounts are
shifted by one, axes and sides swapped, values replaced, clamps and whole operators dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Mutation = Callable[[ModelProto], None]
TARGET = "n0"
ANOTHER: dict[str, tuple[str, ...]] = {
    "Add": ("Sub",), "Sub": ("Add",), "Mul": ("Add",), "Div": ("Mul",), "Max": ("Min",),
    "Greater": ("Less",),
}  # fmt: skip
MODES = ("reflect", "edge")
POSITIVE = frozenset({"kernel_shape", "strides", "dilations", "group", "p"})
"""A stride of 0 is no operator, and ends onnxruntime's process."""


@dataclass(frozen=True)
class Mutant:
    """A model that is wrong by one thing, and which."""

    label: str
    model: ModelProto


def mutants_of(model: ModelProto) -> Iterator[Mutant]:
    """Yield every mutant of a model that is another model."""
    seen = {model.SerializeToString(deterministic=True)}
    for label, mutate in _mutations(model):
        changed = ModelProto()
        changed.CopyFrom(model)
        mutate(changed)
        text = changed.SerializeToString(deterministic=True)
        if text not in seen:
            seen.add(text)
            yield Mutant(label, changed)


def mutants_around(
    model: ModelProto, names: Collection[str], before: ModelProto
) -> Iterator[Mutant]:
    """Yield mutants of a larger model: of some nodes' attributes, and of what was added to it.

    Parameters
    ----------
    model : ModelProto
        The model.
    names : collection of str
        The nodes whose attributes are changed.
    before : ModelProto
        The model before nodes and constants were added to it.
    """
    present = {node.name for node in before.graph.node}
    present |= {tensor.name for tensor in before.graph.initializer}
    text = model.SerializeToString(deterministic=True)
    for label, mutate in _mutations_around(model, names, present):
        changed = ModelProto()
        changed.CopyFrom(model)
        mutate(changed)
        if changed.SerializeToString(deterministic=True) != text:
            yield Mutant(label, changed)


def _mutations_around(
    model: ModelProto, names: Collection[str], present: Collection[str]
) -> Iterator[tuple[str, Mutation]]:
    for index, node in enumerate(model.graph.node):
        if node.name in names:
            for label, mutation in _of_attributes(index, node):
                yield f"{node.name}: {label}", mutation
        elif node.name not in present:
            yield from _of_attributes(index, node)
            yield from _of_wiring(index, node, model)
    for tensor in model.graph.initializer:
        if tensor.name not in present and tensor.data_type == TensorProto.INT64:
            yield from _of_integers(tensor)


def _mutations(model: ModelProto) -> Iterator[tuple[str, Mutation]]:
    for index, node in enumerate(model.graph.node):
        yield from _of_attributes(index, node)
        yield from _of_wiring(index, node, model)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT64:
            yield from _of_integers(tensor)
    yield from _of_target(model)


# --- constants ----------------------------------------------------------------------------


def changed_lists(values: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Yield lists that differ by one element, by one order or by everything."""
    yield from (item for item in _changed(values) if item[1] != list(values))


def _changed(values: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    for place in range(len(values)):
        for step in (1, -1):
            yield f"[{place}] {step:+}", [v + step * (i == place) for i, v in enumerate(values)]
    half = len(values) // 2
    yield "backwards", list(values[::-1])
    yield "halves swapped", [*values[half:], *values[:half]]
    for a, b in combinations(range(half or len(values)), 2):
        for shift in (0, half):
            swapped = list(values)
            swapped[a + shift], swapped[b + shift] = swapped[b + shift], swapped[a + shift]
            yield f"{a} and {b} swapped from {shift}", swapped
    yield "nothing", [0] * len(values)


def _of_integers(tensor: TensorProto) -> Iterator[tuple[str, Mutation]]:
    name, values = tensor.name, numpy_helper.to_array(tensor)
    if values.ndim != 1 or not values.size or abs(int(values[0])) > 1 << 40:
        return
    for how, changed in changed_lists([int(item) for item in values]):
        yield f"{name} {how}", _written(name, np.asarray(changed, np.int64))


def _written(name: str, value: Array) -> Mutation:
    def mutate(model: ModelProto) -> None:
        tensor = next(item for item in model.graph.initializer if item.name == name)
        tensor.CopyFrom(numpy_helper.from_array(value, name))

    return mutate


# --- nodes --------------------------------------------------------------------------------


def _of_attributes(index: int, node: NodeProto) -> Iterator[tuple[str, Mutation]]:
    kind = node.op_type
    for item in node.attribute:
        value = helper.get_attribute_value(item)
        if isinstance(value, list) and value and isinstance(value[0], int):
            for how, changed in changed_lists(value):
                if _runs(node, item.name, changed):
                    yield f"{kind}.{item.name} {how}", _set(index, item.name, changed)
        elif isinstance(value, int):
            for step in (1, -1):
                if value + step > 0 or item.name not in POSITIVE:
                    yield f"{kind}.{item.name} {step:+}", _set(index, item.name, value + step)
        yield f"{kind}.{item.name} dropped", _set(index, item.name, None)
    if kind == "Pad":
        for mode in MODES:
            yield f"Pad of mode {mode}", _set(index, "mode", mode)
        if any(item.name == "value" for item in node.attribute):
            for number in (0.0, 1.0, float("-inf"), -1e30):
                yield f"Pad.value {number}", _set(index, "value", number)


def _runs(node: NodeProto, name: str, values: Sequence[int]) -> bool:
    """Tell whether onnxruntime survives a list: it divides by what some others lead to."""
    least = 1 if name in POSITIVE else 0 if "Pool" in node.op_type else None
    return least is None or min(values) >= least


def _set(index: int, name: str, value: Any) -> Mutation:
    def mutate(model: ModelProto) -> None:
        node = model.graph.node[index]
        kept = [item for item in node.attribute if item.name != name]
        added = [] if value is None else [helper.make_attribute(name, value)]
        del node.attribute[:]
        node.attribute.extend([*kept, *added])
        if node.op_type == "Pad" and name == "mode":
            del node.input[2:]

    return mutate


def _of_wiring(index: int, node: NodeProto, model: ModelProto) -> Iterator[tuple[str, Mutation]]:
    kind = f"{node.op_type} '{node.name}'"
    if node.name == TARGET:
        return
    for slot in range(len(node.input) if node.op_type not in ("Shape", "Pad", "Slice") else 1):
        yield f"{kind} left out for its input {slot}", _bypassed(index, slot)
    for other in ANOTHER.get(node.op_type, ()):
        yield f"{kind} is {other}", _retyped(index, other)
    pairs = [] if node.op_type in ("Pad", "Slice", "Gather") else range(len(node.input))
    for a, b in combinations(pairs, 2):
        yield f"{kind} with inputs {a} and {b} swapped", _swapped(index, a, b)
    if node.op_type == "Pad" and len(node.input) > 1:
        yield from _of_values(index, node, model)


def _bypassed(index: int, slot: int) -> Mutation:
    def mutate(model: ModelProto) -> None:
        gone = model.graph.node[index]
        source, made = gone.input[slot], gone.output[0]
        results = {item.name for item in model.graph.output}
        if made in results:
            maker = next((n for n in model.graph.node if source in n.output), None)
            if maker is not None:
                maker.output[:] = [made if name == source else name for name in maker.output]
        for other in model.graph.node:
            other.input[:] = [source if name == made else name for name in other.input]
        model.graph.node.remove(gone)

    return mutate


def _retyped(index: int, op_type: str) -> Mutation:
    def mutate(model: ModelProto) -> None:
        model.graph.node[index].op_type = op_type

    return mutate


def _swapped(index: int, a: int, b: int) -> Mutation:
    def mutate(model: ModelProto) -> None:
        read = model.graph.node[index].input
        read[a], read[b] = read[b], read[a]

    return mutate


def _of_values(index: int, node: NodeProto, model: ModelProto) -> Iterator[tuple[str, Mutation]]:
    """Yield mutants of what a Pad pads with: other numbers, and other tensors of its type."""
    (element,) = {item.type.tensor_type.elem_type for item in model.graph.input}
    dtype = helper.tensor_dtype_to_np_dtype(element)
    numbers = [
        0.0,
        1.0,
        -1.0,
        -1000.0,
        float("-inf"),
        float("inf"),
        float(np.finfo(np.float32).min),
    ]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        numbers = [0, 1, limits.min, limits.min + 1, limits.max, -1 if limits.min else 128]
    with np.errstate(over="ignore"):
        values = [np.asarray(number).astype(dtype) for number in numbers]
    yield "Pad with its default", _padded_with(index, None)
    for value in values:
        yield f"Pad with {value}", _padded_with(index, value)
    for tensor in model.graph.initializer:
        if tensor.data_type == element and not tensor.dims and tensor.name not in node.input:
            yield f"Pad with {tensor.name}", _padded_with(index, numpy_helper.to_array(tensor))


def _padded_with(index: int, value: Array | None) -> Mutation:
    def mutate(model: ModelProto) -> None:
        pad = model.graph.node[index]
        del pad.input[2:]
        if value is not None:
            pad.input.append("mutant/value")
            model.graph.initializer.append(numpy_helper.from_array(value, "mutant/value"))

    return mutate


# --- the operator itself ------------------------------------------------------------------


def _of_target(model: ModelProto) -> Iterator[tuple[str, Mutation]]:
    index, node = next((i, n) for i, n in enumerate(model.graph.node) if n.name == TARGET)
    known = {item.name for item in node.attribute}
    yield "auto_pad left", _set(index, "auto_pad", "SAME_UPPER")
    yield "auto_pad VALID", _set(index, "auto_pad", "VALID")
    if "pads" not in known:
        rank = len(next(item for item in node.attribute if item.name == "strides").ints)
        for place in range(2 * rank):
            pads = [int(place == item) for item in range(2 * rank)]
            yield f"pads {pads} beside", _set(index, "pads", pads)
    if node.op_type == "ConvTranspose":
        for place in range(len(next(a for a in node.attribute if a.name == "strides").ints)):
            extra = [0, 0, 0][: len(next(a for a in node.attribute if a.name == "strides").ints)]
            extra[place] = 1
            yield f"output_padding {extra}", _set(index, "output_padding", extra)
    if "AveragePool" in node.op_type:
        for number in (0, 1):
            yield f"count_include_pad {number}", _set(index, "count_include_pad", number)
    if "Pool" in node.op_type:
        yield "ceil_mode 1", _set(index, "ceil_mode", 1)
    for slot in range(1, len(node.input)):
        if node.input[slot]:
            yield f"input {slot} is another", _another_input(index, slot)


def _another_input(index: int, slot: int) -> Mutation:
    """Let the operator read another tensor of the same shape."""

    def mutate(model: ModelProto) -> None:
        name = model.graph.node[index].input[slot]
        tensor = next(item for item in model.graph.initializer if item.name == name)
        values = numpy_helper.to_array(tensor)
        other = (values + np.asarray(1, values.dtype)).astype(values.dtype)
        model.graph.initializer.append(numpy_helper.from_array(other, "mutant/other"))
        model.graph.node[index].input[slot] = "mutant/other"

    return mutate
