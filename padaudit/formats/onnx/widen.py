"""A model with float32 in the place of bfloat16, for which onnxruntime's CPU has few kernels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

_TYPED: Final = frozenset({"to", "dtype"})
"""Attributes that hold an element type."""


def widened(model: ModelProto) -> ModelProto | None:
    """Return a copy of a model that computes in float32 what the model computes in bfloat16.

    Parameters
    ----------
    model : ModelProto
        With all of its tensors; it is not changed.

    Returns
    -------
    ModelProto or None
        None if it has no bfloat16.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    changed = [_widen_graph(copy.graph)]
    for function in copy.functions:
        changed += [_widen_nodes(function.node), _widen_values(function.value_info)]
    return copy if any(changed) else None


def _widen_graph(graph: GraphProto) -> bool:
    tensors = [_widen_tensor(tensor) for tensor in graph.initializer]
    values = [_widen_values(items) for items in (graph.input, graph.output, graph.value_info)]
    return any([*tensors, *values, _widen_nodes(graph.node)])


def _widen_nodes(nodes: Iterable[NodeProto]) -> bool:
    changed = [_widen_attribute(item) for node in nodes for item in node.attribute]
    return any(changed)


def _widen_attribute(attribute: AttributeProto) -> bool:
    if attribute.name in _TYPED and attribute.i == TensorProto.BFLOAT16:
        attribute.i = TensorProto.FLOAT
        return True
    if attribute.HasField("t"):
        return _widen_tensor(attribute.t)
    if attribute.HasField("g"):
        return _widen_graph(attribute.g)
    changed = [_widen_tensor(tensor) for tensor in attribute.tensors]
    return any(changed)


def _widen_tensor(tensor: TensorProto) -> bool:
    if tensor.data_type != TensorProto.BFLOAT16:
        return False
    values: Any = onnx.numpy_helper.to_array(tensor).astype("float32")
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return True


def _widen_values(values: Iterable[ValueInfoProto]) -> bool:
    found = [value.type.tensor_type for value in values]
    narrow = [item for item in found if item.elem_type == TensorProto.BFLOAT16]
    for item in narrow:
        item.elem_type = TensorProto.FLOAT
    return bool(narrow)
