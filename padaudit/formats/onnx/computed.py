"""Amounts that a graph computes from sizes: worked out where those sizes are known.

onnx's shape inference loses the sizes behind a Pad whose amounts are no constant, even where
everything that they are computed from is known. Here they become constants of the weightless
copy that inference works on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from padaudit.formats.onnx.build import int64_vector
from padaudit.formats.onnx.protos import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TensorShapeProto,
)

Ints = list[int]
_MAX_ELEMENTS: Final = 64
_MAX_DEPTH: Final = 64
_AMOUNTS_SLOT: Final = 1
"""Where Pad has its amounts, and Slice its starts."""


def settle_pads(light: ModelProto, inferred: ModelProto) -> bool:
    """Write the amounts of Pads, and where Slices behind pools begin; tell whether there are any.

    They are known where the size was inferred that they are computed from.

    Parameters
    ----------
    light : ModelProto
        A weightless copy, which is changed.
    inferred : ModelProto
        The same after inference.
    """
    pools = {name for node in light.graph.node if "Pool" in node.op_type for name in node.output}
    waiting = [node for node in light.graph.node if _computes(node, pools)]
    if not waiting:
        return False
    values = _Values(light.graph, inferred.graph)
    settled = False
    for node in waiting:
        amounts = values.of(node.input[_AMOUNTS_SLOT])
        if amounts is not None and node.input[_AMOUNTS_SLOT] in values.makers:
            name = f"padaudit.amounts/{node.output[0]}"
            light.graph.initializer.append(int64_vector(name, amounts))
            node.input[_AMOUNTS_SLOT] = name
            settled = True
    return settled


def _computes(node: NodeProto, pools: Collection[str]) -> bool:
    behind_pool = node.op_type == "Slice" and node.input[0] in pools
    return (node.op_type == "Pad" or behind_pool) and len(node.input) > _AMOUNTS_SLOT


class _Values:
    """Small integer tensors of a graph, as flat lists."""

    def __init__(self, graph: GraphProto, inferred: GraphProto) -> None:
        self.makers = {name: node for node in graph.node for name in node.output}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        typed = (*inferred.value_info, *inferred.input, *inferred.output)
        self.shapes = {value.name: _sizes(value.type.tensor_type.shape.dim) for value in typed}
        self._known: dict[str, Ints | None] = {}
        self._columns: dict[str, int] = {}
        """How many columns tensors of two axes have; all others have one axis."""

    def of(self, name: str, depth: int = 0) -> Ints | None:
        """Return a tensor's elements, or None if they can't be worked out."""
        if name not in self._known:
            self._known[name] = None
            found = self._find(name, depth)
            if found is not None and len(found) <= _MAX_ELEMENTS:
                self._known[name] = found
        return self._known[name]

    def _find(self, name: str, depth: int) -> Ints | None:
        if name in self.constants:
            return _integers(self.constants[name])
        node = self.makers.get(name)
        if node is None or depth > _MAX_DEPTH:
            return None
        if node.op_type == "Constant":
            return _constant(node)
        if node.op_type == "Shape":
            return self._shape(node)
        found = [self.of(item, depth + 1) for item in node.input]
        operands = [item for item in found if item is not None]
        if not operands or len(operands) < len(found):
            return None
        if node.op_type in _REORDERED:
            return self._reordered(node, operands)
        rule = _RULES.get(node.op_type)
        return rule(operands) if rule is not None else None

    def _reordered(self, node: NodeProto, operands: Sequence[Ints]) -> Ints | None:
        """Follow PyTorch's way from (last axis first) to ONNX's order of amounts."""
        columns = self._columns.get(node.input[0])
        if node.op_type == "ConstantOfShape":
            return _filled(node, operands[0])
        if node.op_type == "Reshape":
            if len(operands) < 2:
                return None
            if len(operands[1]) == 2 and operands[1][1] > 0:
                self._columns[node.output[0]] = operands[1][1]
            return operands[0] if len(operands[1]) in (1, 2) else None
        if columns is None or len(operands[0]) % columns:
            return _slice(operands) if node.op_type == "Slice" else None
        rows = [operands[0][at : at + columns] for at in range(0, len(operands[0]), columns)]
        if node.op_type == "Transpose":
            self._columns[node.output[0]] = len(rows)
            return [value for row in zip(*rows, strict=True) for value in row]
        kept = _slice([list(range(len(rows))), *operands[1:]])
        self._columns[node.output[0]] = columns
        return None if kept is None else [value for place in kept for value in rows[place]]

    def _shape(self, node: NodeProto) -> Ints | None:
        sizes = self.shapes.get(node.input[0])
        if sizes is None:
            return None
        bounds = {item.name: item.i for item in node.attribute}
        chosen = sizes[bounds.get("start", 0) : bounds.get("end", len(sizes))]
        known = [size for size in chosen if size is not None]
        return known if len(known) == len(chosen) else None


def _sizes(dims: Iterable[TensorShapeProto.Dimension]) -> list[int | None]:
    return [
        int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        for dim in dims
    ]


def _integers(tensor: TensorProto) -> Ints | None:
    if tensor.data_type != TensorProto.INT64 or tensor.data_location == TensorProto.EXTERNAL:
        return None
    if tensor.raw_data:
        raw = bytes(tensor.raw_data)
        return list(struct.unpack(f"<{len(raw) // 8}q", raw[: len(raw) // 8 * 8]))
    return list(tensor.int64_data)


def _constant(node: NodeProto) -> Ints | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            return _integers(attribute.t)
        if attribute.name == "value_ints":
            return list(attribute.ints)
        if attribute.name == "value_int":
            return [int(attribute.i)]
    return None


def _elementwise(function: Callable[[int, int], int]) -> Callable[[Sequence[Ints]], Ints | None]:
    def apply(operands: Sequence[Ints]) -> Ints | None:
        left, right = operands[0], operands[1]
        size = max(len(left), len(right))
        if not {len(left), len(right)} <= {1, size}:
            return None
        pairs = zip(_spread(left, size), _spread(right, size), strict=True)
        return [function(a, b) for a, b in pairs]

    return apply


def _spread(values: Ints, size: int) -> Ints:
    return values * size if len(values) == 1 else values


def _divide(a: int, b: int) -> int:
    """ONNX's integer Div, which truncates towards zero."""
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _slice(operands: Sequence[Ints]) -> Ints | None:
    if len(operands) < 3:
        return None
    values, starts, ends, *more = operands
    axes, steps = more[0] if more else [0], more[1] if len(more) > 1 else [1]
    if len(starts) != 1 or len(ends) != 1 or axes != [0] or len(steps) != 1 or steps == [0]:
        return None
    start, end, step = starts[0], ends[0], steps[0]
    # A walk backwards that ends before the first element has an end that no index means.
    return values[start : None if step < 0 and end < -len(values) else end : step]


