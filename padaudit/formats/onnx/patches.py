"""What happens to the nodes of a model, as splices of its serialised form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from padaudit.formats.onnx.document import NodeOrigin
from padaudit.formats.onnx.locate import Locator, Steps, field_number
from padaudit.formats.onnx.protos import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
)
from padaudit.formats.onnx.splice import EMPTY, Content, Place, Splice, size_of, spliced
from padaudit.formats.onnx.wire import LENGTH, Record, encode_message, encode_varint, records

_INITIALIZER: Final = field_number(GraphProto, "initializer")
_TENSOR_NAME: Final = field_number(TensorProto, "name")
_FUNCTION: Final = field_number(ModelProto, "functions")
_FUNCTION_NAME: Final = field_number(FunctionProto, "name")
_SLOTS: Final = {name: field_number(NodeProto, name) for name in ("input", "output")}
_ATTRIBUTE: Final = field_number(NodeProto, "attribute")
_TEXTS: Final = {name: field_number(NodeProto, name) for name in ("name", "op_type")}


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node as it is, and as it is to be: with as many inputs and outputs."""

    before: NodeProto
    after: NodeProto


@dataclass(slots=True)
class Changes:
    """What happens in the model, or in a copy of one function."""

    nodes: dict[NodeOrigin, NodeChange] = field(default_factory=dict)
    ahead: dict[NodeOrigin, list[NodeProto]] = field(default_factory=dict)
    removed: set[NodeOrigin] = field(default_factory=set)
    constants: dict[Steps, list[TensorProto]] = field(default_factory=dict)
    dropped: dict[Steps, set[str]] = field(default_factory=dict)


def splices_of(changes: Changes, locator: Locator) -> Iterator[Splice]:
    """Yield the splices that make changes."""
    touched = (*changes.nodes, *changes.ahead, *changes.removed)
    for origin in dict.fromkeys(touched):
        yield from _node_splices(origin, changes, locator)
    for steps, constants in changes.constants.items():
        place = locator.container(steps)
        added = (item.SerializeToString() for item in constants)
        content = tuple(encode_message(_INITIALIZER, text) for text in added)
        yield Splice(place.end, place.end, content, place)
    for steps, names in changes.dropped.items():
        place = locator.container(steps)
        stale = {name.encode() for name in names}
        for record in locator.fields(place, _INITIALIZER):
            tensor = locator.place(record, place)
            if record.kind == LENGTH and locator.text(tensor, _TENSOR_NAME) in stale:
                yield Splice(record.start, record.end, EMPTY, place)


def function_copy(locator: Locator, index: int, name: str, changes: Changes) -> Content:
    """Return the record of a function's copy under another name, with changes made."""
    place = locator.container((("function", index),))
    splices = list(splices_of(changes, locator))
    splices += _retold(locator, place, _FUNCTION_NAME, name)
    content = spliced(place.payload, place.end, splices)
    return (encode_varint(_FUNCTION << 3 | LENGTH) + encode_varint(size_of(content)), *content)


def _node_splices(origin: NodeOrigin, changes: Changes, locator: Locator) -> Iterator[Splice]:
    place = locator.container(origin.steps)
    record = locator.node(origin.steps, origin.index)
    added = changes.ahead.get(origin, [])
    if added:
        content = tuple(encode_message(record.number, node.SerializeToString()) for node in added)
        yield Splice(record.start, record.start, content, place)
    if origin in changes.removed:
        yield Splice(record.start, record.end, EMPTY, place)
    elif origin in changes.nodes:
        yield from _changed(changes.nodes[origin], locator.place(record, place), locator)


def _changed(change: NodeChange, place: Place, locator: Locator) -> Iterator[Splice]:
    """Replace the fields of a node that differ; all others stay as they are written."""
    before, after = change.before, change.after
    for name, number in _SLOTS.items():
        stored = locator.fields(place, number)
        pairs = zip(stored, getattr(before, name), getattr(after, name), strict=True)
        for record, old, new in pairs:
            if old != new:
                content = (encode_message(number, new.encode()),)
                yield Splice(record.start, record.end, content, place)
    for name, number in _TEXTS.items():
        if getattr(before, name) != getattr(after, name):
            yield from _retold(locator, place, number, getattr(after, name))
    yield from _changed_attributes(change, place, locator.fields(place, _ATTRIBUTE))


def _changed_attributes(change: NodeChange, place: Place, stored: list[Record]) -> Iterator[Splice]:
    before, after = change.before.attribute, change.after.attribute
    old = [item.SerializeToString(deterministic=True) for item in before]
    new = [item.SerializeToString(deterministic=True) for item in after]
    kept = set(new)
    for record, text in zip(stored, old, strict=True):
        if text not in kept:
            yield Splice(record.start, record.end, EMPTY, place)
    present = set(old)
    added = [text for text in new if text not in present]
    if added:
        content = tuple(encode_message(_ATTRIBUTE, text) for text in added)
        yield Splice(place.end, place.end, content, place)


def _retold(locator: Locator, place: Place, number: int, text: str) -> Iterator[Splice]:
    """Write a string field anew, behind all others."""
    for record in records(locator.buffer, place.payload, place.end):
        if record.number == number:
            yield Splice(record.start, record.end, EMPTY, place)
    yield Splice(place.end, place.end, (encode_message(number, text.encode()),), place)
