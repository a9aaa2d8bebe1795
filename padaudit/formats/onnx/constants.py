"""Constants of an ONNX model by name, as a node sees them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from padaudit.formats.onnx.document import OnnxDocument, container_at
from padaudit.formats.onnx.locate import Steps
from padaudit.formats.onnx.protos import GraphProto, ModelProto, NodeProto, TensorProto

_FREE_INITIALIZERS_IR: Final = 4
_SMALL: Final = 256
"""How many elements a constant beside the model's file may have to be read."""


class Constants:
    """Initializers and Constant nodes of a model, looked up from the inside out.

    Parameters
    ----------
    model : ModelProto
        The model, or its skeleton.
    folder : Path, optional
        Where the model's file is, if small constants are to be read from those beside it too.
    """

    def __init__(self, model: ModelProto, folder: Path | None = None) -> None:
        self.model = model
        self.folder = folder
        self._tables: dict[Steps, dict[str, TensorProto]] = {}

    @classmethod
    def beside(cls, document: OnnxDocument) -> Constants:
        """Return the constants of a document, with small ones in the files beside it."""
        return cls(document.model, document.path.parent if document.path else None)

    def tensor(self, steps: Steps, name: str) -> TensorProto | None:
        """Return a constant that a node in the container at ``steps`` reads, or None."""
        for length in range(len(steps), 0, -1):
            found = self._table(steps[:length]).get(name)
            if found is not None:
                return found
        return None

    def may_be_fed(self, name: str) -> bool:
        """Tell whether a constant is only the default of an input of the model.

        Below IR version 4 every initializer had to be an input as well.
        """
        return self.model.ir_version >= _FREE_INITIALIZERS_IR and any(
            value.name == name for value in self.model.graph.input
        )

    def array(self, steps: Steps, name: str) -> NDArray[Any] | None:
        """Return the values of a constant; None if there is none, or they are not loaded."""
        tensor = self.tensor(steps, name)
        if tensor is None:
            return None
        if tensor.data_location != TensorProto.EXTERNAL:
            return np.asarray(numpy_helper.to_array(tensor))
        if self.folder is None or math.prod(tensor.dims) > _SMALL:
            return None
        return np.asarray(numpy_helper.to_array(tensor, str(self.folder)))

    def _table(self, steps: Steps) -> dict[str, TensorProto]:
        if steps not in self._tables:
            container = container_at(self.model, steps)
            table = {}
            if isinstance(container, GraphProto):
                table = {tensor.name: tensor for tensor in container.initializer}
            for node in container.node:
                value = _value(node) if node.op_type == "Constant" else None
                if value is not None:
                    table[node.output[0]] = value
            self._tables[steps] = table
        return self._tables[steps]


def _value(node: NodeProto) -> TensorProto | None:
    """Return what a Constant node holds, in whichever attribute."""
    for attribute in node.attribute:
        if attribute.name == "value":
            tensor: TensorProto = attribute.t
            return tensor
        if attribute.name in {"value_ints", "value_int"}:
            ints = list(attribute.ints) or attribute.i
            return numpy_helper.from_array(np.asarray(ints, np.int64))
        if attribute.name in {"value_floats", "value_float"}:
            floats = list(attribute.floats) or attribute.f
            return numpy_helper.from_array(np.asarray(floats, np.float32))
    return None