def _filled(node: NodeProto, shape: Ints) -> Ints | None:
    if len(shape) != 1 or not 0 <= shape[0] <= _MAX_ELEMENTS:
        return None
    values = [_integers(item.t) for item in node.attribute if item.name == "value"]
    value = values[0] if values else None
    return [value[0]] * shape[0] if value else None


def _gather(operands: Sequence[Ints]) -> Ints | None:
    values, places = operands
    inside = all(-len(values) <= place < len(values) for place in places)
    return [values[place] for place in places] if inside else None


def _where(operands: Sequence[Ints]) -> Ints | None:
    size = max(map(len, operands))
    if any(len(item) not in {1, size} for item in operands):
        return None
    columns = (_spread(item, size) for item in operands)
    return [a if choice else b for choice, a, b in zip(*columns, strict=True)]


_RULES: Final[Mapping[str, Callable[[Sequence[Ints]], Ints | None]]] = {
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
    "Div": _elementwise(_divide),
    "Max": _elementwise(max),
    "Min": _elementwise(min),
    "Greater": _elementwise(lambda a, b: int(a > b)),
    "Less": _elementwise(lambda a, b: int(a < b)),
    "Where": _where,
    "Concat": lambda operands: [value for item in operands for value in item],
    "Gather": _gather,
    "Identity": lambda operands: operands[0],
    "Unsqueeze": lambda operands: operands[0],
    "Squeeze": lambda operands: operands[0],
    "Cast": lambda operands: operands[0],
}
"""Operators on flat lists of integers: what exporters compute amounts with."""

_REORDERED: Final = frozenset({"ConstantOfShape", "Reshape", "Slice", "Transpose"})
"""Operators to which it matters how many axes their input has."""
