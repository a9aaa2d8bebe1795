"""Operation nodes: ``keras.ops`` of Keras 3, TFOpLambda and TensorFlowOpLayer of Keras 2."""

from __future__ import annotations

from typing import Any, Final

from padaudit.formats.keras.shapes.merging import broadcast_all, joined
from padaudit.formats.keras.shapes.reshaping import grown, reshaped
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, shape_rule
from padaudit.ir.dims import Dim, Shape

_BROADCAST: Final = """
    add subtract sub multiply mul truediv divide realdiv maximum minimum pow power
    __add__ __sub__ __mul__ __truediv__ __radd__ __rsub__ __rmul__ addv2 biasadd bias_add
    floordiv squared_difference
"""
_UNCHANGED: Final = """
    relu relu6 sigmoid tanh softmax exp log sqrt rsqrt square abs negative neg cast identity
    leaky_relu elu gelu swish silu clip_by_value softplus stop_gradient l2_normalize round
    floor ceil sin cos hard_sigmoid selu dropout
"""


@shape_rule("TFOpLambda")
def tf_op_lambda(call: LayerCall) -> tuple[Shape, ...]:
    """Known functions of TensorFlow, by name."""
    name = str(call.config["function"]).rsplit(".", 1)[-1]
    return _tensorflow(call, name.lower())


@shape_rule("TensorFlowOpLayer")
def tensorflow_op_layer(call: LayerCall) -> tuple[Shape, ...]:
    """Known operators of TensorFlow, by the op of their NodeDef."""
    node = call.config["node_def"]
    if not isinstance(node, dict):
        raise ShapeUnknown("its node_def is binary")
    return _tensorflow(call, str(node.get("op", "")).lower())


def _tensorflow(call: LayerCall, name: str) -> tuple[Shape, ...]:
    if name in _BROADCAST.split():
        return broadcast_all(call)
    if name in _UNCHANGED.split():
        return call.inputs[:1]
    if name in ("concat", "concatv2"):
        return (joined(call.inputs, int(call.arguments["axis"])),)
    if name == "reshape":
        return (_keras_shape(call.inputs[0], call.arguments["shape"]),)
    if name in ("reduce_mean", "reduce_sum", "reduce_max", "reduce_min"):
        return (_reduced(call.inputs[0], call.arguments.get("axis"), call.arguments),)
    if name == "expand_dims":
        return (_expanded(call.inputs[0], int(call.arguments["axis"])),)
    if name == "pad":
        return (_padded(call.inputs[0], call.arguments["paddings"]),)
    raise ShapeUnknown(f"TensorFlow function {name} has no shape rule")


@shape_rule("Pad")
def pad(call: LayerCall) -> tuple[Shape, ...]:
    """Axes grow by ``pad_width``."""
    width = call.config.get("pad_width", call.arguments.get("pad_width", call.arguments.get("1")))
    return (_padded(call.inputs[0], width),)


@shape_rule("Mean", "Sum", "Max", "Min", "Prod", "Var", "Std", "Any", "All")
def reduce_axes(call: LayerCall) -> tuple[Shape, ...]:
    """The reduced axes vanish, or become 1."""
    settings = {**call.config, **call.arguments}
    return (_reduced(call.inputs[0], settings.get("axis", settings.get("1")), settings),)


@shape_rule("ExpandDims")
def expand_dims(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of 1 is added."""
    axis = call.config.get("axis", call.arguments.get("axis", call.arguments.get("1")))
    return (_expanded(call.inputs[0], int(axis if axis is not None else -1)),)


@shape_rule("Transpose")
def transpose(call: LayerCall) -> tuple[Shape, ...]:
    """Axes are reordered (reversed without ``axes``)."""
    shape = call.inputs[0]
    axes = call.config.get("axes") or call.arguments.get("axes") or call.arguments.get("1")
    order = axes or range(len(shape) - 1, -1, -1)
    return (tuple(shape[axis] for axis in order),)


def _padded(shape: Shape, width: Any) -> Shape:
    pairs = [(pair, pair) if isinstance(pair, int) else tuple(pair) for pair in width]
    return tuple(grown(size, sum(pair)) for size, pair in zip(shape, pairs, strict=True))


def _reduced(shape: Shape, axis: Any, settings: Any) -> Shape:
    axes = range(len(shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    gone = {item % len(shape) for item in axes}
    if settings.get("keepdims"):
        return tuple(1 if i in gone else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in gone)


def _expanded(shape: Shape, axis: int) -> Shape:
    where = axis % (len(shape) + 1)
    return (*shape[:where], 1, *shape[where:])


def _keras_shape(shape: Shape, target: Any) -> Shape:
    if not isinstance(target, list) or not all(isinstance(size, int) for size in target):
        raise ShapeUnknown("its target shape is computed")
    first: Dim = shape[0]
    if target and target[0] == -1 and target.count(-1) == 1:
        return (first, *target[1:])
    return reshaped(shape, target)
