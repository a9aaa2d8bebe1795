"""How often the functions of a model are called, calls in calls counted each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from padaudit.errors import InputError, LimitError
from padaudit.formats.onnx.document import bodies
from padaudit.formats.onnx.protos import FunctionProto, ModelProto, NodeProto

MAX_CALLS: Final = 4096
Key = tuple[str, str, str]


def key_of_call(node: NodeProto) -> Key:
    """Return what a node calls, if a function of that key exists: domain, name, overload."""
    return node.domain, node.op_type, getattr(node, "overload", "")


def key_of_function(function: FunctionProto) -> Key:
    """Return how a function is called: domain, name, overload."""
    return function.domain, function.name, getattr(function, "overload", "")


def refuse_endless_calls(where: Path | str, model: ModelProto) -> None:
    """Refuse a model whose functions call each other in a circle, or too often in all.

    Raises
    ------
    InputError
        If a function calls itself, directly or through others.
    LimitError
        If there are more than `MAX_CALLS` calls.
    """
    if not model.functions:
        return
    functions = {key_of_function(function): function for function in model.functions}
    counts: dict[Key, int] = {}
    active: list[Key] = []

    def count(nodes: Iterable[NodeProto]) -> int:
        return sum(1 + expanded(key_of_call(node)) for node in _calls(nodes, functions))

    def expanded(key: Key) -> int:
        if key in active:
            cause = f"its function '{key[1]}' calls itself"
            raise InputError(where, cause, "export it again without recursion")
        if key not in counts:
            active.append(key)
            counts[key] = count(functions[key].node)
            active.pop()
        return counts[key]

    try:
        total = count(model.graph.node)
    except RecursionError as error:
        raise LimitError(where, "its functions are nested too deep", "inline them first") from error
    if total > MAX_CALLS:
        cause = f"its functions are called {total} times, more than {MAX_CALLS}"
        raise LimitError(where, cause, "inline them first")


def _calls(nodes: Iterable[NodeProto], functions: dict[Key, FunctionProto]) -> Iterator[NodeProto]:
    """Yield the nodes that call a function, in bodies too."""
    for node in nodes:
        if key_of_call(node) in functions:
            yield node
        for _, body in bodies(node):
            yield from _calls(body.node, functions)
