"""ONNX ModelProto -> Graph, bodies and function calls included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from padaudit.errors import InputError, LimitError
from padaudit.formats.onnx import shapes
from padaudit.formats.onnx.calls import key_of_call, key_of_function, refuse_endless_calls
from padaudit.formats.onnx.document import (
    Container,
    NodeOrigin,
    OnnxDocument,
    bodies,
    has_body,
    plain_attributes,
)
from padaudit.formats.onnx.locate import Steps
from padaudit.formats.onnx.protos import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    ValueInfoProto,
)
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open, Shape, Unknown
from padaudit.ir.graph import CycleError, Graph
from padaudit.ir.op import Op
from padaudit.ir.tensor import TensorInfo

MAX_DEPTH: Final = 32
_FIX_GRAPH: Final = "export it again, or repair it with onnx.checker's help"


def read_graph(
    document: OnnxDocument,
    input_shapes: InputShapes,
    observed: Mapping[str, Shape] | None = None,
) -> Graph:
    """Build the graph of an ONNX model.

    Parameters
    ----------
    document : OnnxDocument
        The model.
    input_shapes : InputShapes
        Sizes that the user fixes.
    observed : Mapping, optional
        Shapes of tensors of the top-level graph that a run of the model showed.

    Raises
    ------
    InputError
        If a node reads a tensor that nothing makes, a tensor is made twice, or nodes
        form a cycle; the message names the node.
    LimitError
        If bodies and functions are nested deeper than `MAX_DEPTH`.
    """
    where = str(document.path or "the model")
    model = document.model
    refuse_endless_calls(where, model)
    weights = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in weights]
    declared = {value.name: shapes.tensor_info(value.type) for value in given}
    chosen = input_shapes.by_name(declared, where)
    inferred, failure = shapes.infer(shapes.override_inputs(model, chosen) if chosen else model)
    reader = _Reader(where, model, failure, observed or {})
    return reader.graph(model.graph, inferred.graph, (("graph",),), None)


class _Reader:
    """State of one read: only what is the same for every nested graph."""

    def __init__(
        self,
        where: str,
        model: ModelProto,
        failure: str | None,
        observed: Mapping[str, Shape],
    ) -> None:
        self.where = where
        self.model = model
        self.failure = failure
        self.observed = observed
        self.calls = 0
        self.functions = {
            key_of_function(function): (index, function)
            for index, function in enumerate(model.functions)
        }

    def graph(
        self, proto: GraphProto, typed: GraphProto, steps: Steps, parent: Graph | None
    ) -> Graph:
        """Read a graph or body; ``typed`` is the same graph after shape inference."""
        if len(steps) > MAX_DEPTH:
            raise LimitError(
                self.where, f"bodies are nested more than {MAX_DEPTH} deep", "flatten the model"
            )
        graph = Graph(proto.name, parent)
        graph.tensors.update(shapes.type_table(typed))
        if parent is None:
            graph.tensors.update(_observed(graph, self.observed))
        for sparse in proto.sparse_initializer:
            graph.tensors[sparse.values.name] = TensorInfo(tuple(sparse.dims), constant=True)
        graph.inputs = tuple(value.name for value in proto.input)
        graph.outputs = tuple(value.name for value in proto.output)
        self._fill(graph, proto, typed.node, steps)
        return graph

    def _fill(
        self, graph: Graph, container: Container, typed: Sequence[NodeProto], steps: Steps
    ) -> None:
        for index, (name, node) in enumerate(
            zip(unique_names(container.node), container.node, strict=True)
        ):
            op = Op(
                name,
                node.op_type,
                "" if node.domain == "ai.onnx" else node.domain,
                plain_attributes(node),
                tuple(node.input),
                tuple(node.output),
                index,
                NodeOrigin(steps, index, node),
            )
            try:
                graph.add(op)
            except ValueError as error:
                raise InputError(self.where, str(error), _FIX_GRAPH, name) from error
        self._check(graph)
        _mark_unresolved(graph, self.failure)
        typed_holders = {node.output[0]: node for node in typed if node.output and has_body(node)}
        for op in graph.ops():
            self._nest(graph, op, typed_holders.get(op.outputs[0] if op.outputs else ""), steps)

    def _check(self, graph: Graph) -> None:
        given = {name for name, info in graph.tensors.items() if info.constant} | set(graph.inputs)
        try:
            order = graph.ops()
        except CycleError as error:
            raise InputError(self.where, "its nodes form a cycle", _FIX_GRAPH) from error
        for op in order:
            for name in op.inputs:
                if name and name not in given and not graph.makes(name):
                    cause = f"it reads '{name}', which no node, input or weight provides"
                    raise InputError(self.where, cause, _FIX_GRAPH, op.name)

    def _nest(self, graph: Graph, op: Op, typed: NodeProto | None, steps: Steps) -> None:
        """Read what is nested in an operator; ``typed`` is its node after shape inference."""
        own = [label for label, _ in bodies(op.origin.node)]
        typed_bodies = dict(bodies(typed)) if typed is not None else {}
        if len(set(own)) < len(own) or "" in own:
            cause = "two of its bodies have one name, or one has none"
            raise InputError(self.where, cause, _FIX_GRAPH, op.name)
        for label, body in bodies(op.origin.node):
            inner = self.graph(
                body, typed_bodies.get(label, body), (*steps, ("body", op.position, label)), graph
            )
            graph.nest(op.name, label, inner)
        found = self.functions.get(key_of_call(op.origin.node))
        if found is not None:
            graph.nest(op.name, "", self._call(graph, op, *found))

    def _call(self, graph: Graph, op: Op, index: int, function: FunctionProto) -> Graph:
        """Read a function's body as it is at one call: with that call's types and attributes."""
        if self.calls >= MAX_DEPTH:
            raise LimitError(
                self.where,
                f"functions call each other more than {MAX_DEPTH} deep",
                _FIX_GRAPH,
                op.name,
            )
        body = _function_as_graph(function, op, graph)
        model = ModelProto(ir_version=self.model.ir_version, graph=body)
        model.opset_import.extend(function.opset_import)
        model.functions.extend(self.model.functions)
        typed, _ = shapes.infer(model)
        inner = Graph(function.name)
        inner.tensors.update(shapes.type_table(typed.graph))
        inner.inputs, inner.outputs = tuple(function.input), tuple(function.output)
        self.calls += 1
        self._fill(inner, body, typed.graph.node, (("function", index),))
        self.calls -= 1
        return inner


def _observed(graph: Graph, observed: Mapping[str, Shape]) -> Iterator[tuple[str, TensorInfo]]:
    for name, shape in observed.items():
        yield name, replace(graph.tensor(name), shape=shape)


def unique_names(nodes: Sequence[NodeProto]) -> Iterator[str]:
    """Yield a name for every node: its own, or op_type_index where it has none of its own.

    The index counts the nodes of one op_type, so that a node of another type that is
    inserted leaves the names as they are.
    """
    counts = Counter(node.name for node in nodes)
    taken = {name for name, count in counts.items() if count == 1}
    ordinals: Counter[str] = Counter()
    for node in nodes:
        ordinal = ordinals[node.op_type]
        ordinals[node.op_type] += 1
        if node.name and counts[node.name] == 1:
            yield node.name
            continue
        name = f"{node.op_type}_{ordinal}"
        while name in taken:
            name += "_"
        taken.add(name)
        yield name


def _function_as_graph(function: FunctionProto, op: Op, graph: Graph) -> GraphProto:
    body = GraphProto(name=function.name)
    given = {item.name: item for item in (*function.attribute_proto, *op.origin.node.attribute)}
    body.node.extend(_with_attributes(node, given) for node in function.node)
    for slot, name in enumerate(function.input):
        info = graph.tensor(op.inputs[slot]) if slot < len(op.inputs) else TensorInfo(None)
        body.input.append(shapes.typed_value(name, info))
    body.output.extend(ValueInfoProto(name=name) for name in function.output)
    return body


def _with_attributes(node: NodeProto, given: dict[str, AttributeProto]) -> NodeProto:
    """Return a node, and the bodies that it holds, with the attributes that a call gives."""
    if not any(attribute.ref_attr_name for attribute in node.attribute) and not has_body(node):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for attribute in node.attribute:
        source = given.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        if source is not None:
            added = copy.attribute.add()
            added.CopyFrom(source)
            added.name = attribute.name
            if added.type == AttributeProto.GRAPH:
                del added.g.node[:]
                added.g.node.extend(_with_attributes(inner, given) for inner in source.g.node)
    return copy


def _mark_unresolved(graph: Graph, failure: str | None) -> None:
    """Tell sizes that inference lost from sizes that the model leaves open.

    A size without a number is open if an input of the model, upstream of it, has a
    non-batch axis open; otherwise the node where sizes first went missing lost it.
    """
    open_behind: set[str] = set()
    culprit: dict[str, str] = {}
    for op in graph.ops():
        sources = [name for name in op.inputs if name]
        for name in sources:
            if graph.producer(name) is None and not _settled(info := graph.tensor(name)):
                _classify_given(name, info, open_behind, culprit)
        is_open = any(name in open_behind for name in sources)
        inherited = next((culprit[name] for name in sources if name in culprit), None)
        for name in op.outputs:
            info = graph.tensor(name)
            if not name or _settled(info):
                continue
            if is_open and inherited is None and info.shape is not None:
                open_behind.add(name)
                continue
            domain = f"{op.domain}." if op.domain else ""
            lost = f"shape inference stops at node '{op.name}' ({domain}{op.op_type})"
            culprit[name] = inherited or failure or lost
            graph.tensors[name] = _unknown(info, culprit[name])


def _classify_given(
    name: str, info: TensorInfo, open_behind: set[str], culprit: dict[str, str]
) -> None:
    """Sort an input or outer tensor: its size is open, unless something lost it before."""
    lost = info.cause or next(
        (dim.cause for dim in info.shape or () if isinstance(dim, Unknown)), None
    )
    if lost:
        culprit[name] = lost
    else:
        open_behind.add(name)


def _settled(info: TensorInfo) -> bool:
    return info.shape is not None and all(isinstance(dim, int) for dim in info.shape[1:])


def _unknown(info: TensorInfo, cause: str) -> TensorInfo:
    if info.shape is None:
        return replace(info, cause=cause)
    shape = (info.shape[0], *(Unknown(cause) if isinstance(d, Open) else d for d in info.shape[1:]))
    return replace(info, shape=shape)
