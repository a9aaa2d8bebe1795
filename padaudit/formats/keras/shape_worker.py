"""The process that asks Keras for shapes (see `padaudit.child`).

It loads a model without Keras's safe mode, so the model's own code may run, and calls every
layer on symbolic tensors of the wanted sizes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from padaudit.formats.keras.read import observed_name
from padaudit.verification.worker import write_record

REQUEST: Final = "request.json"
ANSWER: Final = "answer.json"
_LONGEST: Final = 240
Dims = list[int | None]


class Request(msgspec.Struct, frozen=True):
    """The model, and the shapes of inputs by name where they are not its own."""

    model: str
    input_shapes: dict[str, Dims]


class Answer(msgspec.Struct, frozen=True):
    """The shapes by tensor (see `observed_name`), or why there are none."""

    shapes: dict[str, Dims] = {}
    error: str | None = None


def main(folder: Path) -> None:
    """Answer the request of a folder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=Request)
    write_record(folder / ANSWER, _answer(request))


def _answer(request: Request) -> Answer:
    try:
        model, make = _load(request.model)
        inputs = [make(tensor, request) for tensor in model.inputs]
        return Answer(dict(_shapes(model, inputs, ())))
    except Exception as error:
        # The model's own code may raise anything.
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Answer(error=text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


def _load(path: str) -> tuple[Any, Any]:
    """Return the model, and what makes a symbolic input: by Keras 3, else by tf-keras."""
    import keras

    try:
        loaded = keras.models.load_model(path, compile=False, safe_mode=False)
    except Exception:
        try:
            import tf_keras
        except ImportError:
            tf_keras = None
        if tf_keras is None:
            raise
        model = tf_keras.models.load_model(path, compile=False, safe_mode=False)
        return model, lambda tensor, request: tf_keras.Input(
            batch_shape=_wanted(tensor, request), dtype=tensor.dtype
        )
    return loaded, lambda tensor, request: keras.KerasTensor(
        _wanted(tensor, request), dtype=tensor.dtype
    )


def _wanted(tensor: Any, request: Request) -> tuple[int | None, ...]:
    given = request.input_shapes
    name = str(tensor.name).split(":", maxsplit=1)[0]
    shape = given.get(name) or (given.get("") if len(given) == 1 else None)
    return tuple(tensor.shape) if shape is None else tuple(shape)


def _shapes(model: Any, inputs: list[Any], scope: tuple[str, ...]) -> Iterator[tuple[str, Dims]]:
    """Yield the shape of every output of every call, inner models included."""
    graph = getattr(model, "_functional", None) or model
    known: dict[Any, Any] = _Tensors()
    for declared, given in zip(graph.inputs, inputs, strict=True):
        known.update({id(declared): given, str(id(declared)): _Endless([given])})
    for node, call in _nodes(graph):
        layer = getattr(node, "operation", None) or node.layer
        outputs = _call(layer, node, known)
        for slot, (recorded, output) in enumerate(zip(_flat(node), outputs, strict=True)):
            known.update({id(recorded): output, str(id(recorded)): _Endless([output])})
            yield observed_name(scope, layer.name, call, slot), list(output.shape)
        if hasattr(layer, "_nodes_by_depth") or getattr(layer, "_functional", None):
            name = layer.name if call == 0 else f"{layer.name}#{call + 1}"
            yield from _shapes(layer, _given(node, known), (*scope, name))


class _Tensors(dict[Any, Any]):
    """Tensors by the id of the recorded one (Keras 3), and by its text (tf-keras)."""


class _Endless(list[Any]):
    """A list whose item can be taken any number of times."""

    def pop(self, *_: Any) -> Any:
        return self[0]


def _nodes(graph: Any) -> Iterator[tuple[Any, int]]:
    """Yield the calls of a model in order, each with its place among those of its layer."""
    by_depth = graph._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    inside = {id(node) for node in nodes}
    for node in nodes:
        if node.is_input:
            continue
        layer = getattr(node, "operation", None) or node.layer
        kept = [other for other in layer._inbound_nodes if id(other) in inside]
        yield node, next(i for i, other in enumerate(kept) if other is node)


def _call(layer: Any, node: Any, known: dict[Any, Any]) -> list[Any]:
    """Call a layer on symbolic tensors; what it recorded stands in where that fails."""
    import tensorflow

    try:
        if hasattr(node, "map_arguments"):
            args, kwargs = node.map_arguments(known)
        else:
            args, kwargs = node.arguments.fill_in(known)
        outputs = tensorflow.nest.flatten(layer(*args, **kwargs))
    except Exception:
        return _flat(node)
    return outputs if len(outputs) == len(_flat(node)) else _flat(node)


def _flat(node: Any) -> list[Any]:
    import tensorflow

    recorded = node.output_tensors if hasattr(node, "output_tensors") else node.outputs
    return list(tensorflow.nest.flatten(recorded))


def _given(node: Any, known: dict[Any, Any]) -> list[Any]:
    import tensorflow

    tensors = tensorflow.nest.flatten(
        node.input_tensors if hasattr(node, "input_tensors") else node.keras_inputs
    )
    return [known.get(id(tensor), tensor) for tensor in tensors]
