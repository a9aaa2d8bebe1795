"""Keras config -> Graph, with the shape of every tensor propagated from the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from padaudit.errors import InputError, LimitError, UsageError
from padaudit.formats.keras.calls import Call, ConfigError, TensorRef
from padaudit.formats.keras.config import (
    LayerSpec,
    ModelSpec,
    Path,
    call_offsets,
    output_offsets,
    parse_model,
    ref_node,
)
from padaudit.formats.keras.container import SAVE_AGAIN, KerasDocument, is_model
from padaudit.formats.keras.operators import domain_of, layer_call, operator
from padaudit.formats.keras.shapes import infer_shapes
from padaudit.formats.keras.shapes.arrays import reshaped
from padaudit.formats.keras.shapes.rule import (
    FUNCTIONS,
    LAYERS,
    LayerCall,
    ShapeUnknown,
    Tensor,
    Value,
)
from padaudit.formats.keras.shapes.wrappers import WRAPPERS, both_directions
from padaudit.formats.keras.stated import (
    add_time,
    agree,
    declared,
    over_time,
    own_shape,
    prefer,
    recorded,
    shown,
)
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open, Shape
from padaudit.ir.graph import CycleError, Graph
from padaudit.ir.op import Op
from padaudit.ir.tensor import TensorInfo
from padaudit.ir.walk import walk

MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class LayerOrigin:
    """Where an operator stands in the document: the layer's record, and which of its calls."""

    path: Path
    call: int


def read_graph(
    document: KerasDocument,
    input_shapes: InputShapes,
    observed: Mapping[str, Shape] | None = None,
) -> Graph:
    """Build the graph of a Keras model.

    Parameters
    ----------
    document : KerasDocument
        The model's definition.
    input_shapes : InputShapes
        Sizes that the user fixes, and what is to be assumed of layers.
    observed : Mapping, optional
        Shapes that Keras itself states, by tensor (see `observed_name`).

    Raises
    ------
    InputError
        If the config is not a graph of layers; the message names the layer.
    LimitError
        If models are nested deeper than `MAX_DEPTH`.
    UsageError
        If an assumption contradicts what is known.
    """
    where = document.path or "the model"
    try:
        spec = parse_model(document.config)
        graph = _Builder(str(where), input_shapes, observed or {}).build(spec)
    except ConfigError as error:
        cause = error.cause if error.advice else f"invalid Keras config: {error.cause}"
        raise InputError(where, cause, error.advice or SAVE_AGAIN, error.layer) from error
    for visit in walk(graph):
        visit.graph.producer_version = document.keras_version
    return graph


def observed_name(scope: Sequence[str], layer: str, call: int, output: int) -> str:
    """Return the name of a tensor in the whole model.

    >>> observed_name(("backbone",), "conv", 0, 0)
    'backbone/conv:0:0'
    """
    return "/".join((*scope, f"{layer}:{call}:{output}"))


@dataclass(frozen=True, slots=True)
class _Scope:
    """One model while it is built: its graph, layers, and the sizes that its tensors hold."""

    graph: Graph
    layers: Mapping[str, LayerSpec]
    offsets: Mapping[str, int]
    path: tuple[str, ...]
    values: dict[str, Value] = field(default_factory=dict)

    def tensor(self, ref: TensorRef) -> Tensor:
        """Return what is known of a tensor argument."""
        name = _tensor(ref, self.offsets)
        shape = self.graph.tensor(name).shape
        if shape is None:
            raise ShapeUnknown("the shape of its input is not known")
        return Tensor(shape, self.values.get(name))


