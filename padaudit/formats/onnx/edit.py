"""Editing a ModelProto: the one place that adds nodes, names and constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from padaudit.formats.onnx.document import (
    Container,
    NodeOrigin,
    OnnxDocument,
    bodies,
    container_of,
    opset_at,
)
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit

PADDING_ATTRIBUTES: Final = frozenset({"auto_pad", "pads"})
ELEMENT_TYPES: Final[dict[str, int]] = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
}
_PAD_INPUTS_OPSET: Final = 11
_FREE_INITIALIZERS_IR: Final = 4
_NODE_METADATA_IR: Final = 10


def copied(document: OnnxDocument) -> OnnxDocument:
    """Return a document with its own copy of the model."""
    model = ModelProto()
    model.CopyFrom(document.model)
    return replace(document, model=model)


def clear_padding(node: NodeProto) -> None:
    """Remove ``auto_pad`` and ``pads`` from a node (NOTSET without pads is "valid")."""
    stale = [i for i, item in enumerate(node.attribute) if item.name in PADDING_ATTRIBUTES]
    for index in reversed(stale):
        del node.attribute[index]


def write_pads(node: NodeProto, pads: tuple[AxisPads, ...]) -> None:
    """Write the ``pads`` attribute: all begins, then all ends."""
    flat = [before for before, _ in pads] + [after for _, after in pads]
    node.attribute.append(helper.make_attribute("pads", flat))


@dataclass(frozen=True, slots=True)
class _Insertion:
    container: Container
    index: int
    nodes: tuple[NodeProto, ...]
    constants: tuple[TensorProto, ...]


class GraphEditor:
    """Collects insertions into a model and makes them all at once.

    Origins stay valid until `commit`, because nothing moves before it.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self._insertions: list[_Insertion] = []
        self._nodes, self._tensors = _names(model)

    def node(self, origin: NodeOrigin) -> NodeProto:
        """Return the model's own node at an origin."""
        node: NodeProto = container_of(self.model, origin).node[origin.index]
        return node

    def pad_before(self, edit: Edit) -> str:
        """Put a constant Pad in front of a node's first input; return the Pad's name."""
        origin: NodeOrigin = edit.site.op.origin
        container = container_of(self.model, origin)
        node = container.node[origin.index]
        name = _free(f"{node.name or edit.site.op.name}/pad", self._nodes, self._tensors)
        padded = _free(f"{node.input[0]}/{name}", self._tensors)
        opset = opset_at(self.model, origin)
        if opset < _PAD_INPUTS_OPSET:
            pad = helper.make_node(
                "Pad",
                [node.input[0]],
                [padded],
                name,
                mode="constant",
                pads=_full_pads(edit),
                value=0.0,
            )
            constants: tuple[TensorProto, ...] = ()
        else:
            constants = self._constants(name, edit)
            inputs = [node.input[0], *(tensor.name for tensor in constants)]
            pad = helper.make_node("Pad", inputs, [padded], name, mode="constant")
        node.input[0] = padded
        self._record_source(pad, edit)
        nodes, constants = self._placed(container, constants)
        self._insertions.append(_Insertion(container, origin.index, (*nodes, pad), constants))
        return name

    def commit(self) -> None:
        """Make all insertions."""
        for item in sorted(self._insertions, key=lambda item: item.index, reverse=True):
            for node in reversed(item.nodes):
                item.container.node.insert(item.index, node)
        for item in self._insertions:
            if isinstance(item.container, GraphProto):
                item.container.initializer.extend(item.constants)
        self._insertions.clear()

    def _constants(self, name: str, edit: Edit) -> tuple[TensorProto, TensorProto]:
        pads = np.asarray(_full_pads(edit), np.int64)
        element = ELEMENT_TYPES[edit.site.dtype or "float32"]
        return (
            helper.make_tensor(
                _free(f"{name}/pads", self._tensors), TensorProto.INT64, pads.shape, pads
            ),
            helper.make_tensor(_free(f"{name}/value", self._tensors), element, (), [0.0]),
        )

    def _placed(
        self, container: Container, constants: tuple[TensorProto, ...]
    ) -> tuple[list[NodeProto], tuple[TensorProto, ...]]:
        """Initializers where the container may have them without naming them as inputs."""
        if isinstance(container, GraphProto) and self.model.ir_version >= _FREE_INITIALIZERS_IR:
            return [], constants
        nodes = [
            helper.make_node("Constant", [], [tensor.name], f"{tensor.name}/constant", value=tensor)
            for tensor in constants
        ]
        return nodes, ()

    def _record_source(self, pad: NodeProto, edit: Edit) -> None:
        if self.model.ir_version >= _NODE_METADATA_IR:
            pad.metadata_props.add(key="padaudit.site", value=edit.site.id)
            pad.metadata_props.add(key="padaudit.strategy", value=edit.strategy)

    def claim(self, wanted: str) -> str:
        """Return a name that no node has yet, and take it."""
        return _free(wanted, self._nodes)


def _free(wanted: str, taken: set[str], *others: set[str]) -> str:
    """Return a name that is in none of the sets, and add it to the first."""
    name, count = wanted, 1
    while any(name in names for names in (taken, *others)):
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def _full_pads(edit: Edit) -> list[int]:
    """All axes, begins then ends: Pad's ``axes`` input would block onnxruntime's fusion."""
    rank = len(edit.pads) + 2
    full = [0] * (2 * rank)
    for axis, (before, after) in zip(edit.site.spatial_axes, edit.pads, strict=True):
        full[axis], full[rank + axis] = before, after
    return full


def _names(model: ModelProto) -> tuple[set[str], set[str]]:
    """Return the names of all nodes and of all tensors, wherever they stand."""
    nodes: set[str] = set()
    tensors: set[str] = set()
    for container in _containers(model):
        nodes.update(node.name for node in container.node)
        for node in container.node:
            tensors.update(node.input, node.output)
        if isinstance(container, GraphProto):
            for group in (container.input, container.output, container.initializer):
                tensors.update(item.name for item in group)
            tensors.update(value.name for value in container.value_info)
        else:
            tensors.update(container.input, container.output)
    return nodes, tensors


def _containers(model: ModelProto) -> Iterator[Container]:
    pending: list[Container] = [model.graph, *model.functions]
    while pending:
        container = pending.pop()
        yield container
        pending += [body for node in container.node for _, body in bodies(node)]
