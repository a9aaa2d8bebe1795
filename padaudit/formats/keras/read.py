"""Keras config -> Graph, with the shape of every tensor propagated from the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from padaudit.errors import InputError, LimitError
from padaudit.formats.keras.calls import Call, ConfigError, TensorRef
from padaudit.formats.keras.config import (
    LayerSpec,
    ModelSpec,
    Path,
    call_offsets,
    parse_model,
    ref_node,
)
from padaudit.formats.keras.container import SAVE_AGAIN, KerasDocument, is_model
from padaudit.formats.keras.shapes import infer_shapes
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open, Shape, Unknown, known
from padaudit.ir.graph import CycleError, Graph
from padaudit.ir.op import Op
from padaudit.ir.tensor import TensorInfo

MAX_DEPTH: Final = 32
_DISTRIBUTED: Final = "TimeDistributed"
_CALLED: Final = frozenset({_DISTRIBUTED, "Bidirectional"})
_TRANSPARENT: Final = frozenset({"SpectralNormalization", "WeightNormalization"})
"""Wrappers that call their layer on what they are given, and return what it returns."""
WRAPPERS: Final = _CALLED | _TRANSPARENT


@dataclass(frozen=True, slots=True)
class LayerOrigin:
    """Where an operator stands in the document: the layer's record, and which of its calls."""

    path: Path
    call: int


def read_graph(document: KerasDocument, input_shapes: InputShapes) -> Graph:
    """Build the graph of a Keras model.

    Parameters
    ----------
    document : KerasDocument
        The model's definition.
    input_shapes : InputShapes
        Sizes that the user fixes.

    Raises
    ------
    InputError
        If the config is not a graph of layers; the message names the layer.
    LimitError
        If models are nested deeper than `MAX_DEPTH`.
    """
    where = document.path or "the model"
    try:
        spec = parse_model(document.config)
        return _Builder(str(where), input_shapes).build(spec)
    except ConfigError as error:
        cause = error.cause if error.advice else f"invalid Keras config: {error.cause}"
        raise InputError(where, cause, error.advice or SAVE_AGAIN, error.layer) from error


