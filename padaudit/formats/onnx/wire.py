"""The protobuf wire format: the records of a message, over a buffer, without copying.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final, NamedTuple

Buffer = bytes | mmap.mmap

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5
_FIXED: Final = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT: Final = 10
_MAX_FIELD: Final = 2**29 - 1


class WireError(ValueError):
    """The bytes are no protobuf message."""


class Record(NamedTuple):
    """One field of a message as it stands in a buffer (offsets from the buffer's start).

    Parameters
    ----------
    number : int
        The field's number.
    kind : int
        Wire type.
    start : int
        Where its tag begins.
    payload : int
        Where its value begins (behind the length, for `LENGTH`).
    end : int
        Where the next record begins.
    """

    number: int
    kind: int
    start: int
    payload: int
    end: int


def records(buffer: Buffer, start: int, end: int) -> Iterator[Record]:
    """Yield the records of a message that fills ``buffer[start:end]``.

    Raises
    ------
    WireError
        If a record is malformed or reaches over the end.
    """
    at = start
    while at < end:
        begin = at
        tag = buffer[at]
        at += 1
        if tag >= 0x80:
            tag, at = varint(buffer, begin, end)
        kind, number = tag & 7, tag >> 3
        payload = at
        if kind == LENGTH:
            size = buffer[at] if at < end else 0x80
            if size < 0x80:
                payload = at + 1
            else:
                size, payload = varint(buffer, at, end)
            at = payload + size
        elif kind == VARINT:
            _, at = varint(buffer, at, end)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise WireError(f"wire type {kind} at byte {begin}")
        if at > end:
            raise WireError(f"the record at byte {begin} reaches over the end of its message")
        if not 0 < number <= _MAX_FIELD:
            raise WireError(f"field number {number} at byte {begin}")
        yield Record(number, kind, begin, payload, at)


def varint(buffer: Buffer, at: int, end: int) -> tuple[int, int]:
    r"""Return a variable-length integer and where it ends.

    Raises
    ------
    WireError
        If it is longer than 64 bits or not terminated before ``end``.

    >>> varint(b"\xac\x02", 0, 2)
    (300, 2)
    """
    value = shift = 0
    for place in range(at, min(end, at + _MAX_VARINT)):
        byte = buffer[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), place + 1
        shift += 7
    raise WireError(f"the number at byte {at} does not end")


def encode_varint(value: int) -> bytes:
    r"""Return the shortest encoding of a number of 0 or more.

    >>> encode_varint(300)
    b'\xac\x02'
    """
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_message(number: int, content: bytes) -> bytes:
    r"""Return the record of a message, string or bytes field.

    >>> encode_message(1, b"ab")
    b'\n\x02ab'
    """
    return encode_varint(number << 3 | LENGTH) + encode_varint(len(content)) + content
