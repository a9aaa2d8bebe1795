"""Inserting layers into a Keras config: the one place that rewires calls."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from padaudit.formats.keras.config import Path
from padaudit.formats.keras.records import compute_dtype

_FIRST_LAYER_KEYS = ("batch_input_shape", "input_shape", "batch_shape")
_WRAPPED = ("layer", "backward_layer")
Shape = Sequence[int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Insertion:
    """A layer to put in front of one call of another, or behind it.

    Parameters
    ----------
    path : Path
        Where the other layer's record stands.
    call : int
        Which of its calls.
    record : dict
        The new layer's record; its name and calls are filled in.
    growth : tuple of int
        By how much each axis of the tensor between the two grows (batch axis first).
    suffix : str
        What is appended to the other layer's name.
    behind : bool
        Whether the new layer reads the other one's output.
    shape : tuple, optional
        Behind: the shape of that output before it grows; None where it is not known.
    arguments : Mapping, optional
        Keyword arguments of the call, next to its tensor, where an operation of Keras 3 is
        put in instead of a layer.
    """

    path: Path
    call: int
    record: dict[str, Any]
    growth: tuple[int, ...]
    suffix: str = "pad"
    behind: bool = False
    shape: tuple[int | None, ...] | None = None
    arguments: Mapping[str, Any] | None = None

    @property
    def operation(self) -> bool:
        """Whether it is an operation of Keras 3, which is not built."""
        return self.arguments is not None


def record_at(config: Any, path: Path) -> Any:
    """Return the record at a path.

    >>> record_at({"config": {"layers": ["a", "b"]}}, ("config", "layers", 1))
    'b'
    """
    for step in path:
        config = config[step]
    return config


def insert(config: dict[str, Any], insertions: Sequence[Insertion]) -> dict[Insertion, str]:
    """Insert layers in place, rewire the calls, and return the names of the new layers."""
    names: dict[Insertion, str] = {}
    for layers_path in _deepest_first({item.path[:-1] for item in insertions}):
        layers = record_at(config, layers_path)
        holder = record_at(config, layers_path[:-1])
        here = [item for item in insertions if item.path[:-1] == layers_path]
        taken = {_name(record) for record in layers}
        targets = {item: layers[int(item.path[-1])] for item in here}
        # From the back, so that the indices of the paths stay true.
        for item in sorted(here, key=_place, reverse=True):
            name = _free_name(f"{_name(targets[item])}_{item.suffix}", taken)
            names[item] = name
            record = _named(item, targets[item], name)
            if item.behind:
                _put_behind(layers, holder, targets[item], item, record)
            else:
                _put_before(layers, targets[item], item, record)
    return names


def _place(item: Insertion) -> tuple[int, bool, int]:
    return int(item.path[-1]), item.behind, item.call


def _named(item: Insertion, layer: Mapping[str, Any], name: str) -> dict[str, Any]:
    record = copy.deepcopy(item.record)
    record["config"]["name"] = name
    inner = record["config"].get("layer")
    if isinstance(inner, dict):
        inner["config"]["name"] = f"{name}_each"
    if "name" in layer or "inbound_nodes" in layer:
        record["name"] = name
    return record


def _put_before(
    layers: list[dict[str, Any]], layer: dict[str, Any], item: Insertion, record: dict[str, Any]
) -> None:
    shape = (layer.get("build_config") or {}).get("input_shape")
    if item.call == 0:
        if shape is not None and not item.operation:
            record["build_config"] = {"input_shape": list(shape)}
        _grow_built(layer, item.growth)
    if "inbound_nodes" in layer:
        record["inbound_nodes"] = [_divert(layer["inbound_nodes"], item, _name(record))]
    else:
        _hand_over_input(layer["config"], record["config"])
    layers.insert(int(item.path[-1]), record)


def _put_behind(
    layers: list[dict[str, Any]],
    holder: Any,
    layer: dict[str, Any],
    item: Insertion,
    record: dict[str, Any],
) -> None:
    if "inbound_nodes" in layer:
        source, name = [_name(layer), item.call, 0], _name(record)
        taken = [_replace(other.get("inbound_nodes"), source, name) for other in layers]
        if isinstance(holder, dict):
            _replace(holder.get("output_layers"), source, name)
        shape = next((shape for shapes in taken for shape in shapes), item.shape)
        record["inbound_nodes"] = [_reading(layer, item, source, shape)]
    layers.insert(int(item.path[-1]) + 1, record)


def _reading(
    layer: Mapping[str, Any], item: Insertion, source: list[Any], shape: Shape | None
) -> Any:
    """Return a call that reads another layer's output, in the form of that layer's calls."""
    node = layer["inbound_nodes"][item.call]
    if not isinstance(node, Mapping):
        nested = node and isinstance(node[0], list)
        form = node[0] if nested else node
        return [[*source, {}] if len(form) > 3 else source]
    grown = None if shape is None else list(shape)
    _grow_shape(grown, item.growth)
    config = {"shape": grown, "dtype": compute_dtype(layer["config"]), "keras_history": source}
    return {"args": [{"class_name": "__keras_tensor__", "config": config}], "kwargs": {}}


def _replace(value: Any, source: list[Any], name: str) -> list[Shape]:
    """Let everything that reads a tensor read another one; return the recorded shapes of it."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            config = value["config"]
            found = _replace(config.get("keras_history"), source, name)
            shape = config.get("shape")
            return [shape] if found and isinstance(shape, list) else []
        return [shape for item in value.values() for shape in _replace(item, source, name)]
    if not isinstance(value, list):
        return []
    if value[:3] == source:
        value[:3] = [name, 0, 0]
        return [()]
    return [shape for item in value for shape in _replace(item, source, name)]


