"""Where the parts of a model stand in its file."""

from __future__ import annotations

from typing import Final

from padaudit.formats.onnx.protos import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
)
from padaudit.formats.onnx.splice import Place
from padaudit.formats.onnx.wire import LENGTH, Buffer, Record, WireError, records, varint

Steps = tuple[tuple[str | int, ...], ...]


def field_number(message: type, name: str) -> int:
    """Return the number of a protobuf field."""
    return int(message.DESCRIPTOR.fields_by_name[name].number)  # type: ignore[attr-defined]


_GRAPH: Final = field_number(ModelProto, "graph")
_FUNCTION: Final = field_number(ModelProto, "functions")
_GRAPH_NODE: Final = field_number(GraphProto, "node")
_FUNCTION_NODE: Final = field_number(FunctionProto, "node")
_ATTRIBUTE: Final = field_number(NodeProto, "attribute")
_NAME: Final = field_number(AttributeProto, "name")
_BODY: Final = field_number(AttributeProto, "g")


class Locator:
    """Finds graphs, functions and nodes of a serialised model.

    Parameters
    ----------
    buffer : bytes or mmap
        The serialised model; it was read before, so it is well-formed.
    """

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self._places: dict[Steps, Place] = {}
        self._nodes: dict[Steps, list[Record]] = {}

    def container(self, steps: Steps) -> Place:
        """Return where the graph, body or function at the end of some steps stands.

        Raises
        ------
        WireError
            If the message is stored in pieces, which protobuf allows and nobody writes.
        """
        if steps not in self._places:
            self._places[steps] = self._find(steps)
        return self._places[steps]

    def node(self, steps: Steps, index: int) -> Record:
        """Return where a node of a container stands."""
        if steps not in self._nodes:
            place = self.container(steps)
            number = _FUNCTION_NODE if steps[-1][0] == "function" else _GRAPH_NODE
            self._nodes[steps] = self.fields(place, number)
        return self._nodes[steps][index]

    def fields(self, place: Place, number: int) -> list[Record]:
        """Return the records of one field of a message, in order."""
        found = records(self.buffer, place.payload, place.end)
        return [record for record in found if record.number == number]

    def place(self, record: Record, around: Place | None) -> Place:
        """Return the message that a record holds."""
        _, length_at = varint(self.buffer, record.start, record.end)
        return Place(length_at, record.payload, record.end, around)

    def _find(self, steps: Steps) -> Place:
        kind, *where = steps[-1]
        if kind == "graph":
            return self.place(self._single(self._top(_GRAPH), "graph"), None)
        if kind == "function":
            return self.place(self._top(_FUNCTION)[int(where[0])], None)
        around = self.container(steps[:-1])
        holder = self.place(self.node(steps[:-1], int(where[0])), around)
        for record in self.fields(holder, _ATTRIBUTE):
            attribute = self.place(record, holder)
            if self.text(attribute, _NAME) == str(where[1]).encode():
                body = self._single(self.fields(attribute, _BODY), "body")
                return self.place(body, attribute)
        raise WireError(f"node {where[0]} has no attribute '{where[1]}'")

    def _top(self, number: int) -> list[Record]:
        found = records(self.buffer, 0, len(self.buffer))
        return [record for record in found if record.number == number]

    def text(self, place: Place, number: int) -> bytes:
        """Return the last value of a string field of a message; empty if there is none."""
        found = self.fields(place, number)
        return self.buffer[found[-1].payload : found[-1].end] if found else b""

    def _single(self, found: list[Record], what: str) -> Record:
        if len(found) != 1 or found[0].kind != LENGTH:
            raise WireError(f"a {what} is stored in {len(found)} pieces")
        return found[0]
