"""What a port may make up for behind an operator: a mean that is divided once more."""

from __future__ import annotations

from typing import Final

from padaudit.compare.around_onnx import POINTWISE
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op

_RESCALING: Final = frozenset({"Div", "Mul"})
_FOLLOWED: Final = POINTWISE | {"Pad", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_MAX_CHAIN: Final = 16


def is_rescaled(graph: Graph, op: Op) -> bool:
    """Tell whether what an operator gives is scaled by factors that differ from place to place.

    A mean that counts what is padded, divided by the mean of ones, counts it no more.
    """
    for _ in range(_MAX_CHAIN):
        uses = list(graph.uses(op))
        if len(uses) != 1:
            return False
        user, _, slot = uses[0]
        if user.op_type in _RESCALING and not user.domain:
            return _varies(graph, user.inputs[1 - slot])
        if user.op_type not in _FOLLOWED or user.domain:
            return False
        op = user
    return False


def _varies(graph: Graph, factors: str) -> bool:
    """Tell whether a tensor may have more than one element per channel."""
    shape = graph.tensor(factors).shape
    return shape is None or sum(size != 1 for size in shape) > 1