class _Builder:
    """State of one read: only what is the same for all nested models."""

    def __init__(
        self, where: str, input_shapes: InputShapes, observed: Mapping[str, Shape]
    ) -> None:
        self.where = where
        self.input_shapes = input_shapes
        self.observed = observed
        self.assumed: set[str] = set()

    def build(self, spec: ModelSpec) -> Graph:
        """Build the outermost model from its own input layers and the user's shapes."""
        layers = {layer.name: layer for layer in spec.layers}
        names = [ref.layer for ref in spec.inputs]
        infos = [declared(layers.get(name), self.where) for name in names]
        chosen = self.input_shapes.by_name(dict(zip(names, infos, strict=True)), self.where)
        shapes = [chosen.get(name, info) for name, info in zip(names, infos, strict=True)]
        graph = self.model(spec, shapes, ())
        graph.assumed = frozenset(self.assumed)
        return graph

    def model(self, spec: ModelSpec, shapes: Sequence[TensorInfo], path: tuple[str, ...]) -> Graph:
        """Build one model, given the shapes of its inputs and the layers that enclose it."""
        if len(path) > MAX_DEPTH:
            cause = f"models are nested more than {MAX_DEPTH} deep"
            raise LimitError(self.where, cause, "check where it came from", spec.name)
        graph = Graph(spec.name)
        offsets = call_offsets(spec)
        graph.inputs = tuple(_tensor(ref, offsets) for ref in spec.inputs)
        graph.outputs = tuple(_tensor(ref, output_offsets(spec)) for ref in spec.outputs)
        graph.tensors.update(zip(graph.inputs, shapes, strict=False))
        self._add_ops(graph, spec, offsets)
        layers = {layer.name: layer for layer in spec.layers}
        scope = _Scope(graph, layers, offsets, path)
        for op in _in_order(graph):
            self._infer(scope, op)
        return graph

    def _add_ops(self, graph: Graph, spec: ModelSpec, offsets: Mapping[str, int]) -> None:
        outputs = _output_counts(spec, offsets)
        names = {layer.name for layer in spec.layers}
        for ref in (*spec.inputs, *spec.outputs):
            if ref.layer not in names:
                raise ConfigError(f"its input or output layer '{ref.layer}' does not exist")
        for position, layer in enumerate(spec.layers):
            for index, call in enumerate(layer.calls):
                for ref in call.inputs:
                    if ref.layer not in names:
                        raise ConfigError(
                            f"its input layer '{ref.layer}' does not exist", layer.name
                        )
                graph.add(_op(layer, index, call, position, offsets, outputs))

    def _infer(self, scope: _Scope, op: Op) -> None:
        graph, layer = scope.graph, scope.layers[_layer_name(op)]
        call = layer.calls[op.origin.call]
        inputs = [graph.tensor(name) for name in op.inputs]
        if not self.input_shapes:
            inputs = [prefer(*pair) for pair in zip(inputs, recorded(layer, call), strict=True)]
            graph.tensors.update(zip(op.inputs, inputs, strict=True))
        results = self._outputs(scope, op, layer, inputs)
        missing = TensorInfo(None, cause=f"{_describe(layer)} has fewer outputs than are used")
        for slot, name in enumerate(op.outputs):
            found = results[slot] if slot < len(results) else missing
            found = self._assumed(scope, layer, inputs, found)
            seen = self.observed.get(observed_name(scope.path, layer.name, op.origin.call, slot))
            graph.tensors[name] = found if seen is None else prefer(found, seen)

    def _outputs(
        self, scope: _Scope, op: Op, layer: LayerSpec, inputs: list[TensorInfo]
    ) -> list[TensorInfo]:
        if layer.model is not None:
            inner = self.model(parse_model(layer.model, layer.path), inputs, (*scope.path, op.name))
            scope.graph.nest(op.name, "", inner)
            return [inner.tensor(name) for name in inner.outputs]
        if layer.class_name in WRAPPERS and op.domain == LAYERS:
            if not isinstance(layer.config.get("layer"), Mapping):
                raise ConfigError("the wrapper holds no layer", layer.name)
            return self._wrapper(scope, op, layer, inputs)
        self._hold(scope, op, layer)
        return self._by_rule(scope, op, layer, inputs)

    def _by_rule(
        self, scope: _Scope, op: Op, layer: LayerSpec, inputs: list[TensorInfo]
    ) -> list[TensorInfo]:
        outputs = len(op.outputs)
        try:
            blocked = next((info for info in inputs if info.shape is None), None)
            if blocked is not None:
                return [self._blocked(layer, blocked)] * outputs
            domain = domain_of(layer)
            call = layer_call(layer, layer.calls[op.origin.call], scope.tensor, domain)
            results = infer_shapes(call)
            if domain == FUNCTIONS and (value := _value(call)) is not None:
                scope.values[op.outputs[0]] = value
        except ShapeUnknown as error:
            return [TensorInfo(None, cause=f"{_describe(layer)}: {error.cause}")] * outputs
        return [TensorInfo(shape) for shape in results]

    @staticmethod
    def _blocked(layer: LayerSpec, info: TensorInfo) -> TensorInfo:
        """Return an output whose input is not known: Reshape still says what it makes."""
        target = layer.config.get("target_shape")
        if layer.class_name != "Reshape" or not isinstance(target, list) or -1 in target:
            return TensorInfo(None, cause=info.cause)
        return TensorInfo((Open(), *reshaped((), target)))

    def _assumed(
        self, scope: _Scope, layer: LayerSpec, inputs: list[TensorInfo], found: TensorInfo
    ) -> TensorInfo:
        assumed = self.input_shapes.assumed
        key = assumed.of("/".join((*scope.path, layer.name)), layer.name, layer.class_name)
        if key is None:
            return found
        self.assumed.add(key)
        shape = assumed.shape(key, inputs[0].shape if inputs else None)
        if shape is None:
            return found
        if found.shape is not None and not agree(found.shape, shape):
            raise UsageError(
                f"{self.where}: --assume {key}: {shown(shape)} contradicts the "
                f"{shown(found.shape)} that follow from {_describe(layer)}"
            )
        return TensorInfo(shape) if found.shape is None else prefer(found, shape)

    def _wrapper(
        self, scope: _Scope, op: Op, layer: LayerSpec, inputs: list[TensorInfo]
    ) -> list[TensorInfo]:
        """Nest the layer that a wrapper holds, and return what the wrapper makes of it."""
        if layer.class_name == "TimeDistributed":
            inner = self._inner(scope, op, layer, [over_time(info) for info in inputs])
            return [add_time(inner.tensor(name), inputs[0]) for name in inner.outputs]
        if layer.class_name == "Bidirectional":
            return self._bidirectional(scope, op, layer, inputs)
        inner = self._inner(scope, op, layer, inputs)
        return [inner.tensor(name) for name in inner.outputs]

    def _hold(self, scope: _Scope, op: Op, layer: LayerSpec) -> None:
        """Nest the layers in the config of a layer whose own code hands them their inputs."""
        hidden = TensorInfo(None, cause=f"{_describe(layer)} alone knows what it hands to them")
        for path, record in layer.inner:
            if is_model(record):
                spec = parse_model(record, path)
                given = [own_shape(spec, ref, hidden) for ref in spec.inputs]
            else:
                wrapped = {"config": {"name": layer.name, "layers": [record]}}
                spec, given = _rebase(parse_model(wrapped), path), [hidden]
            label = "" if len(layer.inner) == 1 else ".".join(map(str, path[len(layer.path) + 1 :]))
            within = (*scope.path, op.name, label) if label else (*scope.path, op.name)
            scope.graph.nest(op.name, label, self.model(spec, given, within))

    def _bidirectional(
        self, scope: _Scope, op: Op, layer: LayerSpec, inputs: list[TensorInfo]
    ) -> list[TensorInfo]:
        inner = self._inner(scope, op, layer, inputs[:1])
        if isinstance(layer.config.get("backward_layer"), Mapping):
            self._inner(scope, op, layer, inputs[:1], "backward_layer")
        forward = inner.tensor(inner.outputs[0])
        if forward.shape is None:
            return [forward] * len(op.outputs)
        settings = layer.config["layer"].get("config") or {}
        shapes = self._directions(layer, settings, inputs[0], forward.shape)
        if isinstance(shapes, str):
            return [TensorInfo(None, cause=f"{_describe(layer)}: {shapes}")] * len(op.outputs)
        return [TensorInfo(shape) for shape in shapes]

    @staticmethod
    def _directions(
        layer: LayerSpec, settings: Mapping[str, Any], data: TensorInfo, forward: Shape
    ) -> tuple[Shape, ...] | str:
        record = layer.config["layer"]
        spec = parse_model({"config": {"name": layer.name, "layers": [record]}}).layers[-1]
        returns_state = bool(settings.get("return_state"))
        mode = layer.config.get("merge_mode", "concat")
        try:
            results = infer_shapes(LayerCall(spec.class_name, spec.config, (data.shape or (),)))
            return both_directions((forward, *results[1:]), mode, returns_state)
        except ShapeUnknown as error:
            return error.cause

    def _inner(
        self,
        scope: _Scope,
        op: Op,
        layer: LayerSpec,
        inputs: Sequence[TensorInfo],
        key: str = "layer",
    ) -> Graph:
        """Nest the layer under a key of a wrapper's config, as a model of its own."""
        record = layer.config[key]
        wrapped = {"class_name": "Sequential", "config": {"name": layer.name, "layers": [record]}}
        spec = _rebase(parse_model(wrapped), (*layer.path, "config", key))
        inner = self.model(spec, inputs, (*scope.path, op.name))
        scope.graph.nest(op.name, "" if key == "layer" else "backward", inner)
        return inner


