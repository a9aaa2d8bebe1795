"""ONNX models byte by byte: a protobuf encoder and decoder of the tests' own.

The onnx package can't write what is tested here: unknown fields, odd orders, repeated singular
fields, unpacked and packed numbers at will, over-long varints, lengths that lie.
Source: https://protobuf.dev/programming-guides/encoding/ and onnx/onnx.proto.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import onnx

Value = int | float | str | bytes

MODEL = {
    "ir_version": 1, "producer_name": 2, "producer_version": 3, "domain": 4, "model_version": 5,
    "doc_string": 6, "graph": 7, "opset_import": 8, "metadata_props": 14, "training_info": 20,
    "functions": 25,
}  # fmt: skip
GRAPH = {
    "node": 1, "name": 2, "initializer": 5, "doc_string": 10, "input": 11, "output": 12,
    "value_info": 13, "quantization_annotation": 14, "sparse_initializer": 15,
    "metadata_props": 16,
}  # fmt: skip
NODE = {
    "input": 1, "output": 2, "name": 3, "op_type": 4, "attribute": 5, "doc_string": 6,
    "domain": 7, "overload": 8, "metadata_props": 9,
}  # fmt: skip
ATTRIBUTE = {
    "name": 1, "f": 2, "i": 3, "s": 4, "t": 5, "g": 6, "floats": 7, "ints": 8, "strings": 9,
    "tensors": 10, "graphs": 11, "doc_string": 13, "type": 20, "ref_attr_name": 21,
    "sparse_tensor": 22, "sparse_tensors": 23,
}  # fmt: skip
TENSOR = {
    "dims": 1, "data_type": 2, "float_data": 4, "int32_data": 5, "string_data": 6,
    "int64_data": 7, "name": 8, "raw_data": 9, "double_data": 10, "uint64_data": 11,
    "doc_string": 12, "external_data": 13, "data_location": 14, "metadata_props": 16,
}  # fmt: skip
SPARSE = {"values": 1, "indices": 2, "dims": 3}
FUNCTION = {
    "name": 1, "input": 4, "output": 5, "attribute": 6, "node": 7, "doc_string": 8,
    "opset_import": 9, "domain": 10, "attribute_proto": 11, "metadata_props": 14,
}  # fmt: skip
TRAINING = {"initialization": 1, "algorithm": 2, "initialization_binding": 3, "update_binding": 4}

CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "leaf", 14: "leaf", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "leaf",
              15: "sparse", 16: "leaf"},
    "node": {5: "attribute", 9: "leaf"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse",
                  23: "sparse"},
    "tensor": {13: "leaf", 16: "leaf"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 9: "leaf", 11: "attribute", 12: "value", 14: "leaf"},
    "training": {1: "graph", 2: "graph", 3: "leaf", 4: "leaf"},
    "value": {2: "leaf"},
    "leaf": {},
}  # fmt: skip
"""Which fields of a message are messages, and of which kind."""

FLOAT, INT8, INT32, INT64, STRING, DOUBLE, UINT64 = 1, 3, 6, 7, 8, 11, 13
_TYPES = {"f": 1, "i": 2, "s": 3, "t": 4, "g": 5, "floats": 6, "ints": 7, "strings": 8,
          "tensors": 9, "graphs": 10, "sparse_tensor": 11, "sparse_tensors": 12}  # fmt: skip


class Record(NamedTuple):
    """One field: its number, wire type, the whole record's bytes and the value's bytes."""

    number: int
    wire: int
    raw: bytes
    value: bytes


# --- encoding -----------------------------------------------------------------------------


def varint(value: int, width: int = 0) -> bytes:
    """Return a varint, made over-long to ``width`` bytes; negative ones take ten bytes."""
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80 or len(out) < width - 1:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def rec(number: int, value: Value, *, width: int = 0, tag_width: int = 0) -> bytes:
    """Return a record: ints as varint, floats as fixed32, text, bytes and messages with length.

    ``width`` makes the number or length over-long, ``tag_width`` the tag.
    """
    if isinstance(value, int):
        return varint(number << 3, tag_width) + varint(value, width)
    if isinstance(value, float):
        return varint(number << 3 | 5, tag_width) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2, tag_width) + varint(len(content), width) + content


def fixed64(number: int, value: int) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def packed(number: int, values: Iterable[int]) -> bytes:
    return rec(number, b"".join(map(varint, values)))


def message(fields: dict[str, int], *extra: bytes, **values: Value | Sequence[Value]) -> bytes:
    """Return a message's content: fields in the order given (lists repeat), then ``extra``."""
    out = []
    for key, given in values.items():
        many = [given] if isinstance(given, int | float | str | bytes) else given
        out += [rec(fields[key], value) for value in many]
    return b"".join((*out, *extra))


