"""Whether a model names classes, and which one it gives to a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.ir.graph import Graph
from padaudit.ir.op import Op

Array = NDArray[Any]
Runs = Sequence[Sequence[Array]]
"""Per set of inputs, the outputs of a model."""

_PROBABILITIES: Final = frozenset({"Softmax", "LogSoftmax", "Hardmax", "Sigmoid"})
_DENSE: Final = frozenset(
    {"Gemm", "MatMul", "QLinearMatMul", "MatMulInteger", "QGemm", "FusedGemm", "FusedMatMul"}
)
_CONVOLUTIONS: Final = frozenset({"Conv", "QLinearConv", "ConvInteger", "FusedConv"})
_RESHAPED: Final = frozenset({"Reshape", "Flatten", "Squeeze"})
_SAME: Final = frozenset(
    {"Identity", "Cast", "Dropout", "QuantizeLinear", "DequantizeLinear", *_RESHAPED}
)
_WITH_CONSTANT: Final = frozenset({"Add", "Sub", "Mul", "Div"})


def names_classes(graph: Graph) -> bool:
    """Tell whether the first output of an ONNX model holds scores of classes.

    That is the result of a softmax or a sigmoid, or of a dense layer (one that is a
    convolution is taken for it where a Reshape or Flatten follows). Behind it may stand what
    leaves every score what it is, or scales it: a bias, a Cast. What ends in another
    activation, a mean over positions, or a plain slice gives values, and no classes.

    Parameters
    ----------
    graph : Graph
        The model.
    """
    reshaped = False
    tensor = graph.outputs[0] if graph.outputs else ""
    while (op := graph.producer(tensor)) is not None:
        if op.op_type in _PROBABILITIES or op.op_type in _DENSE:
            return True
        if op.op_type in _CONVOLUTIONS:
            return reshaped
        source = _scores(op, graph)
        if source is None:
            return False
        reshaped |= op.op_type in _RESHAPED
        tensor = source
    return False


def _scores(op: Op, graph: Graph) -> str | None:
    """Return the operand of which an operator's result holds the same scores; None if none."""
    if op.op_type in _SAME:
        return op.inputs[0]
    if op.op_type not in _WITH_CONSTANT:
        return None
    varying = [name for name in op.inputs if not graph.tensor(name).constant]
    return varying[0] if len(varying) == 1 else None


def class_of_each(outputs: Runs) -> Array | None:
    """Return the class of every sample; None where the first output is not scores by sample."""
    first = [values[0] for values in outputs]
    if any(item.ndim != 2 or item.shape[1] < 2 or item.dtype.kind != "f" for item in first):
        return None
    return np.asarray(np.concatenate(first).argmax(axis=1))


def changed(base: Runs, other: Runs) -> float | None:
    """Return which part of the samples gets another class, 0 to 1; None without classes."""
    ours, theirs = class_of_each(base), class_of_each(other)
    return None if ours is None or theirs is None else float((ours != theirs).mean())


def accuracy(outputs: Runs, labels: Array | None) -> float | None:
    """Return which part of the samples gets its class, 0 to 1; None without labels or classes."""
    found = class_of_each(outputs)
    return None if labels is None or found is None else float((found == labels).mean())
