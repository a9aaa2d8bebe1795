"""One site as a model of its own: its nodes as they stand, with stand-ins for its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper

from padaudit.formats.onnx.constants import Constants
from padaudit.formats.onnx.document import opset_at
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import PaddingSite
from padaudit.verification.kits.kit import Kit

_OLDEST_OPSET: Final = 7
"""The oldest that onnxruntime runs; the operators mean the same below."""
_IR_VERSION: Final = 8
_MAX_NODES: Final = 64
Array = NDArray[Any]


class NoModelError(ValueError):
    """A site can't be cut out of its model; the text is one clause."""


def onnx_site_model(
    constants: Constants,
    graph: Graph,
    site: PaddingSite,
    kit: Kit,
    with_pad: bool,
    results: Sequence[str] = (),
) -> bytes:
    """Return the nodes of a site as they stand in a model, named anew: equal forms are equal bytes.

    Parameters
    ----------
    constants : Constants
        The constants of the model the nodes are taken from.
    graph : Graph
        The graph that holds the site.
    site : PaddingSite
        The site, in that model.
    kit : Kit
        What takes the place of its tensors.
    with_pad : bool
        Whether the Pad in front of it, and what computes its amounts, belong to it.
    results : sequence of str
        The tensors that operators behind it make of its outputs, and that stand for them.

    Raises
    ------
    NoModelError
        If the Pad depends on more than constants and the shape of its input.
    """
    cut = _Cut(constants, graph, site, kit)
    pad = graph.producer(site.op.inputs[0])
    source = "x"
    if with_pad and pad is not None and pad.op_type == "Pad":
        cut.bind(pad.inputs[0], "x")
        source = cut.take(pad)
    cut.take_site(source)
    if results:
        cut.take_results(results)
    opset = max(opset_at(constants.model, site.op.origin), _OLDEST_OPSET)
    imports = {"": opset, site.op.domain: 1} if site.op.domain else {"": opset}
    return build_model(cut.nodes, cut.outputs, cut.tensors, _input(site, kit), imports)


class _Cut:
    """Nodes that are taken out of a graph, and the names they get."""

    def __init__(self, constants: Constants, graph: Graph, site: PaddingSite, kit: Kit) -> None:
        self.constants = constants
        self.graph = graph
        self.site = site
        self.kit = kit
        self.nodes: list[NodeProto] = []
        self.tensors: dict[str, Array] = {f"in{slot}": v for slot, v in kit.inputs.items()}
        self.outputs: list[str] = []
        self._names: dict[str, str] = {}
        # The one stand-in that a Pad may read; another slot may hold the same tensor.
        zero_point = site.zero_point_input
        if zero_point in kit.inputs and zero_point is not None:
            self.bind(site.op.inputs[zero_point], f"in{zero_point}")

    def bind(self, name: str, as_name: str) -> None:
        self._names[name] = as_name

    def take(self, op: Op) -> str:
        """Take an operator and what its inputs need; return the new name of its first output."""
        if len(self.nodes) > _MAX_NODES or self.graph.nested.get(op.name):
            raise NoModelError(f"the padding of '{self.site.id}' depends on '{op.name}'")
        node = _bare(op)
        node.input.extend(self._read(op, name) for name in op.inputs)
        for name in op.outputs:
            self.bind(name, f"t{len(self._names)}")
            node.output.append(self._names[name])
        self.nodes.append(node)
        return str(node.output[0])

    def take_site(self, source: str) -> None:
        node = _bare(self.site.op, self.kit.attributes)
        slots = max([0, *self.kit.inputs]) + 1
        node.input.extend(
            source if slot == 0 else f"in{slot}" if slot in self.kit.inputs else ""
            for slot in range(slots)
        )
        self.outputs = [f"y{slot}" for slot, name in enumerate(self.site.op.outputs) if name]
        node.output.extend(
            f"y{slot}" if name else "" for slot, name in enumerate(self.site.op.outputs)
        )
        self.nodes.append(node)

    def take_results(self, results: Sequence[str]) -> None:
        """Take the operators behind the site that make tensors of its outputs and its data."""
        op = self.site.op
        self.bind(op.inputs[0], "x")
        for slot, name in enumerate(op.outputs):
            self.bind(name, f"y{slot}")
        self.outputs = [self._read(op, name) for name in results if name]

    def _read(self, op: Op, name: str) -> str:
        if not name or name in self._names:
            return self._names.get(name, "")
        value = self.constants.array(op.origin.steps, name)
        if value is not None:
            self.bind(name, f"t{len(self._names)}")
            self.tensors[self._names[name]] = _as_tried(value)
            return self._names[name]
        producer = self.graph.producer(name)
        if producer is None:
            raise NoModelError(f"the padding of '{self.site.id}' depends on '{name}'")
        self.take(producer)
        return self._names[name]


def _as_tried(value: Array) -> Array:
    """Return a constant as the trial has it: floats of any width become float32."""
    return value if value.dtype.kind in "iub" else value.astype(np.float32)


def _bare(op: Op, changed: Mapping[str, Any] | None = None) -> NodeProto:
    """Copy what a node does, without what it is called and what it reads."""
    changes = dict(changed or {})
    node = NodeProto(op_type=op.op_type, domain=op.domain)
    kept = [item for item in op.origin.node.attribute if item.name not in changes]
    present = {item.name for item in op.origin.node.attribute}
    kept += [
        helper.make_attribute(name, value)
        for name, value in changes.items()
        if value is not None and name in present
    ]
    node.attribute.extend(sorted(kept, key=_attribute_name))
    return node


def _attribute_name(attribute: AttributeProto) -> str:
    return str(attribute.name)


def _input(site: PaddingSite, kit: Kit) -> tuple[int, int]:
    rank = len(site.spatial_axes) + 2
    return helper.np_dtype_to_tensor_dtype(np.dtype(kit.dtype)), rank


def build_model(
    nodes: list[NodeProto],
    outputs: list[str],
    tensors: Mapping[str, Array],
    given: tuple[int, int],
    imports: Mapping[str, int],
) -> bytes:
    """Return a model with one input ``x``.

    Parameters
    ----------
    nodes : list of NodeProto
        Its operators.
    outputs : list of str
        Names of its outputs.
    tensors : Mapping of str to ndarray
        Its constants; what no node reads is left out.
    given : tuple of int
        Element type and rank of the input.
    imports : Mapping of str to int
        Opset by domain.
    """
    element, rank = given
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "site",
        [helper.make_tensor_value_info("x", element, [None] * rank)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in tensors.items() if name in used],
    )
    model = ModelProto(ir_version=_IR_VERSION, graph=graph)
    model.opset_import.extend(
        helper.make_opsetid(domain, number) for domain, number in imports.items()
    )
    return bytes(model.SerializeToString())
