"""An ONNX model with further tensors as outputs, to look inside it, its bodies and functions.

What a body or function makes is handed outwards: as another output of the branch, loop or call
around it, up to the model. Passes of a loop are stacked; a branch that does not make a tensor
gives an empty one in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from padaudit.formats.onnx.document import NodeOrigin, bodies, container_at
from padaudit.formats.onnx.dtypes import dtype_code
from padaudit.formats.onnx.locate import Locator, Steps, field_number
from padaudit.formats.onnx.splice import Splice, spliced
from padaudit.formats.onnx.wire import encode_message, encode_varint
from padaudit.formats.onnx.write import RewrittenOnnx, write_onnx
from padaudit.scratch import scratch_folder

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument
    from padaudit.ir.graph import Graph
    from padaudit.ir.op import Op

STACKING: Final = frozenset({"Loop", "Scan"})
"""Operators that run a body several times; what it gives is stacked along a new first axis."""
_BRANCHES: Final = "If"
_OPENED: Final = STACKING | {_BRANCHES}
_PREFIX: Final = "padaudit.tap"
_TOP: Final[Steps] = (("graph",),)
_PER_OUTPUT: Final = ("scan_output_axes", "scan_output_directions")
"""Attributes of Scan that say something of each stacked output; 0 is their default."""
_OUTPUT: Final = field_number(NodeProto, "output")
_ATTRIBUTE: Final = field_number(NodeProto, "attribute")
_NAME: Final = field_number(AttributeProto, "name")
_INTS: Final = field_number(AttributeProto, "ints")


@dataclass(frozen=True, slots=True)
class Hop:
    """An operator that holds a body or calls a function, and which one is meant.

    Parameters
    ----------
    op : Op
        The operator.
    label : str
        The attribute that holds the body; empty for a function.
    inside : Steps
        Where the body or function stands.
    """

    op: Op
    label: str
    inside: Steps

    @property
    def stacks(self) -> bool:
        """Whether it runs what it holds several times."""
        return bool(self.label) and self.op.op_type in STACKING

    @property
    def opens(self) -> bool:
        """Whether tensors can be handed outwards through it."""
        return not self.label or (self.op.op_type in _OPENED and not self.op.domain)


@dataclass(frozen=True, slots=True)
class Tap:
    """A tensor to look at.

    Parameters
    ----------
    tensor : str
        Its name in the graph that makes it.
    hops : tuple of Hop
        What encloses that graph, outermost first; empty for the model's own graph.
    dtype : str
        numpy's name of its type, which matters in branches.
    """

    tensor: str
    hops: tuple[Hop, ...] = ()
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """What the model calls the output."""
        name = self.tensor
        for hop in reversed(self.hops):
            name = _outer_name(hop, name)
        return name


@dataclass(frozen=True, slots=True)
class Mark:
    """A count of how often a body is run: the one that the innermost hop holds.

    It is a constant of the body: 1, and 0 in the other branch; the passes of a loop are summed.
    """

    hops: tuple[Hop, ...]

    @property
    def name(self) -> str:
        """What the model calls the output."""
        return list(self.names())[-1]

    def names(self) -> Iterator[str]:
        """Yield what it is called in the body and in what encloses that, outwards."""
        name = _outer_name(self.hops[-1], "ran")
        yield name
        for hop in reversed(self.hops):
            name = _outer_name(hop, name)
            if hop.stacks:
                name = f"{name}/sum"
            yield name


def hops_of(graph: Graph, around: tuple[Hop, ...] = ()) -> dict[int, tuple[Hop, ...]]:
    """Return, by ``id(op)``, what encloses each operator of a graph."""
    found: dict[int, tuple[Hop, ...]] = {}
    for op in graph.ops():
        found[id(op)] = around
        for label, inner in graph.nested.get(op.name, {}).items():
            first = next(iter(inner.ops()), None)
            if first is not None:
                found |= hops_of(inner, (*around, Hop(op, label, first.origin.steps)))
    return found


@contextmanager
def tapped(document: OnnxDocument, taps: Sequence[Tap | Mark]) -> Iterator[Path]:
    """Write a model that has further tensors as outputs, by `Tap.name`.

    The file is gone afterwards. It stands beside the model where that has external data,
    which onnxruntime reads beside the file only.

    Raises
    ------
    OSError
        If it can't be written there.
    """
    home = document.path.parent if document.path and document.data_files else None
    with scratch_folder() as scratch:
        path = (home or Path(scratch)) / f".observed.{os.getpid()}.onnx"
        try:
            write_onnx(with_outputs(document, taps), path)
            yield path
        finally:
            path.unlink(missing_ok=True)


def with_outputs(document: OnnxDocument, taps: Sequence[Tap | Mark]) -> RewrittenOnnx:
    """Return a model with further tensors as outputs."""
    exposure = _Exposure(document)
    for tap in taps:
        if isinstance(tap, Mark):
            exposure.add_mark(tap)
        else:
            exposure.add(tap)
    buffer = document.buffer()
    return RewrittenOnnx(document, spliced(0, len(buffer), list(exposure.splices())))


def _outer_name(hop: Hop, name: str) -> str:
    """Name an output of an operator after the tensor that its body or function makes."""
    origin: NodeOrigin = hop.op.origin
    where = [str(part) for step in origin.steps for part in step]
    return "/".join((_PREFIX, *where, str(origin.index), hop.label, name))


@dataclass(slots=True)
class _Exposure:
    """What is to be handed outwards.

    Parameters
    ----------
    document : OnnxDocument
        The model.
    given : dict
        By container the tensors that become its outputs; with the node that makes those that
        have to be made, as they stand for what another branch makes, or count passes.
    outputs : dict
        By operator its new outputs; those of a call by their names inside.
    calls : dict
        By operator the function that it calls, if it does.
    """

    document: OnnxDocument
    given: dict[Steps, dict[str, NodeProto | None]] = field(default_factory=dict)
    outputs: dict[NodeOrigin, dict[str, str]] = field(default_factory=dict)
    calls: dict[NodeOrigin, Steps] = field(default_factory=dict)

    def add(self, tap: Tap) -> None:
        """Have a tensor handed outwards."""
        name = tap.tensor
        empty = TensorProto(data_type=dtype_code(tap.dtype), dims=[0])
        for hop in reversed(tap.hops):
            self.given.setdefault(hop.inside, {})[name] = None
            name = self._hand_out(hop, name, empty)
        self.given.setdefault(_TOP, {})[name] = None

    def add_mark(self, mark: Mark) -> None:
        """Have it counted how often a body is run."""
        names = mark.names()
        name = next(names)
        made: NodeProto | None = _constant(name, _number(1.0))
        for hop, outside in zip(reversed(mark.hops), names, strict=True):
            self.given.setdefault(hop.inside, {})[name] = made
            outer = self._hand_out(hop, name, _number(0.0))
            made = helper.make_node("ReduceSum", [outer], [outside], keepdims=0)
            if not hop.stacks:
                made = None
            name = outside
        self.given.setdefault(_TOP, {})[name] = made

    def _hand_out(self, hop: Hop, name: str, other: TensorProto) -> str:
        """Hand what a body makes out of its operator; ``other`` is what other branches give."""
        outer = _outer_name(hop, name)
        # Two branches may each make a tensor of one name; a function has each name once.
        key = outer if hop.label else name
        self.outputs.setdefault(hop.op.origin, {})[key] = outer
        if not hop.label:
            self.calls[hop.op.origin] = hop.inside
        for steps in _other_branches(hop):
            empty = f"{outer}/empty"
            self.given.setdefault(steps, {})[empty] = _constant(empty, other)
        return outer

    def splices(self) -> Iterator[Splice]:
        """Yield what is added to the model."""
        locator = Locator(self.document.buffer())
        for origin in self.outputs:
            yield from self._node_splices(origin, locator)
        for steps, names in self.given.items():
            place = locator.container(steps)
            content = tuple(self._results(steps, names))
            yield Splice(place.end, place.end, content, place)

    def _node_splices(self, origin: NodeOrigin, locator: Locator) -> Iterator[Splice]:
        """Yield the further outputs of an operator."""
        node = container_at(self.document.model, origin.steps).node[origin.index]
        names = self._new_outputs(origin, node)
        record = locator.node(origin.steps, origin.index)
        place = locator.place(record, locator.container(origin.steps))
        for item in locator.fields(place, _ATTRIBUTE) if node.op_type == "Scan" else ():
            attribute = locator.place(item, place)
            if locator.text(attribute, _NAME).decode() in _PER_OUTPUT:
                zeros = (encode_varint(_INTS << 3) + encode_varint(0)) * len(names)
                yield Splice(attribute.end, attribute.end, (zeros,), attribute)
        content = tuple(encode_message(_OUTPUT, name.encode()) for name in names)
        yield Splice(place.end, place.end, content, place)

    def _new_outputs(self, origin: NodeOrigin, node: NodeProto) -> list[str]:
        known, called = self.outputs[origin], self.calls.get(origin)
        if called is None:
            return list(known.values())
        # A function hands the same tensors outwards in every call; not all are wanted of each.
        missing = len(container_at(self.document.model, called).output) - len(node.output)
        return [""] * missing + [known.get(name, "") for name in self.given[called]]

    def _results(self, steps: Steps, names: Mapping[str, NodeProto | None]) -> Iterator[bytes]:
        """Yield the records of a container's new outputs, and of nodes that make some of them."""
        container = container_at(self.document.model, steps)
        function = isinstance(container, FunctionProto)
        message = FunctionProto if function else GraphProto
        node, output = field_number(message, "node"), field_number(message, "output")
        present = {item if isinstance(item, str) else item.name for item in container.output}
        for name, made in names.items():
            result = name
            if made is not None:
                yield encode_message(node, made.SerializeToString())
            elif name in present:
                if steps == _TOP:
                    continue
                result = f"{name}/again"
                again = helper.make_node("Identity", [name], [result])
                yield encode_message(node, again.SerializeToString())
            text = result.encode() if function else ValueInfoProto(name=result).SerializeToString()
            yield encode_message(output, text)


def _constant(name: str, value: Any) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=value)


def _number(value: float) -> TensorProto:
    return helper.make_tensor("", TensorProto.FLOAT, [], [value])


def _other_branches(hop: Hop) -> Iterator[Steps]:
    """Yield the branches of an If beside the one that a tensor is handed out of."""
    if not hop.label or hop.op.op_type != _BRANCHES:
        return
    kind, index, own = hop.inside[-1]
    for label, _ in bodies(hop.op.origin.node):
        if label != own:
            yield (*hop.inside[:-1], (kind, index, label))