class _Builder:
    """State of one read: only what is the same for all nested models."""

    def __init__(self, where: str, input_shapes: InputShapes) -> None:
        self.where = where
        self.input_shapes = input_shapes

    def build(self, spec: ModelSpec) -> Graph:
        """Build the outermost model from its own input layers and the user's shapes."""
        layers = {layer.name: layer for layer in spec.layers}
        names = [ref.layer for ref in spec.inputs]
        declared = [_declared(layers.get(name), self.where) for name in names]
        chosen = self.input_shapes.by_name(dict(zip(names, declared, strict=True)), self.where)
        shapes = [chosen.get(name, info) for name, info in zip(names, declared, strict=True)]
        return self.model(spec, shapes, depth=0)

    def model(self, spec: ModelSpec, shapes: Sequence[TensorInfo], depth: int) -> Graph:
        """Build one model, given the shapes of its inputs."""
        if depth > MAX_DEPTH:
            cause = f"models are nested more than {MAX_DEPTH} deep"
            raise LimitError(self.where, cause, "check where it came from", spec.name)
        graph = Graph(spec.name)
        offsets = call_offsets(spec)
        graph.inputs = tuple(_tensor(ref, offsets) for ref in spec.inputs)
        graph.outputs = tuple(_tensor(ref, offsets) for ref in spec.outputs)
        graph.tensors.update(zip(graph.inputs, shapes, strict=False))
        self._add_ops(graph, spec, offsets)
        layers = {layer.name: layer for layer in spec.layers}
        for op in _in_order(graph):
            self._infer(graph, op, layers, depth)
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

    def _infer(self, graph: Graph, op: Op, layers: Mapping[str, LayerSpec], depth: int) -> None:
        origin = op.origin
        layer = layers[_layer_name(op)]
        inputs = [graph.tensor(name) for name in op.inputs]
        refs = layer.calls[origin.call].inputs
        if not self.input_shapes:
            inputs = [_prefer_recorded(*pair) for pair in zip(inputs, refs, strict=True)]
            if len(inputs) == 1 and len(layer.calls) == 1:
                inputs = [_prefer(inputs[0], layer.built_shape)]
            graph.tensors.update(zip(op.inputs, inputs, strict=True))
        results = self._outputs(graph, op, layer, inputs, depth)
        missing = TensorInfo(None, cause=f"{_describe(layer)} has fewer outputs than are used")
        for slot, name in enumerate(op.outputs):
            graph.tensors[name] = results[slot] if slot < len(results) else missing

    def _outputs(
        self, graph: Graph, op: Op, layer: LayerSpec, inputs: list[TensorInfo], depth: int
    ) -> list[TensorInfo]:
        if layer.model is not None:
            inner = self.model(parse_model(layer.model, layer.path), inputs, depth + 1)
            graph.nest(op.name, "", inner)
            return [inner.tensor(name) for name in inner.outputs]
        if layer.class_name in _CALLED:
            return self._wrapper(graph, op, layer, inputs, depth)
        if layer.inner:
            results = self._inner(graph, op, layer, inputs, depth)
            if results is not None:
                return results
        return _apply_rule(layer, layer.calls[op.origin.call], inputs, len(op.outputs))

    def _wrapper(
        self, graph: Graph, op: Op, layer: LayerSpec, inputs: list[TensorInfo], depth: int
    ) -> list[TensorInfo]:
        record = layer.config.get("layer")
        if not isinstance(record, Mapping):
            raise ConfigError("the wrapper holds no layer", layer.name)
        if layer.class_name != _DISTRIBUTED:
            return self._bidirectional(record, layer, inputs, len(op.outputs))
        wrapped = {"class_name": "Sequential", "config": {"name": layer.name, "layers": [record]}}
        spec = parse_model(wrapped)
        spec = _rebase(spec, (*layer.path, "config", "layer"))
        frames = [_drop_time(info) for info in inputs]
        inner = self.model(spec, frames, depth + 1)
        graph.nest(op.name, "", inner)
        return [_add_time(inner.tensor(name), inputs[0]) for name in inner.outputs]

    def _inner(
        self, graph: Graph, op: Op, layer: LayerSpec, inputs: list[TensorInfo], depth: int
    ) -> list[TensorInfo] | None:
        """Nest the layers in a layer's config; return its outputs where they are theirs."""
        hidden = TensorInfo(None, cause=f"{_describe(layer)} alone knows what it hands to them")
        passes = layer.class_name in _TRANSPARENT
        for path, record in layer.inner:
            if is_model(record):
                spec = parse_model(record, path)
                given = [_own_shape(spec, ref, hidden) for ref in spec.inputs]
            else:
                wrapped = {"config": {"name": layer.name, "layers": [record]}}
                spec, given = _rebase(parse_model(wrapped), path), inputs if passes else [hidden]
            label = "" if len(layer.inner) == 1 else ".".join(map(str, path[len(layer.path) + 1 :]))
            inner = self.model(spec, given, depth + 1)
            graph.nest(op.name, label, inner)
        return [inner.tensor(name) for name in inner.outputs] if passes else None

    def _bidirectional(
        self, record: Mapping[str, Any], layer: LayerSpec, inputs: list[TensorInfo], outputs: int
    ) -> list[TensorInfo]:
        spec = parse_model({"config": {"name": layer.name, "layers": [record]}}).layers[-1]
        results = _apply_rule(spec, Call(()), inputs, outputs)
        if layer.config.get("merge_mode", "concat") != "concat":
            return results
        return [_double_last(info) for info in results]


