"""Small ONNX models for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]


def weights(shape: Sequence[int], name: str = "w", seed: int = 0) -> TensorProto:
    """Return small integer weights, so that sums are exact."""
    values = np.random.default_rng(seed).integers(-4, 5, tuple(shape)).astype(np.float32)
    return numpy_helper.from_array(values, name)


def conv_model(
    shape: Dims,
    kernel: Sequence[int],
    *,
    channels: int = 2,
    filters: int = 4,
    group: int = 1,
    opset: int = 17,
    ir_version: int = 8,
    op_type: str = "Conv",
    **attributes: Any,
) -> ModelProto:
    """Return one Conv on ``(1, channels, *shape)`` with a bias."""
    filters_first = (filters, channels // group, *kernel)
    initializers = [weights(filters_first), weights((filters,), "b", seed=1)]
    node = helper.make_node(op_type, ["x", "w", "b"], ["y"], "conv", group=group, **attributes)
    return model([node], {"x": (1, channels, *shape)}, initializers, opset, ir_version)


def model(
    nodes: Sequence[NodeProto],
    inputs: dict[str, Dims],
    initializers: Sequence[TensorProto] = (),
    opset: int = 17,
    ir_version: int = 8,
    outputs: Sequence[str] = ("y",),
    dtype: int = TensorProto.FLOAT,
    **parts: Any,
) -> ModelProto:
    """Return a model of nodes; outputs have no declared shape."""
    given = [helper.make_tensor_value_info(name, dtype, dims) for name, dims in inputs.items()]
    if ir_version < 4:
        given += [
            helper.make_tensor_value_info(item.name, item.data_type, item.dims)
            for item in initializers
        ]
    results = [helper.make_tensor_value_info(name, dtype, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", given, results, list(initializers))
    domains = parts.pop("domains", ())
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **parts)


def node_types(proto: ModelProto) -> list[str]:
    """Return the op types of the top-level graph, in order."""
    return [node.op_type for node in proto.graph.node]


def attribute(node: NodeProto, name: str) -> Any:
    """Return an attribute's value, or None."""
    found = next((item for item in node.attribute if item.name == name), None)
    return None if found is None else helper.get_attribute_value(found)


def constant(proto: ModelProto, name: str) -> np.ndarray[Any, Any]:
    """Return an initializer, or the value of a Constant node."""
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    maker = next(node for node in proto.graph.node if name in node.output)
    return numpy_helper.to_array(onnx.helper.get_attribute_value(maker.attribute[0]))
