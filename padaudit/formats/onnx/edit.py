"""Editing an ONNX model: the one place that adds nodes, names and constants.

Edits are collected and become splices of the serialised model, so that whatever they do not
touch stays byte for byte what it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from padaudit.errors import InputError
from padaudit.formats.onnx.build import make_node
from padaudit.formats.onnx.document import (
    NodeOrigin,
    OnnxDocument,
    container_at,
    opset_at,
)
from padaudit.formats.onnx.leftovers import add_leftovers, containers
from padaudit.formats.onnx.locate import Locator, field_number
from padaudit.formats.onnx.patches import Changes, NodeChange, function_copy, splices_of
from padaudit.formats.onnx.protos import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
)
from padaudit.formats.onnx.splice import EMPTY, Content, Splice, spliced
from padaudit.formats.onnx.wire import WireError, encode_message
from padaudit.formats.onnx.write import RewrittenOnnx

_FREE_INITIALIZERS_IR: Final = 4
_INPUT: Final = field_number(GraphProto, "input")
_OUTPUT: Final = field_number(GraphProto, "output")
_VALUE_INFO: Final = field_number(GraphProto, "value_info")
_NAME: Final = field_number(ValueInfoProto, "name")
_MODEL: Final = (-1, "")
"""The key of changes to the model itself; others are (function's index, copy's name)."""


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
        self._changes: dict[tuple[int, str], Changes] = {}
        self._ends: dict[tuple[int, int], ValueInfoProto] = {}
        self._forgotten: set[bytes] = set()
        self._nodes, self._tensors = _names(self.model)
        self._tries: defaultdict[str, int] = defaultdict(lambda: 1)
        self._copy = ""

    def in_copy(self, name: str) -> None:
        """Direct the edits of a function's nodes to a copy of it; ``""``: to the function."""
        self._copy = name

    def copy_function(self, index: int, name: str) -> None:
        """Add a copy of a function, with the edits that are directed to it."""
        self._changes.setdefault((index, name), Changes())

    def _at(self, origin: NodeOrigin) -> Changes:
        kind, *where = origin.steps[0]
        key = (int(where[0]), self._copy) if kind == "function" and self._copy else _MODEL
        return self._changes.setdefault(key, Changes())

    def node(self, origin: NodeOrigin) -> NodeProto:
        """Return the node that stands at an origin afterwards, to be changed in place."""
        changes = self._at(origin).nodes
        if origin not in changes:
            # Not origin.node: in a function, its references to attributes are resolved.
            stored = container_at(self.model, origin.steps).node[origin.index]
            copy = NodeProto()
            copy.CopyFrom(stored)
            changes[origin] = NodeChange(stored, copy)
        return changes[origin].after

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
        changes.ahead.setdefault(origin, []).extend([*made, *nodes])

    def replace(
        self, origin: NodeOrigin, nodes: Sequence[NodeProto], constants: Sequence[TensorProto] = ()
    ) -> None:
        """Put nodes, and the constants that they read, in the place of a node."""
        self.insert_before(origin, nodes, constants)
        self.remove(origin)

    def remove(self, origin: NodeOrigin) -> None:
        """Take a node away."""
        self._at(origin).removed.add(origin)

    def set_input(self, index: int, value: ValueInfoProto) -> None:
        """Replace an input of the graph."""
        self._ends[_INPUT, index] = value

    def set_output(self, index: int, value: ValueInfoProto) -> None:
        """Replace an output of the graph."""
        self._ends[_OUTPUT, index] = value

    def forget_types(self, names: Collection[str]) -> None:
        """Drop what the graph records of the types of inner tensors."""
        self._forgotten |= {name.encode() for name in names}

    def free_node_name(self, wanted: str) -> str:
        """Return a name that no node and no tensor has yet, and take it."""
        return self._free(wanted, self._nodes, self._tensors)

    def free_tensor_name(self, wanted: str) -> str:
        """Return a name that no tensor has yet, and take it."""
        return self._free(wanted, self._tensors)

    def _free(self, wanted: str, taken: set[str], *others: set[str]) -> str:
        """Return a name that is in none of the sets, and add it to the first."""
        name = wanted
        while any(name in names for names in (taken, *others)):
            self._tries[wanted] += 1
            name = f"{wanted}_{self._tries[wanted]}"
        taken.add(name)
        return name

    def result(self) -> RewrittenOnnx:
        """Return the model with all edits made.

        Raises
        ------
        InputError
            If the model is stored in a way that can't be edited in place.
        """
        try:
            return RewrittenOnnx(self.document, self._content())
        except WireError as error:
            raise InputError(
                self.document.path or "the model",
                f"it is stored in a way that can't be edited ({error})",
                "save it again with onnx.save",
            ) from error

    def _content(self) -> Content:
        buffer = self.document.buffer()
        locator = Locator(buffer)
        changes = self._changes.get(_MODEL, Changes())
        add_leftovers(self.model, changes)
        splices = list(splices_of(changes, locator))
        splices += self._type_splices(locator)
        for index, name in sorted(key for key in self._changes if key != _MODEL):
            content = function_copy(locator, index, name, self._changes[index, name])
            splices.append(Splice(len(buffer), len(buffer), content, None))
        return spliced(0, len(buffer), splices)

    def _type_splices(self, locator: Locator) -> Iterator[Splice]:
        if not self._ends and not self._forgotten:
            return
        place = locator.container((("graph",),))
        for (number, index), value in self._ends.items():
            found = locator.fields(place, number)[index]
            content = (encode_message(number, value.SerializeToString()),)
            yield Splice(found.start, found.end, content, place)
        for record in locator.fields(place, _VALUE_INFO) if self._forgotten else ():
            if locator.text(locator.place(record, place), _NAME) in self._forgotten:
                yield Splice(record.start, record.end, EMPTY, place)


def _names(model: ModelProto) -> tuple[set[str], set[str]]:
    """Return the names of all nodes and of all tensors, wherever they stand."""
    nodes: set[str] = set()
    tensors: set[str] = set()
    for container in containers(model):
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
