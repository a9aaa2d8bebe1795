"""One application of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """A node of the graph.

    Parameters
    ----------
    name : str
        Unique in its graph, stable between runs.
    op_type : str
        Keras class name or ONNX op_type.
    domain : str
        ``keras``, or the ONNX operator domain (``""`` is ai.onnx).
    attributes : Mapping
        The operator's own settings, as plain Python values.
    inputs, outputs : tuple of str
        Names of tensors in the graph's table, by slot; ``""`` for an absent input.
    position : int
        Place in the document, the tie-breaker of every ordering.
    origin : object
        The document's own record of this operator (layer dict, NodeProto).
    """

    name: str
    op_type: str
    domain: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    position: int
    origin: Any = field(default=None, repr=False)
