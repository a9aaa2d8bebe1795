"""Editing an ONNX model: the one place that adds nodes, names and constants.

Edits are collected and become splices of the serialised model, so that whatever they do not
touch stays byte for byte what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from padaudit.formats.onnx.build import make_node
from padaudit.formats.onnx.document import (
    Container,
    NodeOrigin,
    OnnxDocument,
    bodies,
    container_at,
    opset_at,
)
from padaudit.formats.onnx.locate import Locator, Steps, field_number
from padaudit.formats.onnx.protos import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
)
from padaudit.formats.onnx.splice import EMPTY, Content, Splice, size_of, spliced
from padaudit.formats.onnx.wire import LENGTH, encode_message, encode_varint
from padaudit.formats.onnx.write import RewrittenOnnx

_FREE_INITIALIZERS_IR: Final = 4
_GRAPH_NODE: Final = field_number(GraphProto, "node")
_FUNCTION_NODE: Final = field_number(FunctionProto, "node")
_INITIALIZER: Final = field_number(GraphProto, "initializer")
_INPUT: Final = field_number(GraphProto, "input")
_FUNCTION: Final = field_number(ModelProto, "functions")
_FUNCTION_NAME: Final = field_number(FunctionProto, "name")
_NODE_NAME: Final = field_number(NodeProto, "name")
_OP_TYPE: Final = field_number(NodeProto, "op_type")


@dataclass(slots=True)
class _Changes:
    """What happens to the nodes and graphs of one copy of the model's text."""

    nodes: dict[NodeOrigin, NodeProto] = field(default_factory=dict)
    before: dict[NodeOrigin, list[NodeProto]] = field(default_factory=dict)
    removed: set[NodeOrigin] = field(default_factory=set)
    calls: dict[NodeOrigin, tuple[str, str]] = field(default_factory=dict)
    constants: dict[Steps, list[TensorProto]] = field(default_factory=dict)


class GraphEditor:
    """Collects edits of a model; origins stay valid, because nothing moves before `result`.

    Parameters
    ----------
    document : OnnxDocument
        The model; it is not changed.
    """

    def __init__(self, document: OnnxDocument) -> None:
        self.document = document
        self.model = document.model
        self._changes: dict[tuple[int, str], _Changes] = {}
        self._inputs: dict[int, ValueInfoProto] = {}
        self._nodes, self._tensors = _names(self.model)
        self._copy = ""

    def in_copy(self, name: str) -> None:
        """Direct the edits of a function's nodes to a copy of it; ``""``: to the function."""
        self._copy = name

    def copy_function(self, index: int, name: str) -> None:
        """Add a copy of a function, with the edits that are directed to it."""
        self._changes.setdefault((index, name), _Changes())

    def _at(self, origin: NodeOrigin) -> _Changes:
        kind, *where = origin.steps[0]
        key = (int(where[0]), self._copy) if kind == "function" and self._copy else (-1, "")
        return self._changes.setdefault(key, _Changes())

    def node(self, origin: NodeOrigin) -> NodeProto:
        """Return the node that stands at an origin afterwards, to be changed in place."""
        changes = self._at(origin).nodes
        if origin not in changes:
            # Not origin.node: in a function, its references to attributes are resolved.
            stored = container_at(self.model, origin.steps).node[origin.index]
            changes[origin] = NodeProto()
            changes[origin].CopyFrom(stored)
        return changes[origin]

    def opset(self, origin: NodeOrigin) -> int:
        """Return the opset of the default domain at an origin."""
        return opset_at(self.model, origin)

    def insert_before(
        self, origin: NodeOrigin, nodes: Sequence[NodeProto], constants: Sequence[TensorProto] = ()
    ) -> None:
        """Put nodes, and the constants that they read, in front of a node."""
        changes = self._at(origin)
        container = container_at(self.model, origin.steps)
        if isinstance(container, GraphProto) and self.model.ir_version >= _FREE_INITIALIZERS_IR:
            changes.constants.setdefault(origin.steps, []).extend(constants)
            made: list[NodeProto] = []
        else:
            made = [
                make_node("Constant", [], [item.name], f"{item.name}/constant", value=item)
                for item in constants
            ]
        changes.before.setdefault(origin, []).extend([*made, *nodes])

    def remove(self, origin: NodeOrigin) -> None:
        """Take a node away."""
        self._at(origin).removed.add(origin)

    def retarget(self, origin: NodeOrigin, function: str, name: str) -> None:
        """Make a call node call another function of its domain, and give it a name."""
        self._at(origin).calls[origin] = (function, name)

    def set_input(self, index: int, value: ValueInfoProto) -> None:
        """Replace an input of the graph."""
        self._inputs[index] = value

    def free_node_name(self, wanted: str) -> str:
        """Return a name that no node and no tensor has yet, and take it."""
        return _free(wanted, self._nodes, self._tensors)

    def claim(self, wanted: str) -> str:
        """Return a name that no node has yet, and take it."""
        return _free(wanted, self._nodes)

    def free_tensor_name(self, wanted: str) -> str:
        """Return a name that no tensor has yet, and take it."""
        return _free(wanted, self._tensors)

    def result(self) -> RewrittenOnnx:
        """Return the model with all edits made."""
        buffer = self.document.buffer()
        locator = Locator(buffer)
        here = self._changes.get((-1, ""), _Changes())
        splices = list(_splices(here, locator))
        splices += self._input_splices(locator)
        copies = sorted(key for key in self._changes if key != (-1, ""))
        for index, name in copies:
            content = _function_copy(locator, index, name, self._changes[index, name])
            splices.append(Splice(len(buffer), len(buffer), content, None))
        return RewrittenOnnx(self.document, spliced(0, len(buffer), splices))

    def _input_splices(self, locator: Locator) -> Iterator[Splice]:
        if not self._inputs:
            return
        place = locator.container((("graph",),))
        found = locator.fields(place, _INPUT)
        for index, value in self._inputs.items():
            content = (encode_message(_INPUT, value.SerializeToString()),)
            yield Splice(found[index].start, found[index].end, content, place)


