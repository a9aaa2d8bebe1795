"""What a record calls: a layer, an operation of Keras 3, or a function of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from padaudit.formats.keras.calls import Call, TensorRef, tensors_in
from padaudit.formats.keras.config import LayerSpec
from padaudit.formats.keras.shapes.rule import (
    FUNCTIONS,
    LAYERS,
    OPERATIONS,
    LayerCall,
    ShapeUnknown,
    Tensor,
)
from padaudit.ir.dims import Open

_OPERATION_MODULES: Final = ("keras.src.ops", "keras.ops", "keras.src.backend")
_FUNCTION_LAYERS: Final = frozenset(
    {"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "TensorFlowOpLayer"}
)


def domain_of(layer: LayerSpec) -> str:
    """Return the domain whose rules hold for a layer's record."""
    if (layer.module or "").startswith(_OPERATION_MODULES):
        return OPERATIONS
    return FUNCTIONS if layer.class_name in _FUNCTION_LAYERS else LAYERS


def layer_call(
    layer: LayerSpec, call: Call, tensor: Callable[[TensorRef], Tensor], domain: str
) -> LayerCall:
    """Return a call as the shape rules take it.

    Parameters
    ----------
    layer, call : LayerSpec, Call
        The record, and which of its calls.
    tensor : callable
        Gives what is known of a tensor argument.
    domain : str
        See `domain_of`.

    Raises
    ------
    ShapeUnknown
        If the record does not say which function it calls.
    """
    arguments = {key: _filled(value, tensor) for key, value in call.arguments.items()}
    inputs = tuple(tensor(ref).shape for ref in call.inputs)
    if domain != FUNCTIONS:
        return LayerCall(layer.class_name, layer.config, inputs, arguments, domain)
    from padaudit.formats.keras.shapes.tf_nodes import NODES, function_name, node_arguments

    name = function_name(layer.class_name, layer.config)
    if layer.class_name in NODES:
        arguments = node_arguments(layer.config, arguments)
    if name == "pool":
        kind = arguments.get("pooling_type")
        name = "avg_pool" if kind == "AVG" else "max_pool"
    return LayerCall(str(name), {}, inputs, arguments, domain)


def operator(layer: LayerSpec, call: Call) -> tuple[str, str, Mapping[str, Any]]:
    """Return a call's op_type, domain and attributes, as they stand in the graph.

    An operation or function with a window gets the attributes that a layer would have
    (``kernel_size``, ``strides``, ``padding``, ...), its kernel being a constant of the call.
    """
    domain = domain_of(layer)
    if domain == LAYERS:
        return layer.class_name, domain, layer.config
    from padaudit.formats.keras.shapes.windows import function_words, is_padded, operation_words

    try:
        found = layer_call(layer, call, _recorded, domain)
    except ShapeUnknown:
        return layer.class_name, domain, layer.config
    if not is_padded(domain, found.class_name):
        return found.class_name, domain, layer.config
    words = operation_words if domain == OPERATIONS else function_words
    try:
        return found.class_name, domain, {**layer.config, **words(found)}
    except (ShapeUnknown, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        padding = found.setting("padding")
        known = {"padding": padding.lower()} if isinstance(padding, str) else {}
        return found.class_name, domain, {**layer.config, **known}


def _recorded(ref: TensorRef) -> Tensor:
    sizes = ref.shape or ()
    return Tensor(tuple(Open() if size is None else size for size in sizes))


def _filled(value: Any, tensor: Callable[[TensorRef], Tensor]) -> Any:
    if isinstance(value, TensorRef):
        return tensor(value)
    if not any(True for _ in tensors_in(value)):
        return value
    if isinstance(value, Mapping):
        return {key: _filled(item, tensor) for key, item in value.items()}
    return [_filled(item, tensor) for item in value]
