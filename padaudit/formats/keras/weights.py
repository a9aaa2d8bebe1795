"""Stored weights, reordered with the layers that they belong to (see `order`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from padaudit.formats.keras.config import LayerSpec, ModelSpec, parse_model
from padaudit.formats.keras.order import layer_order

NONTRAINABLE: Final = frozenset(
    {"moving_mean", "moving_variance", "mean", "variance", "count", "seed_generator_state"}
)
"""Variables that no optimizer changes, by the names Keras gives them."""


class Unmappable(Exception):
    """Stored weights can't be matched to layers; the message is a clause."""


def order_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether an edit changed the order in which Keras restores weights."""
    return bool(_changed(parse_model(old), parse_model(new)))


def reorder_h5(file: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Reorder the weights of an open ``.h5`` model from an old config to a new one.

    Raises
    ------
    Unmappable
        If its names do not fit the old config.
    """
    if not order_changed(old, new):
        return
    group = file["model_weights"] if "model_weights" in file else file
    before, after = parse_model(old), parse_model(new)
    _permute(group, "layer_names", _by_rank(layer_order(before), layer_order(after)))
    inner = {layer.name: layer for layer in after.layers if layer.model}
    for layer in before.layers:
        if layer.model and layer.name in inner and layer.name in group:
            _reorder_inner(group[layer.name], layer, inner[layer.name])


def reorder_archive(file: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Rename the weight groups of an open ``model.weights.h5`` from an old config to a new one.

    Raises
    ------
    Unmappable
        If its groups do not fit the old config.
    """
    root = next((name for name in ("layers", "_layer_checkpoint_dependencies") if name in file), "")
    if not root and order_changed(old, new):
        raise Unmappable("its weights are in no known form")
    if root:
        _rename(file[root], parse_model(old), parse_model(new))


def _changed(old: ModelSpec, new: ModelSpec) -> bool:
    kept = {layer.name for layer in old.layers}
    after = tuple(name for name in layer_order(new) if name in kept)
    if layer_order(old) != after:
        return True
    inner = {layer.name: layer.model for layer in new.layers}
    return any(
        _changed(parse_model(layer.model), parse_model(inner[layer.name] or {}))
        for layer in old.layers
        if layer.model
    )


def _by_rank(before: Sequence[str], after: Sequence[str]) -> Mapping[str, int]:
    missing = set(before) - set(after)
    if missing:
        raise Unmappable(f"layer '{sorted(missing)[0]}' is not reached from the outputs")
    return {name: rank for rank, name in enumerate(after)}


def _permute(group: Any, attribute: str, rank: Mapping[str, int]) -> None:
    """Sort a list attribute, which Keras splits into numbered parts where it is long."""
    parts = [attribute] if attribute in group.attrs else _numbered(group, attribute)
    values = [value for part in parts for value in group.attrs[part]]
    if any(_text(value) not in rank for value in values):
        raise Unmappable(f"its {attribute} are not the names of its layers")
    values.sort(key=lambda value: rank[_text(value)])
    _write_parts(group, parts, values)


def _write_parts(group: Any, parts: Sequence[str], values: list[Any]) -> None:
    for part in parts:
        old = group.attrs[part]
        taken, values = values[: len(old)], values[len(old) :]
        old[:] = taken
        group.attrs.modify(part, old)


def _numbered(group: Any, attribute: str) -> list[str]:
    names = []
    while f"{attribute}{len(names)}" in group.attrs:
        names.append(f"{attribute}{len(names)}")
    return names


def _reorder_inner(group: Any, old: LayerSpec, new: LayerSpec) -> None:
    """An inner model's weights: all trainable ones by layer, then all others by layer."""
    before, after = parse_model(old.model or {}), parse_model(new.model or {})
    if not _changed(before, after):
        return
    parts = ["weight_names"] if "weight_names" in group.attrs else _numbered(group, "weight_names")
    values = [value for part in parts for value in group.attrs[part]]
    ranks = _deep_ranks(before)
    stored = [_sort_key(_text(value), ranks) for value in values]
    if stored != sorted(stored):
        raise Unmappable(f"the weights of the inner model '{old.name}' are in no known order")
    ranks = _deep_ranks(after)
    values.sort(key=lambda value: _sort_key(_text(value), ranks))
    _write_parts(group, parts, values)


def _deep_ranks(spec: ModelSpec) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return, for every layer at any depth: 1 if it is frozen, and its place."""
    found: dict[str, tuple[int, tuple[int, ...]]] = {}
    layers = {layer.name: layer for layer in spec.layers}
    for rank, name in enumerate(layer_order(spec)):
        layer = layers[name]
        frozen = int(not layer.config.get("trainable", True))
        if layer.model:
            for inner, (state, places) in _deep_ranks(parse_model(layer.model)).items():
                found.setdefault(inner, (max(frozen, state), (rank, *places)))
        found[name] = (frozen, (rank,))
    return found


def _sort_key(
    weight: str, ranks: Mapping[str, tuple[int, tuple[int, ...]]]
) -> tuple[int, tuple[int, ...]]:
    *parts, leaf = re.sub(r":\d+$", "", weight).split("/")
    owner = next((part for part in reversed(parts) if part in ranks), None)
    if owner is None:
        raise Unmappable(f"weight '{weight}' names no layer")
    frozen, places = ranks[owner]
    return max(frozen, int(leaf in NONTRAINABLE)), places


def _rename(group: Any, old: ModelSpec, new: ModelSpec) -> None:
    keys = {name: (key, _keys(new)[name]) for name, key in _keys(old).items() if name in _keys(new)}
    inner = {layer.name: layer.model for layer in new.layers}
    for layer in old.layers:
        key = keys.get(layer.name, ("", ""))[0]
        if layer.model and key in group and "layers" in group[key]:
            after = parse_model(inner[layer.name] or {})
            _rename(group[key]["layers"], parse_model(layer.model), after)
    moves = [(a, b) for a, b in keys.values() if a != b and a in group]
    # A padding layer has no weights; its empty group, if there is one, makes way.
    for source, _ in moves:
        group.move(source, f"padaudit-moving/{source}")
    for source, target in moves:
        if target in group:
            del group[target]
        group.move(f"padaudit-moving/{source}", target)
    if moves:
        del group["padaudit-moving"]


def _keys(spec: ModelSpec) -> dict[str, str]:
    """Return the group name of every layer: its class in snake case, counted."""
    classes = {layer.name: snake_case(layer.class_name) for layer in spec.layers}
    counts: dict[str, int] = {}
    keys = {}
    for name in layer_order(spec):
        snake = classes[name]
        count = counts.get(snake, 0)
        counts[snake] = count + 1
        keys[name] = f"{snake}_{count}" if count else snake
    return keys


def snake_case(name: str) -> str:
    """Return a class name as Keras spells it in weight files.

    Source: ``keras.src.utils.naming.to_snake_case``.

    >>> snake_case("Conv2D"), snake_case("BatchNormalization"), snake_case("LSTMCell")
    ('conv2d', 'batch_normalization', 'lstm_cell')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