def attribute(name: str, **value: Value | Sequence[Value]) -> bytes:
    """Return an attribute: ``attribute("strides", ints=[3, 2])``."""
    (kind,) = value
    return message(ATTRIBUTE, name=name, **value, type=_TYPES[kind])


def node(
    op_type: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *attributes: bytes,
    name: str = "",
    extra: bytes = b"",
    **values: Value | Sequence[Value],
) -> bytes:
    """Return a node; ``extra`` holds further records."""
    return message(
        NODE,
        extra,
        input=inputs,
        output=outputs,
        op_type=op_type,
        attribute=attributes,
        **({"name": name} if name else {}),
        **values,
    )


def conv(
    source: str = "x",
    result: str = "y",
    *attributes: bytes,
    name: str = "conv",
    weight: str = "w",
    auto_pad: str = "SAME_UPPER",
    extra: bytes = b"",
) -> bytes:
    """Return a Conv with a 4x3 kernel and strides 3 and 2."""
    padding = [attribute("auto_pad", s=auto_pad)] if auto_pad else []
    given = (attribute("strides", ints=[3, 2]), *padding, *attributes)
    return node("Conv", [source, weight], [result], *given, name=name, extra=extra)


def tensor(
    name: str,
    dims: Sequence[int],
    data_type: int = FLOAT,
    *extra: bytes,
    **values: Value | Sequence[Value],
) -> bytes:
    return message(TENSOR, *extra, dims=dims, data_type=data_type, name=name, **values)


def external(
    name: str,
    dims: Sequence[int] = (4, 2, 4, 3),
    data_type: int = FLOAT,
    **entries: str | bytes,
) -> bytes:
    """Return a tensor whose values are in another file, with the entries given."""
    pairs = [entry(key, value) for key, value in entries.items()]
    return message(
        TENSOR, dims=dims, data_type=data_type, name=name, external_data=pairs, data_location=1
    )


def entry(key: str, value: str | bytes) -> bytes:
    """Return a StringStringEntryProto."""
    return rec(1, key) + rec(2, value)


def value_info(name: str, dims: Sequence[int | str] | None, data_type: int = FLOAT) -> bytes:
    """Return a tensor's declaration; text is a symbolic size, None an unknown rank."""
    shape = b""
    if dims is not None:
        sizes = [rec(1, rec(2 if isinstance(dim, str) else 1, dim)) for dim in dims]
        shape = rec(2, b"".join(sizes))
    return rec(1, name) + rec(2, rec(1, rec(1, data_type) + shape))


def weight(name: str = "w") -> bytes:
    """Return the weights of `conv`: ``(4, 2, 4, 3)``, unequal small integers."""
    values = [float(index * 7 % 9 - 4) for index in range(4 * 2 * 4 * 3)]
    return tensor(name, (4, 2, 4, 3), raw_data=struct.pack(f"<{len(values)}f", *values))


INPUT = value_info("x", (1, 2, 17, 14))


def graph(
    nodes: Sequence[bytes],
    initializers: Sequence[bytes] = (),
    *extra: bytes,
    inputs: Sequence[bytes] = (INPUT,),
    outputs: Sequence[str] = ("y",),
) -> bytes:
    """Return a graph; outputs are declared without a shape."""
    declared = [value_info(name, None) for name in outputs]
    return message(
        GRAPH, *extra, node=nodes, name="g", initializer=initializers, input=inputs, output=declared
    )


def model(graph: bytes, *extra: bytes, opset: int = 17, ir_version: int = 8) -> bytes:
    return message(MODEL, *extra, ir_version=ir_version, graph=graph, opset_import=[rec(2, opset)])


def conv_model(*graph_extra: bytes, model_extra: bytes = b"") -> bytes:
    """Return a model of one `conv`, with further records in its graph and around it."""
    return model(graph([conv()], [weight()], *graph_extra), model_extra)


# --- decoding -----------------------------------------------------------------------------


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def records(data: bytes) -> list[Record]:
    """Return the records of a well-formed message."""
    found, at = [], 0
    while at < len(data):
        begin = at
        tag, at = read_varint(data, at)
        wire = tag & 7
        if wire == 2:
            size, at = read_varint(data, at)
            end = at + size
        elif wire == 0:
            end = read_varint(data, at)[1]
        else:
            end = at + {1: 8, 5: 4}[wire]
        assert end <= len(data), f"the record at byte {begin} reaches over the end"
        found.append(Record(tag >> 3, wire, data[begin:end], data[at:end]))
        at = end
    return found


def values(data: bytes, number: int) -> list[bytes]:
    """Return the contents of all records of a field."""
    return [record.value for record in records(data) if record.number == number]


def only(data: bytes, number: int) -> bytes:
    (value,) = values(data, number)
    return value


def text(data: bytes, number: int) -> str:
    """Return a singular text field: of several, the last one holds."""
    found = values(data, number)
    return found[-1].decode() if found else ""


