"""Sizes that a port's file records and that its correction changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from padaudit.compare.differences import PaddingDifference
from padaudit.compare.unit import Unit
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.protos import ModelProto, ValueInfoProto
from padaudit.formats.onnx.shapes import inferred_outputs
from padaudit.ir.graph import Graph


def forget_sizes(editor: GraphEditor, graph: Graph, done: Sequence[PaddingDifference]) -> None:
    """Drop what the file records of tensors whose sizes change, and renew that of its outputs.

    Parameters
    ----------
    editor : GraphEditor
        Has the corrections; its result is that of `GraphEditor.result` afterwards.
    graph : Graph
        The port's graph.
    done : sequence of PaddingDifference
        What was corrected.
    """
    names = {name for item in done if _resizes(item) for name in _behind(graph, item.port)}
    if not names:
        return
    editor.forget_types(names)
    shapes = inferred_outputs(editor.result().model)
    model: ModelProto = editor.model
    for index, value in enumerate(model.graph.output):
        if value.name in names and value.name in shapes:
            editor.set_output(index, _renewed(value, shapes[value.name]))


def _renewed(value: ValueInfoProto, inferred: ValueInfoProto) -> ValueInfoProto:
    """Return an output with the shape that is inferred; without one where none is."""
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    copy.type.tensor_type.ClearField("shape")
    if inferred.type.tensor_type.HasField("shape"):
        copy.type.tensor_type.shape.CopyFrom(inferred.type.tensor_type.shape)
    return copy


def _resizes(item: PaddingDifference) -> bool:
    """Tell whether a correction changes sizes, or may: also of what stands around an operator."""
    port = item.port
    if item.expected_pads is None or port.cropping_ops or not all(_directly(port)):
        return True
    return any(
        not isinstance(size := item.original.size(axis), int)
        or _count(item.original, axis, size) != _count(port, axis, size)
        for axis in range(port.window.rank)
    )


def _directly(port: Unit) -> Iterator[bool]:
    """Yield whether the operators around one stand beside each other, with nothing between."""
    name = port.site.op.inputs[0]
    for op in port.padding_ops:
        yield op.outputs[0] == name
        name = op.inputs[0]


def _count(unit: Unit, axis: int, size: int) -> int | None:
    placed = unit.placement(axis, size)
    return None if placed is None else placed[1]


def _behind(graph: Graph, port: Unit) -> Iterator[str]:
    """Yield the tensors of the outermost graph that may depend on an operator's padding."""
    if port.site.scope:
        names = [op.name for op in graph.ops()]
    else:
        import networkx

        first = (port.padding_ops or (port.site.op,))[-1].name
        names = [first, *networkx.descendants(graph.network, first)]
    for name in names:
        yield from graph.op(name).outputs
