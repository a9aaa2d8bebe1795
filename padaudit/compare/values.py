"""Small constants of an ONNX graph, worked out where exporters leave them to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from padaudit.formats.onnx.constants import Constants
from padaudit.formats.onnx.document import opset_at
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op

Array = NDArray[Any]
_MAX_DEPTH: Final = 64
_MAX_ELEMENTS: Final = 256
_IR_VERSION: Final = 8
_OPERATORS: Final = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Range",
        "Reshape",
        "Slice",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""What exporters compute amounts with; all cheap on the few elements that they have."""


class Values:
    """Values of the small tensors of a graph (PyTorch's exporter computes those of a Pad).

    Parameters
    ----------
    constants : Constants
        The constants of the model.
    graph : Graph
        The graph, function or body that holds the tensors.
    seen : Mapping, optional
        Values of tensors of the graph that a run of the model showed.
    """

    def __init__(
        self, constants: Constants, graph: Graph, seen: Mapping[str, Array] | None = None
    ) -> None:
        self.constants = constants
        self.graph = graph
        self._known: dict[str, Array | None] = dict(seen or {})

    def of(self, reader: Op, name: str, depth: int = 0) -> Array | None:
        """Return the value of a tensor that an operator reads; None if it has no fixed one."""
        if name not in self._known:
            self._known[name] = None
            self._known[name] = self._find(reader, name, depth)
        return self._known[name]

    def ints(self, reader: Op, slot: int) -> list[int] | None:
        """Return an input of an operator as integers; None if absent or not fixed."""
        if slot >= len(reader.inputs) or not reader.inputs[slot]:
            return None
        value = self.of(reader, reader.inputs[slot])
        return None if value is None else [int(item) for item in value.ravel()]

    def _find(self, reader: Op, name: str, depth: int) -> Array | None:
        if self.constants.may_be_fed(name):
            return None
        value = self.constants.array(reader.origin.steps, name)
        if value is not None:
            return value if value.size <= _MAX_ELEMENTS else None
        op = self.graph.producer(name)
        if op is None or depth > _MAX_DEPTH or op.domain:
            return None
        if op.op_type == "Shape":
            return self._shape(op, depth)
        if op.op_type not in _OPERATORS:
            return None
        operands = [self.of(op, item, depth + 1) if item else None for item in op.inputs]
        if any(item and value is None for item, value in zip(op.inputs, operands, strict=True)):
            return None
        return _evaluated(self.constants.model, op, operands)

    def _shape(self, op: Op, depth: int) -> Array | None:
        if op.attributes.get("start") or op.attributes.get("end"):
            return None
        value = self.of(op, op.inputs[0], depth + 1)
        if value is not None:
            return np.asarray(value.shape, np.int64)
        shape = self.graph.tensor(op.inputs[0]).shape
        if shape is None:
            return None
        known = [size for size in shape if isinstance(size, int)]
        return np.asarray(known, np.int64) if len(known) == len(shape) else None


def _evaluated(model: ModelProto, op: Op, operands: list[Array | None]) -> Array | None:
    """Run one operator in onnx's reference implementation; None if it refuses."""
    from onnx.reference import ReferenceEvaluator

    given = {name: value for name, value in zip(op.inputs, operands, strict=True) if name}
    graph = helper.make_graph(
        [op.origin.node],
        "value",
        [helper.make_empty_tensor_value_info(name) for name in given],
        [helper.make_empty_tensor_value_info(op.outputs[0])],
    )
    imports = [helper.make_opsetid("", opset_at(model, op.origin))]
    small = helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)
    try:
        results: Any = ReferenceEvaluator(small).run(None, given)
    except Exception:
        # Whatever the reference raises says that there is no value to be had here.
        return None
    value = np.asarray(results[0])
    return value if value.size <= _MAX_ELEMENTS else None
