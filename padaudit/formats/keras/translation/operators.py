"""In the process that runs Keras: operators of TensorFlow that tf2onnx does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

Handler = Callable[[Any, Any, str, Any], None]


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """``erfc(x) = 1 - erf(x)``, which Keras's gelu calls."""
    _then(context, node, "Erf", lambda constant, result: [constant, result])


def _expm1(context: Any, node: Any, name: str, arguments: Any) -> None:
    """``expm1(x) = exp(x) - 1``, which Keras's celu calls."""
    _then(context, node, "Exp", lambda constant, result: [result, constant])


def _then(
    context: Any, node: Any, operator: str, difference: Callable[[str, str], list[str]]
) -> None:
    """Replace an operator by another, and a difference between its result and 1."""
    dtype, shape = context.get_dtype(node.output[0]), context.get_shape(node.output[0])
    one = context.make_const(f"{node.name}/one", np.asarray(1, _numpy_type(dtype))).output[0]
    node.type, result = operator, node.output[0]
    made = context.insert_new_node_on_output(
        "Sub", result, f"{node.name}/Sub", difference(one, result)
    )
    context.set_dtype(made.output[0], dtype)
    context.set_shape(made.output[0], shape)


def _numpy_type(element: int) -> Any:
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(element)


HANDLERS: Final[dict[str, tuple[Handler, list[Any]]]] = {
    "Erfc": (_erfc, []),
    "Expm1": (_expm1, []),
}
"""Handlers in the form that tf2onnx takes, by TensorFlow's name of the operator."""