def _op(
    layer: LayerSpec,
    index: int,
    call: Call,
    position: int,
    offsets: Mapping[str, int],
    outputs: Mapping[tuple[str, int], int],
) -> Op:
    op_type, domain, attributes = operator(layer, call)
    return Op(
        name=layer.name if index == 0 else f"{layer.name}#{index + 1}",
        op_type=op_type,
        domain=domain,
        attributes=attributes,
        inputs=tuple(_tensor(ref, offsets) for ref in call.inputs),
        outputs=tuple(
            f"{layer.name}:{index}:{slot}" for slot in range(outputs.get((layer.name, index), 1))
        ),
        position=position,
        origin=LayerOrigin(layer.path, index),
    )


def _layer_name(op: Op) -> str:
    return op.outputs[0].rsplit(":", 2)[0]


def _tensor(ref: TensorRef, offsets: Mapping[str, int]) -> str:
    layer, call = ref_node(ref, offsets)
    return f"{layer}:{call}:{ref.output}"


def _output_counts(spec: ModelSpec, offsets: Mapping[str, int]) -> dict[tuple[str, int], int]:
    counts: dict[tuple[str, int], int] = {}
    used = (ref for layer in spec.layers for call in layer.calls for ref in call.inputs)
    keys = [(ref_node(ref, offsets), ref.output) for ref in used]
    outside = output_offsets(spec)
    keys += [(ref_node(ref, outside), ref.output) for ref in spec.outputs]
    for key, output in keys:
        counts[key] = max(counts.get(key, 1), output + 1)
    return counts


def _in_order(graph: Graph) -> tuple[Op, ...]:
    try:
        return graph.ops()
    except CycleError as error:
        raise ConfigError("the layers form a cycle") from error


def _value(call: LayerCall) -> Value | None:
    """Return the sizes that a function of TensorFlow computes, where it does."""
    from padaudit.formats.keras.shapes.values import computed

    try:
        return computed(call)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ShapeUnknown(f"its arguments are not what Keras writes ({error})") from error


def _describe(layer: LayerSpec) -> str:
    return f"layer '{layer.name}' ({layer.class_name})"


def _rebase(spec: ModelSpec, path: Path) -> ModelSpec:
    layers = tuple(
        layer if layer.class_name == "InputLayer" else replace(layer, path=path)
        for layer in spec.layers
    )
    return replace(spec, layers=layers)