def named(data: bytes, number: int, name: str, field: int) -> bytes:
    """Return the one message of a repeated field whose text field ``field`` is ``name``."""
    (found,) = [item for item in values(data, number) if text(item, field) == name]
    return found


def walk(data: bytes, kind: str = "model") -> Iterator[tuple[str, bytes]]:
    """Yield every message below one, with its kind, in order; the message itself first."""
    yield kind, data
    for record in records(data):
        child = CHILDREN[kind].get(record.number)
        if child is not None and record.wire == 2:
            yield from walk(record.value, child)


def all_of(data: bytes, kind: str) -> list[bytes]:
    """Return every message of a kind, wherever it stands in a model."""
    return [content for found, content in walk(data) if found == kind]


def count_records(data: bytes, kind: str = "model") -> int:
    """Return how many records a message has, those of messages in it included."""
    found = records(data)
    inner = [
        count_records(item.value, CHILDREN[kind][item.number])
        for item in found
        if item.wire == 2 and item.number in CHILDREN[kind]
    ]
    return len(found) + sum(inner)


Change = Callable[[Record], bytes]


def changed_at(data: bytes, index: int, change: Change, kind: str = "model") -> bytes:
    """Return a message with its ``index``-th record (in reading order) replaced.

    The lengths of the messages around it are made to fit.
    """
    out = []
    for record in records(data):
        child = CHILDREN[kind].get(record.number) if record.wire == 2 else None
        size = 1 + (count_records(record.value, child) if child else 0)
        if index == 0:
            out.append(change(record))
        elif 0 < index < size and child:
            out.append(rec(record.number, changed_at(record.value, index - 1, change, child)))
        else:
            out.append(record.raw)
        index -= size
    return b"".join(out)


# --- comparing ----------------------------------------------------------------------------

_NAME = {
    "graph": GRAPH["name"],
    "node": NODE["name"],
    "attribute": ATTRIBUTE["name"],
    "function": FUNCTION["name"],
}


class Added(NamedTuple):
    """A record that only the second of two files has, and the kind of message that holds it."""

    holder: str
    record: Record


def compare(before: bytes, after: bytes, touched: set[str], kind: str = "model") -> list[Added]:
    """Return what a rewrite added; everything else must be there, in order, byte for byte.

    Only graphs, functions, nodes and attributes that hold a node of ``touched`` may have
    changed; of such a node itself only its first input, ``auto_pad`` and ``pads``.
    """
    added: list[Added] = []
    rest = records(after)
    for old in records(before):
        place = next((i for i, new in enumerate(rest) if new.raw == old.raw), None)
        if place is None:
            place = next((i for i, new in enumerate(rest) if _same_thing(kind, old, new)), None)
            assert place is not None, f"{kind}: a record is gone or was moved: {old.raw[:200]!r}"
            child = CHILDREN[kind][old.number]
            added += _inside(old.value, rest[place].value, touched, child)
        added += [Added(kind, new) for new in rest[:place]]
        rest = rest[place + 1 :]
    return added + [Added(kind, new) for new in rest]


def _same_thing(kind: str, old: Record, new: Record) -> bool:
    child = CHILDREN[kind].get(old.number)
    if child not in _NAME or (new.number, new.wire) != (old.number, old.wire):
        return False
    same_name = text(old.value, _NAME[child]) == text(new.value, _NAME[child])
    if child == "node":
        return same_name and values(old.value, NODE["output"]) == values(new.value, NODE["output"])
    return same_name


def _inside(before: bytes, after: bytes, touched: set[str], kind: str) -> list[Added]:
    if kind != "node" or text(before, NODE["name"]) not in touched:
        return compare(before, after, touched, kind)
    old, new = without_padding(before), without_padding(after)
    assert old == new, f"a padded node changed more than it must: {old[:300]!r} {new[:300]!r}"
    return []


def without_padding(content: bytes) -> bytes:
    """Return a node in canonical form without first input, ``auto_pad`` and ``pads``.

    Its unknown fields are in it; a node that is changed may be encoded anew.
    """
    proto = onnx.NodeProto.FromString(content)
    del proto.input[0]
    kept = [item for item in proto.attribute if item.name not in ("auto_pad", "pads")]
    del proto.attribute[:]
    proto.attribute.extend(kept)
    result: bytes = proto.SerializeToString(deterministic=True)
    return result


def assert_only_nodes_and_constants(added: list[Added]) -> None:
    """A rewrite adds standard nodes that don't convolve or pool, and initializers: no more."""
    for holder, record in added:
        if (holder, record.number) == ("graph", GRAPH["initializer"]):
            continue
        expected = {"graph": GRAPH["node"], "function": FUNCTION["node"]}.get(holder)
        assert record.number == expected, (holder, record)
        assert not text(record.value, NODE["domain"])
        assert not re.search("Conv|Pool|If|Loop|Scan", text(record.value, NODE["op_type"]))
