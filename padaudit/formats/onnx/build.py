"""Making nodes, attributes and small tensors."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from padaudit.formats.onnx.dtypes import dtype_code
from padaudit.formats.onnx.protos import AttributeProto, NodeProto, TensorProto

Value = int | float | str | Sequence[int] | TensorProto

_STRUCT: Final = {
    "float16": "<e",
    "float32": "<f",
    "float64": "<d",
    "int8": "<b",
    "uint8": "<B",
    "int32": "<i",
    "int64": "<q",
}


def make_attribute(name: str, value: Value) -> AttributeProto:
    """Return an attribute of the type that its value has."""
    attribute = AttributeProto(name=name)
    if isinstance(value, TensorProto):
        attribute.type = AttributeProto.TENSOR
        attribute.t.CopyFrom(value)
    elif isinstance(value, str):
        attribute.type = AttributeProto.STRING
        attribute.s = value.encode()
    elif isinstance(value, float):
        attribute.type = AttributeProto.FLOAT
        attribute.f = value
    elif isinstance(value, int):
        attribute.type = AttributeProto.INT
        attribute.i = value
    else:
        attribute.type = AttributeProto.INTS
        attribute.ints.extend(value)
    return attribute


def make_node(
    op_type: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Value
) -> NodeProto:
    """Return a node of the default domain."""
    node = NodeProto(op_type=op_type, name=name, input=list(inputs), output=list(outputs))
    node.attribute.extend(make_attribute(key, value) for key, value in attributes.items())
    return node


def int64_vector(name: str, values: Sequence[int]) -> TensorProto:
    """Return a one-dimensional int64 tensor."""
    raw = struct.pack(f"<{len(values)}q", *values)
    return TensorProto(name=name, data_type=TensorProto.INT64, dims=[len(values)], raw_data=raw)


def scalar(name: str, dtype: str, value: float) -> TensorProto:
    r"""Return a zero-dimensional tensor of a type that Pad takes.

    >>> scalar("v", "bfloat16", float("-inf")).raw_data
    b'\x80\xff'
    """
    if dtype == "bfloat16":
        raw = struct.pack("<f", value)[2:]
    else:
        form = _STRUCT[dtype]
        raw = struct.pack(form, float(value) if form[1] in "efd" else int(value))
    return TensorProto(name=name, data_type=dtype_code(dtype), raw_data=raw)