def _op(
    layer: LayerSpec,
    index: int,
    call: Call,
    position: int,
    offsets: Mapping[str, int],
    outputs: Mapping[tuple[str, int], int],
) -> Op:
    return Op(
        name=layer.name if index == 0 else f"{layer.name}#{index + 1}",
        op_type=layer.class_name,
        domain="keras",
        attributes=layer.config,
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
    for ref in (*used, *spec.outputs):
        key = ref_node(ref, offsets)
        counts[key] = max(counts.get(key, 1), ref.output + 1)
    return counts


def _in_order(graph: Graph) -> tuple[Op, ...]:
    try:
        return graph.ops()
    except CycleError as error:
        raise ConfigError("the layers form a cycle") from error


def _apply_rule(
    layer: LayerSpec, call: Call, inputs: list[TensorInfo], outputs: int
) -> list[TensorInfo]:
    blocked = next((info.cause for info in inputs if info.shape is None), None)
    if blocked or any(info.shape is None for info in inputs):
        return [TensorInfo(None, cause=blocked)] * outputs
    shapes = tuple(info.shape for info in inputs if info.shape is not None)
    try:
        results = infer_shapes(LayerCall(layer.class_name, layer.config, shapes, call.arguments))
    except ShapeUnknown as error:
        return [TensorInfo(None, cause=f"{_describe(layer)}: {error.cause}")] * outputs
    return [TensorInfo(shape) for shape in results]


def _describe(layer: LayerSpec) -> str:
    return f"layer '{layer.name}' ({layer.class_name})"


def _declared(layer: LayerSpec | None, where: str) -> TensorInfo:
    if layer is None:
        raise ConfigError(f"{where} names an input layer that does not exist")
    config = layer.config
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    if not shape and config.get("input_shape"):
        shape = [None, *config["input_shape"]]
    if not isinstance(shape, list | tuple):
        cause = f"the model declares no input shape for '{layer.name}' (give --input-shape)"
        return TensorInfo(None, cause=cause)
    return TensorInfo(_open_shape(tuple(shape)))


def _open_shape(shape: tuple[int | None, ...]) -> Shape:
    return tuple(Open() if size is None else int(size) for size in shape)


def _prefer_recorded(info: TensorInfo, ref: TensorRef) -> TensorInfo:
    return _prefer(info, ref.shape)


def _prefer(info: TensorInfo, recorded: tuple[int | None, ...] | None) -> TensorInfo:
    """What Keras recorded stands in where propagation was stopped."""
    if recorded is None:
        return info
    if info.shape is None:
        return TensorInfo(_open_shape(recorded))
    if known(info.shape[1:]) or len(recorded) != len(info.shape):
        return info
    merged = zip(info.shape, _open_shape(recorded), strict=True)
    return TensorInfo(tuple(new if isinstance(old, Unknown) else old for old, new in merged))


def _drop_time(info: TensorInfo) -> TensorInfo:
    if info.shape is None or len(info.shape) < 3:
        return TensorInfo(None, cause=info.cause or "TimeDistributed needs a time axis")
    return TensorInfo((info.shape[0], *info.shape[2:]))


def _add_time(info: TensorInfo, outer: TensorInfo) -> TensorInfo:
    if info.shape is None or outer.shape is None:
        return info
    return TensorInfo((info.shape[0], outer.shape[1], *info.shape[1:]))


def _double_last(info: TensorInfo) -> TensorInfo:
    if not info.shape or not isinstance(info.shape[-1], int):
        return info
    return TensorInfo((*info.shape[:-1], info.shape[-1] * 2))


def _own_shape(spec: ModelSpec, ref: TensorRef, hidden: TensorInfo) -> TensorInfo:
    """Return the shape that a model declares for an input, where nobody hands it one."""
    layer = next((item for item in spec.layers if item.name == ref.layer), None)
    declared = _declared(layer, spec.name)
    return hidden if declared.shape is None else declared


def _rebase(spec: ModelSpec, path: Path) -> ModelSpec:
    layers = tuple(
        layer if layer.class_name == "InputLayer" else replace(layer, path=path)
        for layer in spec.layers
    )
    return replace(spec, layers=layers)
