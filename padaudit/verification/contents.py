"""What the branches and bodies of an ONNX model compute, as digests that two models can share.

A digest follows the data: names, order and what is not used do not count; operators with their
attributes and opset, weights by content, and all that is read from outside do.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    numpy_helper,
)

from padaudit.formats.onnx.calls import key_of_call, key_of_function
from padaudit.ir.site import Family
from padaudit.verification.model_level import input_names

if TYPE_CHECKING:
    from padaudit.formats.onnx.locate import Steps
    from padaudit.ir.site import PaddingSite
    from padaudit.rewriting.run import Loaded
    from padaudit.verification.taps import Hop

Key = tuple[tuple["Steps", int, str], ...]
"""By enclosing operator: the graph that holds it, its place there, and which body is meant."""
_SPELLED: Final = frozenset({"auto_pad", "pads", "kernel_shape", "strides", "dilations"})
_BY_AMOUNTS: Final = frozenset({Family.CONV, Family.MAX_POOL})
"""Operators that are the same with the same amounts, however these are declared."""

_IDENTITY: Final = {"Conv": 0.0, "MaxPool": -math.inf}
"""What a Pad ahead must hold to be the operator's own padding."""
_SMALL: Final = 16
"""How many elements may tell how much a Pad pads."""


@dataclass(frozen=True, slots=True)
class _Amounts:
    """A window, and the padding of each of its axes."""

    window: str
    pads: tuple[tuple[int, int], ...]

    def behind(self, pads: Sequence[int]) -> _Amounts | None:
        """Return what it is together with a Pad ahead of it; None if that pads other axes too."""
        rank, spatial = len(pads) // 2, len(self.pads)
        pairs = list(zip(pads[:rank], pads[rank:], strict=True))
        if rank != spatial + 2 or any(map(any, pairs[:2])) or min(pads) < 0:
            return None
        both = zip(self.pads, pairs[2:], strict=True)
        return replace(self, pads=tuple((a + c, b + d) for (a, b), (c, d) in both))


def key_of(hops: Sequence[Hop]) -> Key:
    """Return the key of what the innermost hop holds."""
    return tuple((hop.op.origin.steps, hop.op.origin.index, hop.label) for hop in hops)


def contents(model: Loaded, inputs: Sequence[str]) -> dict[Key, str]:
    """Return a digest of each branch, body and call of a model.

    Parameters
    ----------
    model : Loaded
        An ONNX model.
    inputs : sequence of str
        What its inputs are called, in their order, by names that another model shares.
    """
    document: Any = model.document
    proto = ModelProto.FromString(bytes(document.buffer()[:]))
    home = document.path.parent if document.path else Path()
    reader = _Reader(proto, home, _amounts(model.sites))
    given = zip(input_names(proto), inputs, strict=True)
    known = {name: _digest("input", shared) for name, shared in given}
    reader.graph(proto.graph, known, _Place((("graph",),), (), _opsets(proto)))
    return reader.found


def _amounts(sites: Sequence[PaddingSite]) -> dict[tuple[Steps, int], _Amounts]:
    """Return windows with their padding by operator, where that is all that counts."""
    found: dict[tuple[Steps, int], set[_Amounts | None]] = {}
    for site in sites:
        told = None
        plain = site.family in _BY_AMOUNTS and not site.op.attributes.get("ceil_mode")
        if plain and site.pads is not None and site.window is not None:
            told = _Amounts(str(site.window), tuple(map(tuple, site.pads)))  # type: ignore[arg-type]
        found.setdefault((site.op.origin.steps, site.op.origin.index), set()).add(told)
    alone = {where: next(iter(told)) for where, told in found.items() if len(told) == 1}
    return {where: told for where, told in alone.items() if told is not None}


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Place:
    """A graph, body or function: where it stands, what it is, and by which rules it is read.

    ``settings`` are the attributes of the call, where it is a function or in one.
    """

    steps: Steps
    key: Key
    opsets: Mapping[str, int]
    settings: str = ""


