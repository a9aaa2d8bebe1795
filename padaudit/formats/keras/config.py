"""A Keras model config as typed records, whatever version of Keras wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from padaudit.formats.keras import dialect

MAX_INDEX: Final = 4096
"""How many calls and outputs of one layer a config may speak of."""

Path = tuple[str | int, ...]
"""Where a record stands in the config: the keys and indices that lead to it."""


class ConfigError(Exception):
    """The config is not what Keras writes; ``layer`` names where."""

    def __init__(self, cause: str, layer: str | None = None) -> None:
        super().__init__(cause)
        self.cause, self.layer = cause, layer


Node = tuple[str, int]
"""One call of a layer: its name and the call's index."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One use of a layer's output: (layer name, call index, output index).

    ``shape`` is what Keras 3 recorded for it (None where the file holds none).
    """

    layer: str
    call: int
    output: int
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer: its tensor arguments and the rest."""

    inputs: tuple[TensorRef, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer of a model.

    Parameters
    ----------
    name, class_name : str
        Its name, and its class in today's spelling without the package.
    config : Mapping
        Its settings with Keras 2 keys.
    path : Path
        Where its record stands in the model config.
    calls : tuple of Call
        Empty for an input layer.
    built_shape : tuple or None
        The input shape that Keras 3 recorded when it built the layer.
    model : Mapping or None
        The layer's record where the layer is itself a model.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    path: Path
    calls: tuple[Call, ...]
    built_shape: tuple[int | None, ...] | None = None
    model: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: its layers in the order of the file, its inputs and outputs."""

    name: str
    sequential: bool
    layers: tuple[LayerSpec, ...]
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]
    path: Path


def parse_model(record: Mapping[str, Any], path: Path = ()) -> ModelSpec:
    """Read the record of a model (``{"class_name", "config"}``).

    Parameters
    ----------
    record : Mapping
        The model's record: the whole ``model_config``, or a layer that is a model.
    path : Path
        Where the record stands.

    Raises
    ------
    ConfigError
        If the record is not a Sequential or functional model of Keras 1, 2 or 3.
    """
    config = record.get("config")
    layers_path: Path = (*path, "config", "layers")
    if isinstance(config, list):
        config, layers_path = {"layers": config}, (*path, "config")
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), list):
        raise ConfigError(f"{record.get('class_name', 'the model')} has no list of layers")
    records = [_mapping(item, "a layer") for item in config["layers"]]
    name = str(config.get("name") or record.get("name") or "model")
    if "output_layers" in config and "input_layers" in config:
        return _functional(name, config, records, layers_path, path)
    return _sequential(name, config, records, layers_path, path)


def ref_node(ref: TensorRef, offsets: Mapping[str, int]) -> Node:
    """Return the call that a reference means."""
    return ref.layer, ref.call - offsets.get(ref.layer, 0)


def call_offsets(spec: ModelSpec) -> dict[str, int]:
    """Return 1 for inner models that are counted from 1 (call 0 is their own graph)."""
    calls = {layer.name: len(layer.calls) for layer in spec.layers if layer.model}
    used = (ref for layer in spec.layers for call in layer.calls for ref in call.inputs)
    return {ref.layer: 1 for ref in (*used, *spec.outputs) if ref.call == calls.get(ref.layer)}


def _functional(
    name: str, config: Mapping[str, Any], records: list[Mapping[str, Any]], at: Path, path: Path
) -> ModelSpec:
    layers = tuple(_layer(record, (*at, index)) for index, record in enumerate(records))
    _refuse_duplicates(layers)
    return ModelSpec(
        name,
        False,
        layers,
        tuple(_refs(config["input_layers"])),
        tuple(_refs(config["output_layers"])),
        path,
    )


def _sequential(
    name: str, config: Mapping[str, Any], records: list[Mapping[str, Any]], at: Path, path: Path
) -> ModelSpec:
    parsed = [_layer(record, (*at, index), index) for index, record in enumerate(records)]
    if not parsed:
        raise ConfigError("the model has no layers")
    layers: list[LayerSpec] = []
    if parsed[0].class_name != "InputLayer":
        layers.append(_implied_input(parsed[0], config))
    for spec in parsed:
        previous = (TensorRef(layers[-1].name, 0, 0),) if layers else ()
        calls = () if spec.class_name == "InputLayer" else (Call(previous),)
        layers.append(replace(spec, calls=calls))
    _refuse_duplicates(tuple(layers))
    first, last = (TensorRef(layer.name, 0, 0) for layer in (layers[0], layers[-1]))
    return ModelSpec(name, True, tuple(layers), (first,), (last,), path)


def _implied_input(first: LayerSpec, config: Mapping[str, Any]) -> LayerSpec:
    shape = config.get("build_input_shape") or _declared_input(first)
    return LayerSpec(f"{first.name}_input", "InputLayer", {"batch_shape": shape}, (), ())


def _declared_input(layer: LayerSpec) -> Any:
    config: Mapping[str, Any] = layer.config
    while True:
        for key in ("batch_input_shape", "batch_shape"):
            if config.get(key):
                return config[key]
        if config.get("input_shape"):
            return [None, *config["input_shape"]]
        inner = config.get("layers") or [config.get("layer")]
        inner = inner[0] if isinstance(inner, list) and inner else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("config"), Mapping):
            return layer.built_shape
        config = inner["config"]


def _layer(record: Mapping[str, Any], path: Path, index: int = 0) -> LayerSpec:
    raw_class = record.get("class_name")
    config = record.get("config")
    model = record if isinstance(config, list) or "layers" in (config or {}) else None
    if isinstance(config, list):
        config = {"layers": config}
    if not isinstance(raw_class, str) or not isinstance(config, Mapping):
        raise ConfigError("a layer has no class_name or no config", str(record.get("name", "?")))
    short = dialect.class_name(raw_class)
    name = str(record.get("name") or config.get("name") or f"{short.lower()}_{index + 1}")
    calls = tuple(_call(node, name) for node in _nodes(record, name))
    settings = dialect.modern_config(short, config)
    return LayerSpec(name, short, settings, path, calls, _built_shape(record), model)


def _nodes(record: Mapping[str, Any], name: str) -> list[Any]:
    nodes = record.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise ConfigError("inbound_nodes is not a list", name)
    return nodes


def _built_shape(record: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    build = record.get("build_config")
    return _plain_shape(build.get("input_shape")) if isinstance(build, Mapping) else None


def _plain_shape(value: Any) -> tuple[int | None, ...] | None:
    if isinstance(value, list) and all(item is None or isinstance(item, int) for item in value):
        return tuple(value)
    return None


def _call(node: Any, layer: str) -> Call:
    if isinstance(node, Mapping):
        arguments = {str(i): arg for i, arg in enumerate(node.get("args") or [])}
        # Keras walks keyword arguments by name, and orders layers by that walk.
        arguments |= dict(sorted((node.get("kwargs") or {}).items()))
        given = tuple(ref for value in arguments.values() for ref in _keras3_refs(value))
        others = {key: arg for key, arg in arguments.items() if not any(_keras3_refs(arg))}
        return Call(given, others)
    if not isinstance(node, list):
        raise ConfigError("a call of the layer is neither a list nor an object", layer)
    return _listed_call(node, layer)


def _listed_call(node: list[Any], layer: str) -> Call:
    """Read a call of Keras 1 or 2: a list of [layer, call, output, keyword arguments]."""
    refs: list[TensorRef] = []
    plain: dict[str, Any] = {}
    for item in [node] if _is_ref(node) else node:
        if not isinstance(item, list) or len(item) < 3:
            raise ConfigError("a call of the layer names no tensor", layer)
        if item[0] != "_CONSTANT_VALUE":
            refs.append(_ref(item))
        for key, value in (item[3] if len(item) > 3 and isinstance(item[3], dict) else {}).items():
            nested = list(_keyword_refs(value))
            refs.extend(nested)
            if not nested:
                plain[key] = value
    return Call(tuple(refs), plain)


def _keras3_refs(value: Any) -> Iterator[TensorRef]:
    if isinstance(value, list):
        for item in value:
            yield from _keras3_refs(item)
    elif isinstance(value, Mapping):
        if value.get("class_name") != "__keras_tensor__":
            for item in value.values():
                yield from _keras3_refs(item)
            return
        inner = _mapping(value.get("config"), "a tensor")
        history = inner.get("keras_history")
        if not isinstance(history, list) or not _is_ref(history):
            raise ConfigError("a tensor has no keras_history")
        yield replace(_ref(history), shape=_plain_shape(inner.get("shape")))


def _keyword_refs(value: Any) -> Iterator[TensorRef]:
    if _is_ref(value):
        yield _ref(value)
    elif isinstance(value, list):
        for item in value:
            yield from _keyword_refs(item)


def _is_ref(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and isinstance(value[2], int)
    )


def _ref(value: list[Any]) -> TensorRef:
    if not (0 <= value[1] <= MAX_INDEX and 0 <= value[2] <= MAX_INDEX):
        raise ConfigError(f"call {value[1]}, output {value[2]} of it makes no sense", value[0])
    return TensorRef(str(value[0]), int(value[1]), int(value[2]))


def _refs(value: Any) -> Iterator[TensorRef]:
    if _is_ref(value):
        yield _ref(value)
    elif isinstance(value, list | dict):
        # Keras flattens named inputs and outputs by their names.
        ordered = (value[key] for key in sorted(value)) if isinstance(value, dict) else value
        for item in ordered:
            yield from _refs(item)


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} is not an object")
    return value


def _refuse_duplicates(layers: tuple[LayerSpec, ...]) -> None:
    seen: set[str] = set()
    for layer in layers:
        if layer.name in seen:
            raise ConfigError("two layers have this name", layer.name)
        seen.add(layer.name)
