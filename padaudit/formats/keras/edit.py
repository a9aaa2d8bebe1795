"""Inserting layers into a Keras config: the one place that rewires calls."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from padaudit.formats.keras.config import Path

_FIRST_LAYER_KEYS = ("batch_input_shape", "input_shape", "batch_shape")


@dataclass(frozen=True, slots=True, eq=False)
class Insertion:
    """A layer to put in front of one call of another.

    Parameters
    ----------
    path : Path
        Where the following layer's record stands.
    call : int
        Which of its calls.
    record : dict
        The new layer's record; its name and calls are filled in.
    growth : tuple of int
        By how much each axis of the tensor grows (batch axis first).
    """

    path: Path
    call: int
    record: dict[str, Any]
    growth: tuple[int, ...]


def record_at(config: Any, path: Path) -> Any:
    """Return the record at a path.

    >>> record_at({"config": {"layers": ["a", "b"]}}, ("config", "layers", 1))
    'b'
    """
    for step in path:
        config = config[step]
    return config


def insert_before(
    config: dict[str, Any], insertions: Sequence[Insertion]
) -> dict[tuple[Path, int], str]:
    """Insert layers in place, rewire the calls, and return the new names by (path, call)."""
    names: dict[tuple[Path, int], str] = {}
    for layers_path in _deepest_first({item.path[:-1] for item in insertions}):
        layers = record_at(config, layers_path)
        here = [item for item in insertions if item.path[:-1] == layers_path]
        taken = {_name(record) for record in layers}
        targets = {item: layers[int(item.path[-1])] for item in here}
        # From the back, so that the indices of the paths stay true.
        for item in sorted(here, key=lambda item: (int(item.path[-1]), item.call), reverse=True):
            names[item.path, item.call] = _insert(layers, targets[item], item, taken)
    return names


def _insert(
    layers: list[dict[str, Any]], layer: dict[str, Any], item: Insertion, taken: set[str]
) -> str:
    name = _free_name(f"{_name(layer)}_pad", taken)
    record = copy.deepcopy(item.record)
    record["config"]["name"] = name
    if "name" in layer or "inbound_nodes" in layer:
        record["name"] = name
    if "inbound_nodes" in layer:
        record["inbound_nodes"] = [_divert(layer["inbound_nodes"], item, name)]
    else:
        _hand_over_input(layer["config"], record["config"])
    if item.call == 0:
        _grow(layer.get("build_config"), item.growth)
    layers.insert(int(item.path[-1]), record)
    return name


def _divert(nodes: list[Any], item: Insertion, name: str) -> Any:
    """Let a call read the new layer, and return the new layer's own call."""
    node = nodes[item.call]
    if isinstance(node, Mapping):
        tensor = next(_tensors([node["args"], node["kwargs"]]))
        original = copy.deepcopy(tensor)
        tensor["config"]["keras_history"] = [name, 0, 0]
        _grow_shape(tensor["config"].get("shape"), item.growth)
        return {"args": [original], "kwargs": {}}
    target = node if node and isinstance(node[0], str) else node[0]
    source = [*target[:3], {}] if len(target) > 3 else list(target[:3])
    target[:3] = [name, 0, 0]
    return [source]


def _tensors(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _tensors(item)


def _hand_over_input(old: dict[str, Any], new: dict[str, Any]) -> None:
    """The first layer of a Sequential declares the model's input shape."""
    for key in _FIRST_LAYER_KEYS:
        if key in old:
            new[key] = old.pop(key)


def _grow(build: Any, growth: tuple[int, ...]) -> None:
    if isinstance(build, dict):
        _grow_shape(build.get("input_shape"), growth)


def _grow_shape(shape: Any, growth: tuple[int, ...]) -> None:
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