def _divert(nodes: list[Any], item: Insertion, name: str) -> Any:
    """Let a call read the new layer, and return the new layer's own call."""
    node = nodes[item.call]
    if isinstance(node, Mapping):
        tensor = next(tensors_of([node["args"], node["kwargs"]]))
        original = copy.deepcopy(tensor)
        tensor["config"]["keras_history"] = [name, 0, 0]
        _grow_shape(tensor["config"].get("shape"), item.growth)
        return {"args": [original], "kwargs": dict(item.arguments or {})}
    target = node if node and isinstance(node[0], str) else node[0]
    source = [*target[:3], {}] if len(target) > 3 else list(target[:3])
    target[:3] = [name, 0, 0]
    return [source]


def tensors_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of the tensors in a call of Keras 3."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from tensors_of(item)


def _hand_over_input(old: dict[str, Any], new: dict[str, Any]) -> None:
    """The first layer of a Sequential declares the model's input shape."""
    for key in _FIRST_LAYER_KEYS:
        if key in old:
            new[key] = old.pop(key)


def _grow_built(layer: Mapping[str, Any], growth: Sequence[int]) -> None:
    """Let a layer, and what it wraps, be built for the shape that it gets now."""
    build, config = layer.get("build_config"), layer.get("config")
    if isinstance(build, dict):
        _grow_shape(build.get("input_shape"), growth)
    frames = 1 if layer.get("class_name") == "TimeDistributed" else 0
    for key in _WRAPPED:
        inner = config.get(key) if isinstance(config, Mapping) else None
        if isinstance(inner, Mapping):
            _grow_built(inner, [growth[0], *growth[1 + frames :]])


def _grow_shape(shape: Any, growth: Sequence[int]) -> None:
    if isinstance(shape, list) and len(shape) == len(growth):
        for axis, added in enumerate(growth):
            if shape[axis] is not None:
                shape[axis] += added


def _free_name(wanted: str, taken: set[str]) -> str:
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def _name(record: Mapping[str, Any]) -> str:
    return str(record.get("name") or record["config"].get("name"))


def _deepest_first(paths: set[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (-len(path), [str(step) for step in path]))
