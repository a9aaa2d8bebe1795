"""Stored weights, reordered with the layers that they belong to (see `order`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from padaudit.formats.keras.config import LayerSpec, ModelSpec, parse_model
from padaudit.formats.keras.lists import list_attribute, text, write_list
from padaudit.formats.keras.optimizer import UnknownLayout, find_layout, reordered
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
    group = file.get("model_weights", file)
    before, after = parse_model(old), parse_model(new)
    if "optimizer_weights" in file:
        _reorder_h5_optimizer(file["optimizer_weights"], group, before, after)
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
    if not root:
        raise Unmappable("its weights are in no known form")
    before, after = parse_model(old), parse_model(new)
    if "optimizer/vars" in file and len(file["optimizer/vars"]):
        _reorder_archive_optimizer(file["optimizer/vars"], file[root], before, after)
    _rename(file[root], before, after)


def _changed(old: ModelSpec, new: ModelSpec) -> bool:
    kept = {layer.name for layer in old.layers}
    after = tuple(name for name in layer_order(new) if name in kept)
    if layer_order(old) != after or _counted_anew(old, new):
        return True
    inner = {layer.name: layer.model for layer in new.layers}
    return any(
        _changed(parse_model(layer.model), parse_model(inner[layer.name] or {}))
        for layer in old.layers
        if layer.model
    )


def _counted_anew(old: ModelSpec, new: ModelSpec) -> bool:
    """Tell whether new layers of a class that may hold weights shift the count of old ones."""
    before, after = group_names(old), group_names(new)
    wrappers = {layer.name for layer in old.layers if layer.class_name == _WRAPPER}
    return any(name in wrappers and before[name] != after.get(name) for name in before)


_WRAPPER: Final = "TimeDistributed"
"""The one class with weights of which a rewrite adds layers."""


def _by_rank(before: Sequence[str], after: Sequence[str]) -> Mapping[str, int]:
    missing = set(before) - set(after)
    if missing:
        raise Unmappable(f"layer '{sorted(missing)[0]}' is not reached from the outputs")
    return {name: rank for rank, name in enumerate(after)}


def _permute(group: Any, attribute: str, rank: Mapping[str, int]) -> None:
    values = list_attribute(group, attribute)
    if any(text(value) not in rank for value in values):
        raise Unmappable(f"its {attribute} are not the names of its layers")
    values.sort(key=lambda value: rank[text(value)])
    write_list(group, attribute, values)


def _reorder_inner(group: Any, old: LayerSpec, new: LayerSpec) -> None:
    """An inner model's weights: all trainable ones by layer, then all others by layer."""
    before, after = parse_model(old.model or {}), parse_model(new.model or {})
    if not _changed(before, after):
        return
    values = list_attribute(group, "weight_names")
    ranks = _deep_ranks(before)
    stored = [_sort_key(text(value), ranks) for value in values]
    if stored != sorted(stored):
        raise Unmappable(f"the weights of the inner model '{old.name}' are in no known order")
    ranks = _deep_ranks(after)
    values.sort(key=lambda value: _sort_key(text(value), ranks))
    write_list(group, "weight_names", values)


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
    then = group_names(new)
    keys = {name: (key, then[name]) for name, key in group_names(old).items() if name in then}
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


def _reorder_h5_optimizer(state: Any, weights: Any, old: ModelSpec, new: ModelSpec) -> None:
    ranks, new_ranks = _deep_ranks(old), _deep_ranks(new)
    variables = []
    for name in layer_order(old):
        for key in map(text, list_attribute(weights[name], "weight_names")):
            if not _sort_key(key, ranks)[0]:
                variables.append((_sort_key(key, new_ranks), weights[name][key].shape))
    values = list_attribute(state, "weight_names")
    shapes = [state[text(value)].shape for value in values]
    write_list(state, "weight_names", _by_variables(values, shapes, variables))


def _reorder_archive_optimizer(state: Any, layers: Any, old: ModelSpec, new: ModelSpec) -> None:
    ranks = _deep_ranks(new)
    variables = [
        (ranks[name][1], shape)
        for name, group in _leaf_groups(layers, old)
        if not ranks[name][0]
        for shape in _trainable_shapes(group)
    ]
    names = sorted(state, key=int)
    shapes = [state[name].shape for name in names]
    moved = _by_variables(names, shapes, variables)
    for name in names:
        state.move(name, f"padaudit-{name}")
    for name, source in zip(names, moved, strict=True):
        state.move(f"padaudit-{source}", name)


def _by_variables(
    state: list[Any], shapes: list[tuple[int, ...]], variables: list[tuple[Any, tuple[int, ...]]]
) -> list[Any]:
    """Reorder state as the sort keys of its variables say."""
    try:
        layout = find_layout(shapes, [shape for _, shape in variables])
    except UnknownLayout as error:
        advice = "save the model without its optimizer state (include_optimizer=False)"
        raise Unmappable(f"{error} ({advice})") from error
    order = sorted(range(len(variables)), key=lambda index: variables[index][0])
    return reordered(layout, state, order)


def _leaf_groups(group: Any, spec: ModelSpec) -> Iterator[tuple[str, Any]]:
    """Yield the groups of all layers that are no models, in the order of the variables."""
    keys, layers = group_names(spec), {layer.name: layer for layer in spec.layers}
    for name in layer_order(spec):
        if keys[name] not in group:
            continue
        if (model := layers[name].model) is not None:
            yield from _leaf_groups(group[keys[name]]["layers"], parse_model(model))
        else:
            yield name, group[keys[name]]


def keyed_groups(
    group: Any, spec: ModelSpec, outermost: str = ""
) -> Iterator[tuple[str, str, str, Any]]:
    """Yield outermost layer, layer, class in snake case and weight group of a ``.keras`` file."""
    keys, layers = group_names(spec), {layer.name: layer for layer in spec.layers}
    for name in layer_order(spec):
        if keys[name] not in group:
            continue
        top, stored = outermost or name, group[keys[name]]
        if (model := layers[name].model) is not None:
            if "layers" in stored:
                yield from keyed_groups(stored["layers"], parse_model(model), top)
        else:
            yield top, name, snake_case(layers[name].class_name), stored


def _trainable_shapes(group: Any) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    if "vars" in group:
        found = [group["vars"][key].shape for key in sorted(group["vars"], key=int)]
    fixed = _FIXED_VARIABLES.get(snake_class(group), 0)
    found = found[: len(found) - fixed]
    for key in sorted(group):
        if key not in ("vars", "seed_generator"):
            found += _trainable_shapes(group[key])
    return found


def snake_class(group: Any) -> str:
    """Return the class, in snake case, that a weight group's name stands for.

    >>> from types import SimpleNamespace
    >>> snake_class(SimpleNamespace(name="/layers/batch_normalization_3"))
    'batch_normalization'
    """
    return re.sub(r"_\d+$", "", group.name.rsplit("/", 1)[-1])


_FIXED_VARIABLES: Final = {
    "batch_normalization": 2,
    "sync_batch_normalization": 2,
    "normalization": 3,
}
"""How many of a layer's own variables, the last ones, no optimizer changes."""


def group_names(spec: ModelSpec) -> dict[str, str]:
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
