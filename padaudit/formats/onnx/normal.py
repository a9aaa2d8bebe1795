"""The weightless copy that shape inference works on, in the one spelling that it understands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from padaudit.formats.onnx.calls import Key, key_of_call, key_of_function
from padaudit.formats.onnx.document import bodies
from padaudit.formats.onnx.protos import ModelProto, NodeProto

_SPELLED_OUT = "ai.onnx"


def normalize(light: ModelProto) -> None:
    """Write the default domain as ``""``, and give every overload of a function its own name."""
    overloads = {
        key: f"{key[1]}|{key[2]}" for key in map(key_of_function, light.functions) if key[2]
    }
    spelled = any(item.domain == _SPELLED_OUT for item in light.opset_import)
    if not spelled and not overloads and not _spells(light.graph.node):
        return
    for item in light.opset_import:
        item.domain = "" if item.domain == _SPELLED_OUT else item.domain
    _settle(light.graph.node, overloads)
    for function in light.functions:
        _settle(function.node, overloads)
        function.name = overloads.get(key_of_function(function), function.name)
        if hasattr(function, "overload"):
            function.overload = ""


def _spells(nodes: Iterable[NodeProto]) -> bool:
    return any(node.domain == _SPELLED_OUT for node in nodes)


def _settle(nodes: Iterable[NodeProto], overloads: dict[Key, str]) -> None:
    for node in _all(nodes):
        if node.domain == _SPELLED_OUT:
            node.domain = ""
        name = overloads.get(key_of_call(node))
        if name is not None:
            node.op_type, node.overload = name, ""


def _all(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for _, body in bodies(node):
            yield from _all(body.node)
