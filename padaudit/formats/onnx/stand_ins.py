"""Standard operators in place of onnxruntime's own, for shape inference.

onnx's shape inference stops at operators of other domains. Those that onnxruntime's optimizer
and quantizer write have the shapes of a standard operator on some of their inputs.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from padaudit.formats.onnx.protos import NodeProto

DOMAIN: Final = "com.microsoft"
_WINDOW: Final = frozenset(
    {"auto_pad", "pads", "strides", "dilations", "kernel_shape", "group", "ceil_mode"}
)


class _StandIn(NamedTuple):
    """What has the shapes of an operator: its type, on which inputs, with which attributes."""

    op_type: str
    inputs: Callable[[Sequence[str]], Sequence[str]]
    attributes: frozenset[str] = frozenset()


_STAND_INS: Final[Mapping[str, _StandIn]] = {
    "FusedConv": _StandIn("Conv", lambda names: names[:2], _WINDOW),
    "QLinearConv": _StandIn("QLinearConv", lambda names: names[:8], _WINDOW),
    "QLinearAveragePool": _StandIn(
        "AveragePool", lambda names: names[:1], _WINDOW | {"count_include_pad"}
    ),
    "QLinearGlobalAveragePool": _StandIn("GlobalAveragePool", lambda names: names[:1]),
    "QLinearAdd": _StandIn("Add", lambda names: (names[0], names[3])),
    "QLinearMul": _StandIn("Mul", lambda names: (names[0], names[3])),
    "QLinearSigmoid": _StandIn("Identity", lambda names: names[:1]),
    "QLinearLeakyRelu": _StandIn("Identity", lambda names: names[:1]),
    "QLinearConcat": _StandIn("Concat", lambda names: names[2::3], frozenset({"axis"})),
    "QuickGelu": _StandIn("Identity", lambda names: names[:1]),
    "Gelu": _StandIn("Identity", lambda names: names[:1]),
    "BiasGelu": _StandIn("Add", lambda names: names[:2]),
}
_MIN_INPUTS: Final = {"QLinearAdd": 4, "QLinearMul": 4, "QLinearConv": 8}


def standard_form(node: NodeProto) -> NodeProto:
    """Return a node with the same output shapes that shape inference knows, or the node itself."""
    found = _STAND_INS.get(node.op_type) if node.domain == DOMAIN else None
    attributes = {item.name: item for item in node.attribute}
    last = "channels_last" in attributes and attributes["channels_last"].i == 1
    if found is None or last or len(node.input) < _MIN_INPUTS.get(node.op_type, 1):
        return node
    made = NodeProto(op_type=found.op_type, name=node.name, output=node.output[:1])
    made.input.extend(found.inputs(node.input))
    made.attribute.extend(item for item in node.attribute if item.name in found.attributes)
    return made
