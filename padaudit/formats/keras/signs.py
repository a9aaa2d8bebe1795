"""Which tensors of a Keras model are never negative, whatever the input and the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from padaudit.formats.keras.edit import record_at
from padaudit.formats.keras.flow import Flow
from padaudit.formats.keras.records import custom
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op

_MAX_DEPTH: Final = 400
_ACTIVATIONS: Final = """
    relu relu6 sigmoid hard_sigmoid sparse_sigmoid softmax softplus exponential
"""
_ACTIVATED: Final = """
    Activation Dense EinsumDense Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D
    SeparableConv1D SeparableConv2D Conv1DTranspose Conv2DTranspose Conv3DTranspose
    LocallyConnected1D LocallyConnected2D
"""
"""Layers whose output is that of their activation."""
_POSITIVE: Final = """
    Softmax Relu Relu6 Sigmoid HardSigmoid SparseSigmoid Softplus Exp Abs Absolute Square
"""
"""Layers and operations that give nothing negative."""
_FUNCTIONS: Final = """
    relu relu6 sigmoid softmax softplus exp abs square
"""
"""TensorFlow functions that give nothing negative."""
_KEEPING: Final = """
    MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling3D Dropout
    SpatialDropout1D SpatialDropout2D SpatialDropout3D ActivityRegularization Flatten Reshape
    Permute RepeatVector Identity Concatenate Average Maximum
"""
"""Layers that give nothing negative where no input is."""
_KEEPING_PAIRS: Final = frozenset({"Add", "Multiply", "Minimum"})
"""The same for layers; as operations of Keras 3 they may stand with a number."""
_KEEPING_MERGES: Final = frozenset({"sum", "concat", "ave", "mul", "max"})


class Signs:
    """What is known of the signs of a model's tensors.

    Parameters
    ----------
    flow : Flow
        Where its tensors come from.
    config : Mapping
        Its config, where classes of others are told from Keras's own.
    """

    def __init__(self, flow: Flow, config: Mapping[str, Any]) -> None:
        self._flow = flow
        self._config = config
        self._known: dict[tuple[int, str], bool] = {}

    def non_negative(self, graph: Graph, tensor: str, depth: int = 0) -> bool:
        """Tell whether no element of a tensor can be below zero."""
        key = (id(graph), tensor)
        if key not in self._known:
            if depth > _MAX_DEPTH:
                return False
            self._known[key] = self._judge(graph, tensor, depth + 1)
        return self._known[key]

    def _judge(self, graph: Graph, tensor: str, depth: int) -> bool:
        found = self._flow.maker(graph, tensor)
        if found is None:
            return False
        holder, op = found
        if custom(record_at(self._config, op.origin.path)):
            return False
        if gives_nothing_negative(op):
            return True
        return keeps_sign(op) and all(self.non_negative(holder, name, depth) for name in op.inputs)


def gives_nothing_negative(op: Op) -> bool:
    """Tell whether a layer's output is never negative, whatever its input."""
    config = op.attributes
    if op.op_type == "ReLU":
        return not config.get("negative_slope") and (config.get("threshold") or 0) >= 0
    if op.op_type == "ThresholdedReLU":
        return _at_least_zero(config.get("theta", 1.0))
    function = config.get("function", "") if op.op_type == "TFOpLambda" else op.op_type
    if str(function).rsplit(".", 1)[-1] in _FUNCTIONS.split():
        return True
    if op.op_type in _ACTIVATED.split():
        return _activation(config.get("activation")) in _ACTIVATIONS.split()
    return op.op_type in _POSITIVE.split()


def keeps_sign(op: Op) -> bool:
    """Tell whether a layer's output is never negative where none of its inputs is."""
    config = op.attributes
    special = _SPECIAL.get(op.op_type)
    if special is not None:
        return special(config)
    if op.op_type in _KEEPING_PAIRS:
        return len(op.inputs) > 1
    return op.op_type in _KEEPING.split()


_SPECIAL: Final[dict[str, Callable[[Mapping[str, Any]], bool]]] = {
    "Activation": lambda config: _activation(config.get("activation")) == "linear",
    "UpSampling2D": lambda config: config.get("interpolation") in (None, "nearest", "bilinear"),
    "Merge": lambda config: config.get("mode") in _KEEPING_MERGES,
    "Rescaling": lambda config: (
        _at_least_zero(config.get("scale")) and _at_least_zero(config.get("offset", 0.0))
    ),
}


def _activation(value: Any) -> str | None:
    """Return the name of one of Keras's activation functions."""
    if isinstance(value, Mapping) and value.get("class_name") == "function" and not custom(value):
        value = value.get("config")
    return value if isinstance(value, str) else None


def _at_least_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0