@dataclass(slots=True)
class _Reader:
    """State of one reading."""

    model: ModelProto
    home: Path
    amounts: Mapping[tuple[Steps, int], _Amounts]
    found: dict[Key, str] = field(default_factory=dict)
    small: dict[str, list[Any]] = field(default_factory=dict)
    padded: dict[str, tuple[str, list[int], float]] = field(default_factory=dict)

    def graph(self, graph: GraphProto, known: Mapping[str, str], place: _Place) -> str:
        """Return the digest of a graph or body; ``known`` are the tensors it can read."""
        values = {**known, **{item.name: self._tensor(item) for item in graph.initializer}}
        for sparse in graph.sparse_initializer:
            parts = self._tensor(sparse.values), self._tensor(sparse.indices), list(sparse.dims)
            values[sparse.values.name] = _digest(*parts)
        if place.key:
            values |= {item.name: _digest("argument", at) for at, item in enumerate(graph.input)}
        self._nodes(graph.node, values, place)
        return _digest(*(self._value(item.name, values) for item in graph.output))

    def _nodes(self, nodes: Sequence[NodeProto], values: dict[str, str], place: _Place) -> None:
        """Add the digests of what nodes make."""
        for index, node in enumerate(nodes):
            whole = self._passed_on(node, values)
            made = whole or self._node(node, values, index, place)
            for slot, name in enumerate(node.output):
                values[name] = whole or _digest(made, slot)
            if node.op_type == "Pad" and not whole:
                self._remember(node, values)

    def _remember(self, node: NodeProto, values: Mapping[str, str]) -> None:
        """Keep what a Pad of constants pads, for the operator behind it."""
        read = [values.get(name, "") for name in node.input]
        other = [item for item in node.attribute if (item.name, item.s) != ("mode", b"constant")]
        if other or len(node.input) not in (2, 3) or node.domain:
            return
        value = self.small.get(read[2]) if len(read) > 2 and node.input[2] else [0.0]
        if read[1] in self.small and value and len(value) == 1:
            self.padded[values[node.output[0]]] = read[0], self.small[read[1]], value[0]

    def _folded(self, node: NodeProto, amounts: _Amounts, data: str) -> tuple[_Amounts, str]:
        """Return amounts and data of an operator together with the Pad ahead of it."""
        source, pads, value = self.padded.get(data, ("", [], 0.0))
        both = amounts.behind(pads) if _IDENTITY.get(node.op_type) == value and source else None
        return (both, source) if both is not None else (amounts, data)

    def _value(self, name: str, values: Mapping[str, str]) -> str:
        # What is not known is like nothing in another model.
        return values.get(name) or (_digest("unknown", name, id(self)) if name else "")

    def _passed_on(self, node: NodeProto, values: Mapping[str, str]) -> str:
        """Return the digest of a weight, or of what a node hands on as it is; else nothing."""
        if node.domain not in ("", "ai.onnx"):
            return ""
        if node.op_type == "Identity":
            return self._value(node.input[0], values)
        only = node.attribute[0] if len(node.attribute) == 1 else None
        if node.op_type == "Constant" and only is not None and only.HasField("t"):
            return self._tensor(only.t)
        return ""

    def _node(self, node: NodeProto, values: Mapping[str, str], index: int, place: _Place) -> str:
        read = [self._value(name, values) for name in node.input]
        window = self.amounts.get((place.steps, index))
        if window is not None:
            window, read[0] = self._folded(node, window, read[0])
        domain = _domain(node.domain)
        told: list[object] = [window, domain, node.op_type, place.opsets.get(domain), *read]
        for item in sorted(node.attribute, key=lambda attribute: attribute.name):
            if item.type == AttributeProto.GRAPH:
                told.append(self._body(item, values, index, place))
            elif not window or item.name not in _SPELLED:
                told.append(self._attribute(item, place))
        for number, function in enumerate(self.model.functions):
            if key_of_function(function) == key_of_call(node):
                told.append(self._call(number, node, read, (*place.key, (place.steps, index, ""))))
        return _digest(*told)

    def _call(self, number: int, node: NodeProto, read: Sequence[str], key: Key) -> str:
        """Return the digest of a function at one call: with its inputs and attributes."""
        function = self.model.functions[number]
        values = dict.fromkeys(function.input, "absent")
        values |= dict(zip(function.input, read, strict=False))
        given = [*node.attribute, *function.attribute_proto]
        settings = _digest(*(item.SerializeToString(deterministic=True) for item in given))
        place = _Place((("function", number),), key, _opsets(function), settings)
        self._nodes(function.node, values, place)
        self.found[key] = _digest(*(self._value(name, values) for name in function.output))
        return self.found[key]

    def _body(
        self, item: AttributeProto, values: Mapping[str, str], index: int, place: _Place
    ) -> str:
        steps: Steps = (*place.steps, ("body", index, item.name))
        key = (*place.key, (place.steps, index, item.name))
        inside = replace(place, steps=steps, key=key)
        self.found[key] = self.graph(item.g, values, inside)
        return _digest(item.name, self.found[key])

    def _attribute(self, item: AttributeProto, place: _Place) -> str:
        if item.type == AttributeProto.TENSOR and not item.ref_attr_name:
            return _digest(item.name, self._tensor(item.t))
        bare = AttributeProto()
        bare.CopyFrom(item)
        bare.ClearField("doc_string")
        settings = place.settings if item.ref_attr_name else ""
        return _digest(bare.SerializeToString(deterministic=True), settings)

    def _tensor(self, tensor: TensorProto) -> str:
        """Return the digest of a tensor's content, wherever that is kept."""
        if tensor.data_type == TensorProto.STRING:
            return _digest(list(tensor.dims), list(tensor.string_data))
        values = numpy_helper.to_array(tensor, str(self.home))
        content = hashlib.sha256(values.tobytes()).hexdigest()
        digest = _digest(list(tensor.dims), tensor.data_type, content)
        if values.size <= _SMALL:
            self.small[digest] = values.ravel().tolist()
        return digest


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _opsets(holder: ModelProto | FunctionProto) -> dict[str, int]:
    return {_domain(item.domain): item.version for item in holder.opset_import}
