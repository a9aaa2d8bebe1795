"""Taking out what pads in front of an operator of a port, and what crops behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from padaudit.compare.around_onnx import unmeasured
from padaudit.compare.unit import Unit
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op


@dataclass(frozen=True, slots=True)
class Ahead:
    """How the padding and cropping operators in front of an operator can be taken out.

    Parameters
    ----------
    readers : tuple of (Op, str)
        Operators, and what each has to read then.
    removed : tuple of Op
        What nothing reads any more.
    directly : bool
        Whether they stand directly in front of the operator.
    """

    readers: tuple[tuple[Op, str], ...]
    removed: tuple[Op, ...]
    directly: bool

    def take_out(self, editor: GraphEditor) -> None:
        """Take them out."""
        for reader, source in self.readers:
            editor.node(reader.origin).input[0] = source
        for op in self.removed:
            editor.remove(op.origin)


def ahead_of(graph: Graph, port: Unit) -> Ahead | None:
    """Return how what pads in front of an operator can be taken out; None if it can't.

    Where something else reads it too, it can be passed by, but only from directly behind it.
    """
    path = list(_path(graph, port))
    shared = next((place for place, op in enumerate(path) if not _alone(graph, op)), len(path))
    direct = next((place for place, op in enumerate(path) if op not in port.padding_ops), len(path))
    if not path or (shared < len(path) and direct < len(path)):
        return None
    readers: list[tuple[Op, str]] = []
    reader = port.site.op
    for place, op in enumerate(path):
        if op not in port.padding_ops:
            reader = op
        elif place + 1 == len(path) or path[place + 1] not in port.padding_ops:
            readers.append((reader, op.inputs[0]))
    removed = [op for op in path[:shared] if op in port.padding_ops]
    return Ahead(tuple(readers), tuple(removed), direct == len(path))


def _path(graph: Graph, port: Unit) -> Iterator[Op]:
    """Yield the operators from one upwards to the furthest that pads it."""
    left = len(port.padding_ops)
    name = port.site.op.inputs[0]
    while left:
        op = graph.producer(name)
        if op is None:
            return
        yield op
        left -= op in port.padding_ops
        name = op.inputs[0]


def take_out_crops(editor: GraphEditor, graph: Graph, port: Unit) -> None:
    """Take out the Slices that crop an operator's output."""
    last = port.site.op
    for op in _cropped_path(graph, port):
        if op not in port.cropping_ops:
            last = op
            continue
        renamed = op.outputs[0]
        for user, slot, place in graph.uses(last):
            if slot == 0 and user not in port.cropping_ops:
                editor.node(user.origin).input[place] = renamed
        editor.node(last.origin).output[0] = renamed
        editor.remove(op.origin)


def crops_are_measured(graph: Graph, port: Unit) -> bool:
    """Tell whether what is cropped behind an operator depends on the size of what it gives."""
    path = [port.site.op, *_cropped_path(graph, port)][:-1]
    return any(user.op_type == "Shape" for op in path for user, _, _ in graph.uses(op))


def _cropped_path(graph: Graph, port: Unit) -> Iterator[Op]:
    """Yield what stands behind an operator, to the last Slice that crops it."""
    op, left = port.site.op, len(port.cropping_ops)
    while left:
        op = unmeasured(graph, op)[0][0]
        yield op
        left -= op in port.cropping_ops


def _alone(graph: Graph, op: Op) -> bool:
    """Tell whether one operator reads another's result, and nothing else does."""
    return len(list(graph.uses(op))) == 1 and op.outputs[0] not in graph.outputs
