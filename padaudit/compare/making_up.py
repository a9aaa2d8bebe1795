"""What a port may make up for behind an operator: a mean that is divided once more."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from padaudit.compare.around_onnx import POINTWISE
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op

_RESCALING: Final = frozenset({"Div", "Mul"})
_FOLLOWED: Final = POINTWISE | {"Pad", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_MAX_CHAIN: Final = 16


def rescaling(graph: Graph, op: Op) -> tuple[Op, ...]:
    """Return the way to what scales an operator's result by factors that differ by place.

    A mean that counts what is padded, divided by the mean of ones, counts it no more.

    Returns
    -------
    tuple of Op
        From the operator itself to the one that scales; empty where there is none.
    """
    path = [op]
    while len(path) <= _MAX_CHAIN:
        uses = list(graph.uses(path[-1]))
        if len(uses) != 1:
            return ()
        user, _, slot = uses[0]
        path.append(user)
        if user.op_type in _RESCALING and not user.domain:
            scaled = slot == 0 or user.op_type == "Mul"
            return tuple(path) if scaled and _varies(graph, user.inputs[1 - slot]) else ()
        if user.op_type not in _FOLLOWED or user.domain:
            return ()
    return ()


def take_out_rescaling(
    editor: GraphEditor, graph: Graph, op: Op, removed: Collection[Op] = ()
) -> None:
    """Take out what scales an operator's result; ``removed`` stands on the way no more."""
    *path, scaling = rescaling(graph, op)
    last = next(item for item in reversed(path) if item not in removed)
    editor.node(last.origin).output[0] = scaling.outputs[0]
    editor.remove(scaling.origin)


def _varies(graph: Graph, factors: str) -> bool:
    """Tell whether a tensor may have more than one element per channel."""
    shape = graph.tensor(factors).shape
    return shape is None or sum(size != 1 for size in shape) > 1
