"""The skeleton of an ONNX file: its whole structure, large tensors as references.

A tensor whose record is larger than `LARGE_TENSOR_BYTES` keeps its name, type and dims; its
values stay in the file. Only the bytes around them are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor

from padaudit.formats.onnx.protos import ModelProto, StringStringEntryProto, TensorProto
from padaudit.formats.onnx.wire import (
    LENGTH,
    Buffer,
    Record,
    WireError,
    encode_message,
    encode_varint,
    records,
)

LARGE_TENSOR_BYTES: Final = 4096
MAX_DEPTH: Final = 100
"""How deep messages may be nested; protobuf's own limit."""
_REFERENCE_KEY: Final = f"padaudit.{os.urandom(8).hex()}"
"""Key of the external_data entry of a tensor whose values stayed in the file.

No file can bring it along, because it is another one in every process.
"""

_TENSOR: Final = TensorProto.DESCRIPTOR
_PAYLOADS: Final = frozenset(
    _TENSOR.fields_by_name[name].number
    for name in (
        "float_data",
        "int32_data",
        "string_data",
        "int64_data",
        "raw_data",
        "double_data",
        "uint64_data",
    )
)
_ENTRY: Final = _TENSOR.fields_by_name["external_data"].number
_LOCATION: Final = _TENSOR.fields_by_name["data_location"].number
_MARK: Final = encode_varint(_LOCATION << 3) + encode_varint(TensorProto.EXTERNAL)
_EXTERNAL_MARK: Final = encode_varint(_LOCATION << 3) + bytes((TensorProto.EXTERNAL | 0x80, 0))
"""data_location EXTERNAL in an unusual encoding, which tells references from the file's own."""
Layout = dict[int, Descriptor]


def _layouts() -> dict[str, Layout]:
    """Return, by message name, the fields through which tensors can be reached."""
    found: dict[str, Layout] = {}
    _visit(ModelProto.DESCRIPTOR, found)
    holders = {_TENSOR.full_name}
    while True:
        more = {
            name
            for name, layout in found.items()
            if any(child.full_name in holders for child in layout.values())
        }
        if more <= holders:
            break
        holders |= more
    return {
        name: {number: child for number, child in layout.items() if child.full_name in holders}
        for name, layout in found.items()
    }


def _visit(message: Descriptor, found: dict[str, Layout]) -> None:
    if message.full_name in found:
        return
    children = {item.number: item.message_type for item in message.fields if item.message_type}
    found[message.full_name] = children
    for child in children.values():
        _visit(child, found)


_LAYOUTS: Final = _layouts()


def skeleton_bytes(buffer: Buffer) -> bytes:
    """Return a serialised model without the values of its large tensors.

    Raises
    ------
    WireError
        If the buffer holds no well-formed protobuf message, or messages are nested deeper
        than `MAX_DEPTH`.
    """
    return b"".join(_thin(buffer, 0, len(buffer), ModelProto.DESCRIPTOR, 0))


def may_have_external_data(skeleton: bytes) -> bool:
    """Tell whether it is worth looking for tensors with external data in a skeleton."""
    return _MARK in skeleton or b"location" in skeleton


def is_reference(tensor: TensorProto) -> bool:
    """Tell whether a tensor's values are in the model's own file, and were left there."""
    return any(entry.key == _REFERENCE_KEY for entry in tensor.external_data)


def _thin(buffer: Buffer, start: int, end: int, message: Descriptor, depth: int) -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise WireError(f"messages are nested more than {MAX_DEPTH} deep")
    if message is _TENSOR:
        yield from _thin_tensor(buffer, start, end)
        return
    layout = _LAYOUTS[message.full_name]
    copied = start
    for record in records(buffer, start, end):
        child = layout.get(record.number)
        if child is None or not _large(record):
            continue
        yield buffer[copied : record.start]
        copied = record.end
        content = b"".join(_thin(buffer, record.payload, record.end, child, depth + 1))
        yield encode_message(record.number, content)
    yield buffer[copied:end]


def _large(record: Record) -> bool:
    return record.kind == LENGTH and record.end - record.payload > LARGE_TENSOR_BYTES


def _thin_tensor(buffer: Buffer, start: int, end: int) -> Iterator[bytes]:
    """Drop a tensor's values; one whose values are in another file keeps saying where."""
    external = False
    for record in records(buffer, start, end):
        if record.number not in _PAYLOADS:
            external |= record.number in (_ENTRY, _LOCATION)
            yield buffer[record.start : record.end]
    if not external:
        entry = StringStringEntryProto(key=_REFERENCE_KEY)
        yield encode_message(_ENTRY, entry.SerializeToString())
        yield _EXTERNAL_MARK