def _splices(changes: _Changes, locator: Locator) -> Iterator[Splice]:
    touched = {**changes.nodes, **dict.fromkeys(changes.before), **dict.fromkeys(changes.removed)}
    for origin in touched:
        yield from _node_splices(origin, changes, locator)
    for origin, (function, name) in changes.calls.items():
        yield from _call_splices(origin, function, name, locator)
    for steps, constants in changes.constants.items():
        place = locator.container(steps)
        content = tuple(
            encode_message(_INITIALIZER, item.SerializeToString()) for item in constants
        )
        yield Splice(place.end, place.end, content, place)


def _node_splices(origin: NodeOrigin, changes: _Changes, locator: Locator) -> Iterator[Splice]:
    place = locator.container(origin.steps)
    record = locator.node(origin.steps, origin.index)
    added = changes.before.get(origin, [])
    if added:
        content = tuple(encode_message(record.number, node.SerializeToString()) for node in added)
        yield Splice(record.start, record.start, content, place)
    if origin in changes.removed:
        yield Splice(record.start, record.end, EMPTY, place)
    elif origin in changes.nodes:
        content = (encode_message(record.number, changes.nodes[origin].SerializeToString()),)
        yield Splice(record.start, record.end, content, place)


def _call_splices(
    origin: NodeOrigin, function: str, name: str, locator: Locator
) -> Iterator[Splice]:
    """Change op_type and name only: a call's attributes may hold large tensors."""
    around = locator.container(origin.steps)
    place = locator.place(locator.node(origin.steps, origin.index), around)
    for number, text in ((_OP_TYPE, function), (_NODE_NAME, name)):
        for record in locator.fields(place, number):
            yield Splice(record.start, record.end, EMPTY, place)
        yield Splice(place.end, place.end, (encode_message(number, text.encode()),), place)


def _function_copy(locator: Locator, index: int, name: str, changes: _Changes) -> Content:
    place = locator.container((("function", index),))
    splices = list(_splices(changes, locator))
    for record in locator.fields(place, _FUNCTION_NAME):
        splices.append(Splice(record.start, record.end, EMPTY, place))
    renamed = encode_message(_FUNCTION_NAME, name.encode())
    splices.append(Splice(place.payload, place.payload, (renamed,), place))
    content = spliced(place.payload, place.end, splices)
    return (encode_varint(_FUNCTION << 3 | LENGTH) + encode_varint(size_of(content)), *content)


def _free(wanted: str, taken: set[str], *others: set[str]) -> str:
    """Return a name that is in none of the sets, and add it to the first."""
    name, count = wanted, 1
    while any(name in names for names in (taken, *others)):
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def _names(model: ModelProto) -> tuple[set[str], set[str]]:
    """Return the names of all nodes and of all tensors, wherever they stand."""
    nodes: set[str] = set()
    tensors: set[str] = set()
    for container in _containers(model):
        nodes.update(node.name for node in container.node)
        for node in container.node:
            tensors.update(node.input, node.output)
        if isinstance(container, GraphProto):
            for group in (container.input, container.output, container.initializer):
                tensors.update(item.name for item in group)
            tensors.update(value.name for value in container.value_info)
            tensors.update(item.values.name for item in container.sparse_initializer)
        else:
            tensors.update(container.input, container.output)
    return nodes, tensors


def _containers(model: ModelProto) -> Iterator[Container]:
    pending: list[Container] = [model.graph, *model.functions]
    while pending:
        container = pending.pop()
        yield container
        pending += [body for node in container.node for _, body in bodies(node)]
