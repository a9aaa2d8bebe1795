"""Where the tensors of a Keras model come from, through inner models and wrappers."""

from __future__ import annotations

from typing import Final

from padaudit.ir.graph import Graph
from padaudit.ir.op import Op

_DISTRIBUTED: Final = "TimeDistributed"
_MAX_DEPTH: Final = 400
_CARRY_MASKS: Final = """
    Activation ELU LeakyReLU PReLU ReLU Softmax ThresholdedReLU Dense Identity BatchNormalization
    GroupNormalization LayerNormalization UnitNormalization Normalization Rescaling Dropout
    AlphaDropout GaussianDropout GaussianNoise ActivityRegularization Add Subtract Multiply
    Average Maximum Minimum Concatenate TimeDistributed Bidirectional Lambda LSTM GRU SimpleRNN
    RNN ConvLSTM1D ConvLSTM2D ConvLSTM3D
"""
"""Layers behind which a mask is still there; the others drop it."""


class Flow:
    """The way of tensors through a model and its inner models.

    Parameters
    ----------
    graph : Graph
        The whole model.
    """

    def __init__(self, graph: Graph) -> None:
        self._callers: dict[int, tuple[Graph, Op]] = {}
        self._find_callers(graph)

    def maker(self, graph: Graph, tensor: str) -> tuple[Graph, Op] | None:
        """Return the layer that makes a tensor, and its graph; None for the model's inputs.

        An inner model, or what is wrapped in TimeDistributed, is looked into.
        """
        for _ in range(_MAX_DEPTH):
            op = graph.producer(tensor)
            if op is None:
                caller = self._callers.get(id(graph))
                if caller is None or tensor not in graph.inputs:
                    return None
                slot = graph.inputs.index(tensor)
                graph, op = caller
                if slot >= len(op.inputs):
                    return None
                tensor = op.inputs[slot]
                continue
            inside = list(graph.nested.get(op.name, {}).values())
            slot = op.outputs.index(tensor)
            entered = op.op_type == _DISTRIBUTED or "layers" in op.attributes
            if not entered or len(inside) != 1 or slot >= len(inside[0].outputs):
                return graph, op
            graph, tensor = inside[0], inside[0].outputs[slot]
        return None

    def mask_of(self, graph: Graph, tensor: str) -> str | None:
        """Return the name of a layer whose mask comes with a tensor, or None."""
        seen: set[tuple[int, str]] = set()
        waiting = [(graph, tensor)]
        while waiting:
            found = self.maker(*waiting.pop())
            if found is None or (id(found[0]), found[1].name) in seen:
                continue
            holder, op = found
            seen.add((id(holder), op.name))
            if op.op_type == "Masking" or op.attributes.get("mask_zero"):
                return op.name
            if op.op_type in _CARRY_MASKS.split():
                waiting += [(holder, name) for name in op.inputs]
        return None

    def _find_callers(self, graph: Graph) -> None:
        for op in graph.ops():
            for inner in graph.nested.get(op.name, {}).values():
                self._callers[id(inner)] = (graph, op)
                self._find_callers(inner)
