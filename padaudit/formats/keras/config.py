"""A Keras model config as typed records, whatever version of Keras wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any, Final

from padaudit.formats.keras import dialect
from padaudit.formats.keras.calls import (
    Call,
    ConfigError,
    Node,
    TensorRef,
    parse_call,
    plain_shape,
    refs_in,
)
from padaudit.formats.keras.container import is_model

_OWN_CLASS: Final = "audit an ONNX export of it, or save it as keras.Model(inputs, outputs)"

Path = tuple[str | int, ...]
"""Where a record stands in the config: the keys and indices that lead to it."""


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
    inner : tuple
        The records of other layers in its config, and where they stand.
    module : str or None
        The module of its class, where Keras 3 wrote it.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    path: Path
    calls: tuple[Call, ...]
    built_shape: tuple[int | None, ...] | None = None
    model: Mapping[str, Any] | None = field(default=None, repr=False)
    inner: tuple[tuple[Path, Mapping[str, Any]], ...] = field(default=(), repr=False)
    module: str | None = None


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
    if not isinstance(config, Mapping):
        raise ConfigError(f"{record.get('class_name', 'the model')} has no list of layers")
    if not isinstance(config.get("layers"), list):
        return _composed(record, config, path)
    records = [_mapping(item, "a layer") for item in config["layers"]]
    name = str(config.get("name") or record.get("name") or "model")
    if "output_layers" in config and "input_layers" in config:
        return _functional(name, config, records, layers_path, path)
    return _sequential(name, config, records, layers_path, path)


def ref_node(ref: TensorRef, offsets: Mapping[str, int]) -> Node:
    """Return the call that a reference means."""
    return ref.layer, ref.call - offsets.get(ref.layer, 0)


def call_offsets(spec: ModelSpec) -> dict[str, int]:
    """Return 1 for inner models that layers count from 1 (call 0 is their own graph)."""
    from_zero = {ref.layer for ref in _used(spec) if ref.call == 0}
    return dict.fromkeys(_last_reached(spec) - from_zero, 1)


def output_offsets(spec: ModelSpec) -> dict[str, int]:
    """Return 1 for inner models that the outputs of a model count from 1.

    Keras 3 does so for functional ones, whose calls its layers count from 0
    (``get_config`` and ``get_tensor`` of ``keras.src.models.functional``).
    """
    functional = {x.name for x in spec.layers if x.model and x.class_name != "Sequential"}
    from_zero = {ref.layer for ref in spec.outputs if ref.call == 0}
    return dict.fromkeys((_last_reached(spec) | functional) - from_zero, 1)


def _used(spec: ModelSpec) -> list[TensorRef]:
    return [ref for layer in spec.layers for call in layer.calls for ref in call.inputs]


def _last_reached(spec: ModelSpec) -> set[str]:
    """Return the inner models of which a call is meant that is not there if 0 is the first."""
    calls = {layer.name: len(layer.calls) for layer in spec.layers if layer.model}
    refs = (*_used(spec), *spec.outputs)
    return {ref.layer for ref in refs if ref.call == calls.get(ref.layer)}


def _functional(
    name: str, config: Mapping[str, Any], records: list[Mapping[str, Any]], at: Path, path: Path
) -> ModelSpec:
    layers = tuple(_layer(record, (*at, index)) for index, record in enumerate(records))
    _refuse_duplicates(layers)
    return ModelSpec(
        name,
        False,
        layers,
        tuple(refs_in(config["input_layers"])),
        tuple(refs_in(config["output_layers"])),
        path,
    )


def _composed(record: Mapping[str, Any], config: Mapping[str, Any], path: Path) -> ModelSpec:
    """Return a model of a class of its own as one layer that holds what its config names."""
    layer = _layer({**record, "inbound_nodes": []}, path)
    if not layer.inner:
        cause = (
            f"{layer.class_name} is a model class of its own: "
            "the file tells its settings, but not its layers"
        )
        raise ConfigError(cause, advice=_OWN_CLASS)
    source = TensorRef(f"{layer.name}_input", 0, 0)
    given = LayerSpec(source.layer, "InputLayer", {}, (), ())
    called = replace(layer, calls=(Call((source,)),))
    result = TensorRef(layer.name, 0, 0)
    return ModelSpec(layer.name, False, (given, called), (source,), (result,), path)


def inner_records(config: Any, path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the records of layers and models anywhere in a config, and where they stand.

    What has a class and a name is a layer; initializers and the like have none.
    """
    items: Any = ()
    if isinstance(config, Mapping):
        inner = config.get("config")
        named = isinstance(inner, Mapping) and isinstance(inner.get("name"), str)
        if isinstance(config.get("class_name"), str) and (named or is_model(config)):
            yield path, config
            return
        items = config.items()
    elif isinstance(config, list):
        items = enumerate(config)
    for key, value in items:
        yield from inner_records(value, (*path, key))


def _sequential(
    name: str, config: Mapping[str, Any], records: list[Mapping[str, Any]], at: Path, path: Path
) -> ModelSpec:
    parsed = [_layer(record, (*at, index), index) for index, record in enumerate(records)]
    if not parsed:
        raise ConfigError("the model has no layers")
    parsed = _renamed(parsed)
    layers: list[LayerSpec] = []
    if parsed[0].class_name != "InputLayer":
        layers.append(_implied_input(parsed[0], config))
    for spec in parsed:
        previous = (TensorRef(layers[-1].name, 0, 0),) if layers else ()
        calls = () if spec.class_name == "InputLayer" else (Call(previous),)
        layers.append(replace(spec, calls=calls))
    first, last = (TensorRef(layer.name, 0, 0) for layer in (layers[0], layers[-1]))
    return ModelSpec(name, True, tuple(layers), (first,), (last,), path)


def _renamed(layers: list[LayerSpec]) -> list[LayerSpec]:
    """Give layers of one name, which a Sequential of Keras 1 may have, names of their own."""
    seen: set[str] = set()
    renamed = []
    for layer in layers:
        names = chain([layer.name], (f"{layer.name}#{number}" for number in count(2)))
        name = next(name for name in names if name not in seen)
        seen.add(name)
        renamed.append(replace(layer, name=name))
    return renamed


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
    model = record if is_model(record) else None
    if isinstance(config, list):
        config = {"layers": config}
    if not isinstance(raw_class, str) or not isinstance(config, Mapping):
        raise ConfigError("a layer has no class_name or no config", str(record.get("name", "?")))
    short = dialect.class_name(raw_class)
    name = str(record.get("name") or config.get("name") or f"{short.lower()}_{index + 1}")
    calls = tuple(parse_call(node, name) for node in _nodes(record, name))
    module = str(record.get("module") or "")
    # The words of an operation are not those of a layer: its ``stride`` is no old ``strides``.
    operation = module.startswith("keras.src.ops")
    settings = config if operation else dialect.modern_config(short, config)
    built = _built_shape(record)
    if model is not None:
        return LayerSpec(name, short, settings, path, calls, built, model)
    inner = tuple(inner_records(config, (*path, "config")))
    return LayerSpec(name, short, settings, path, calls, built, inner=inner, module=module)


def _nodes(record: Mapping[str, Any], name: str) -> list[Any]:
    nodes = record.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise ConfigError("inbound_nodes is not a list", name)
    return nodes


def _built_shape(record: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    build = record.get("build_config")
    return plain_shape(build.get("input_shape")) if isinstance(build, Mapping) else None


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
