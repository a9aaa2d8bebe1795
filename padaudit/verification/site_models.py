"""One operator of a rewritten model as a model of its own, with small integer weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from padaudit.formats.onnx.document import Container, OnnxDocument, container_of, opset_at
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import PaddingSite, Window
from padaudit.padding.amounts import AxisPads

_OPSET = 17
_IR_VERSION = 8
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SiteWeights:
    """Small integer weights for one operator, its channels cropped.

    Parameters
    ----------
    kernel : ndarray, shape (M, C / group, *kernel_shape)
    bias : ndarray, shape (M,)
    group : int
        Number of groups after cropping (2 at most).
    """

    kernel: Array
    bias: Array
    group: int

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return int(self.kernel.shape[1]) * self.group


def small_integers(shape: Sequence[int], seed: int) -> Array:
    """Return integers from -4 to 4, as floats: sums of their products are exact."""
    return np.random.default_rng(seed).integers(-4, 5, tuple(shape)).astype(np.float64)


def site_weights(window: Window, group: int) -> SiteWeights:
    """Return weights for a window; grouped operators keep two groups of one channel."""
    groups = min(group, 2)
    shape = (2 * groups, 1 if groups > 1 else 2, *window.kernel_shape)
    bias = np.arange(1, shape[0] + 1, dtype=np.float64) * np.array([1, -2] * groups)
    return SiteWeights(small_integers(shape, seed=7), bias, groups)


def onnx_site_model(
    document: OnnxDocument, graph: Graph, site: PaddingSite, weights: SiteWeights
) -> bytes:
    """Return the nodes of a site as they stand in a model (a Pad in front included).

    Parameters
    ----------
    document, graph, site
        The model the nodes are taken from.
    weights : SiteWeights
        Replace the model's own.
    """
    conv = _nameless(site.op.origin.node, "x", "y")
    nodes, constants = [conv], _weight_tensors(weights)
    pad = graph.producer(site.op.inputs[0])
    if pad is not None and pad.op_type == "Pad":
        nodes = [_nameless(pad.origin.node, "x", "padded"), conv]
        conv.input[0] = "padded"
        constants += _pad_constants(document, pad, nodes[0])
    conv.input[1] = "w"
    if len(conv.input) > 2:
        conv.input[2] = "b"
    for attribute in conv.attribute:
        if attribute.name == "group":
            attribute.i = weights.group
    opset = max(opset_at(document.model, site.op.origin), 7)
    rank = weights.kernel.ndim
    return _model(nodes, "y", constants, rank, opset, document.model.ir_version)


def explicit_site_model(window: Window, weights: SiteWeights, pads: tuple[AxisPads, ...]) -> bytes:
    """Return Pad + Conv without padding for a window and amounts (channels first)."""
    flat = [0, 0, *(before for before, _ in pads), 0, 0, *(after for _, after in pads)]
    pad = helper.make_node("Pad", ["x", "pads", "value"], ["padded"], mode="constant")
    conv = _conv("padded", window, weights)
    constants = [
        *_weight_tensors(weights),
        numpy_helper.from_array(np.asarray(flat, np.int64), "pads"),
        numpy_helper.from_array(np.zeros((), np.float32), "value"),
    ]
    return _model([pad, conv], "y", constants, weights.kernel.ndim, _OPSET, _IR_VERSION)


def implicit_site_model(window: Window, weights: SiteWeights, auto_pad: str) -> bytes:
    """Return one Conv with ``auto_pad``, for onnxruntime where it computes that rightly."""
    conv = _conv("x", window, weights, auto_pad=auto_pad)
    constants = _weight_tensors(weights)
    return _model([conv], "y", constants, weights.kernel.ndim, _OPSET, _IR_VERSION)


def _conv(source: str, window: Window, weights: SiteWeights, **padding: Any) -> NodeProto:
    return helper.make_node(
        "Conv",
        [source, "w", "b"],
        ["y"],
        strides=window.strides,
        dilations=window.dilations,
        group=weights.group,
        **padding,
    )


def _weight_tensors(weights: SiteWeights) -> list[TensorProto]:
    return [
        numpy_helper.from_array(weights.kernel.astype(np.float32), "w"),
        numpy_helper.from_array(weights.bias.astype(np.float32), "b"),
    ]


def _nameless(node: NodeProto, source: str, target: str) -> NodeProto:
    """Copy what a node does, without what it is called: equal forms become equal bytes."""
    copy = NodeProto(op_type=node.op_type, domain=node.domain)
    copy.attribute.extend(sorted(node.attribute, key=lambda item: item.name))
    copy.input.extend([source, *node.input[1:]])
    copy.output.append(target)
    return copy


def _pad_constants(document: OnnxDocument, pad: Op, node: NodeProto) -> list[TensorProto]:
    """Return the constants that a Pad reads, renamed in it by their slot."""
    container = container_of(document.model, pad.origin)
    found = []
    for slot, name in enumerate(pad.inputs[1:], start=1):
        value = _constant(container, name) if name else None
        if value is not None:
            node.input[slot] = value.name = f"constant_{slot}"
            found.append(_as_float32(value))
    return found


def _constant(container: Container, name: str) -> TensorProto | None:
    if isinstance(container, GraphProto):
        for tensor in container.initializer:
            if tensor.name == name:
                return _copied(tensor)
    for node in container.node:
        if name in node.output and node.op_type == "Constant":
            found = _copied(node.attribute[0].t)
            found.name = name
            return found
    return None


def _copied(tensor: TensorProto) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    return copy


def _as_float32(tensor: TensorProto) -> TensorProto:
    if tensor.data_type == TensorProto.INT64:
        return tensor
    value = numpy_helper.to_array(tensor).astype(np.float32)
    return numpy_helper.from_array(value, tensor.name)


def _model(
    nodes: list[NodeProto],
    output: str,
    constants: list[TensorProto],
    rank: int,
    opset: int,
    ir_version: int,
) -> bytes:
    used = {name for node in nodes for name in node.input}
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * rank)]
    if ir_version < 4:
        inputs += [
            helper.make_tensor_value_info(item.name, item.data_type, item.dims)
            for item in constants
            if item.name in used
        ]
    graph = helper.make_graph(
        nodes,
        "site",
        inputs,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [item for item in constants if item.name in used],
    )
    model = ModelProto(ir_version=max(ir_version, 3), graph=graph)
    model.opset_import.append(helper.make_opsetid("", opset))
    return bytes(model.SerializeToString())
