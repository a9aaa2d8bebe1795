"""Standard operators in place of onnxruntime's own, for shape inference.

onnx's shape inference stops at operators of other domains. Those that onnxruntime's optimizer
and quantizer write have the shapes of a standard operator on some of their inputs.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from padaudit.formats.onnx.build import make_node
from padaudit.formats.onnx.document import Container, bodies, has_body
from padaudit.formats.onnx.protos import FunctionProto, NodeProto

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
    "NhwcMaxPool": _StandIn("MaxPool", lambda names: names[:1], _WINDOW),
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
_AUTO_PADDED: Final = frozenset(
    {
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "QLinearConv",
        "AveragePool",
        "LpPool",
        "MaxPool",
    }
)
_PREFIX: Final = "padaudit.layout/"
_ALWAYS_LAST: Final = frozenset({"NhwcMaxPool"})
_MIN_INPUTS: Final = {"QLinearAdd": 4, "QLinearMul": 4, "QLinearConv": 8}


def inferable(node: NodeProto) -> Iterator[NodeProto]:
    """Yield nodes with the same output shapes that shape inference gets right.

    That is the node itself, but for operators of onnxruntime and for ``auto_pad`` that stands
    together with ``pads``, of which inference reads the latter; in bodies too.
    """
    if has_body(node):
        yield _with_inferable_bodies(node)
    elif node.domain == DOMAIN:
        yield from _standard_forms(node)
    elif node.op_type in _AUTO_PADDED and {"auto_pad", "pads"} <= _names(node):
        yield _without_pads(node)
    else:
        yield node


def inferable_functions(functions: Iterable[FunctionProto]) -> Iterator[FunctionProto]:
    """Yield functions whose calls have output shapes that shape inference gets right."""
    for function in functions:
        if not any(item.domain == DOMAIN for item in function.opset_import):
            yield function
            continue
        copy = FunctionProto()
        copy.CopyFrom(function)
        _replace_nodes(copy)
        yield copy


def _with_inferable_bodies(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    for _, body in bodies(copy):
        _replace_nodes(body)
    return copy


def _replace_nodes(container: Container) -> None:
    made = [replacement for node in container.node for replacement in inferable(node)]
    del container.node[:]
    container.node.extend(made)


def _names(node: NodeProto) -> set[str]:
    return {item.name for item in node.attribute}


def _without_pads(node: NodeProto) -> NodeProto:
    mode = next(item.s for item in node.attribute if item.name == "auto_pad")
    if mode in (b"NOTSET", b""):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    copy.attribute.extend(item for item in node.attribute if item.name != "pads")
    return copy


def _standard_forms(node: NodeProto) -> Iterator[NodeProto]:
    """Yield the standard operator, between transpositions where the channels come last."""
    found = _STAND_INS.get(node.op_type)
    needed = _MIN_INPUTS.get(node.op_type, 1)
    if found is None or len(node.input) < needed or not node.output:
        yield node
        return
    made = NodeProto(op_type=found.op_type, name=node.name, output=node.output[:1])
    made.input.extend(found.inputs(node.input))
    made.attribute.extend(item for item in node.attribute if item.name in found.attributes)
    if {"auto_pad", "pads"} <= _names(made):
        made = _without_pads(made)
    if not _channels_last(node):
        yield made
        return
    rank = next((len(item.ints) for item in node.attribute if item.name == "kernel_shape"), 2)
    axes = range(1, rank + 1)
    first, last = f"{_PREFIX}{node.input[0]}/first", f"{_PREFIX}{node.output[0]}/first"
    yield make_node(
        "Transpose", node.input[:1], [f"{first}/{node.output[0]}"], "", perm=[0, rank + 1, *axes]
    )
    made.input[0], made.output[0] = f"{first}/{node.output[0]}", last
    yield made
    yield make_node("Transpose", [last], node.output[:1], "", perm=[0, *(a + 1 for a in axes), 1])


def _channels_last(node: NodeProto) -> bool:
    flag = any(item.name == "channels_last" and item.i == 1 for item in node.attribute)
    return flag or node.op_type in _ALWAYS_LAST
