"""How layers are called: ``inbound_nodes`` in the dialects of every version of Keras.

- Keras 1 and 2: a call is a list of ``[layer, call, output, keyword arguments]``, or one such
  item (op layers), or an object of them (inputs by name); tensors stand among keyword
  arguments too; ``["_CONSTANT_VALUE", -1, value, ...]`` is an argument that is no tensor.
- Keras 3: ``{"args": [...], "kwargs": {...}}`` with ``__keras_tensor__`` objects in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

MAX_INDEX: Final = 4096
"""How many calls and outputs of one layer a config may speak of."""

_CONSTANT: Final = "_CONSTANT_VALUE"


class ConfigError(Exception):
    """The config is not what Keras writes; ``layer`` names where.

    ``advice`` says what to do where saving it again would not help.
    """

    def __init__(self, cause: str, layer: str | None = None, advice: str | None = None) -> None:
        super().__init__(cause)
        self.cause, self.layer, self.advice = cause, layer, advice


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


def parse_call(node: Any, layer: str) -> Call:
    """Read one call of a layer.

    Parameters
    ----------
    node : object
        An entry of ``inbound_nodes``.
    layer : str
        The layer's name, for messages.

    Raises
    ------
    ConfigError
        If it is in no known dialect.
    """
    if isinstance(node, Mapping) and not {"args", "kwargs"} & set(node):
        # Keras flattens named inputs by their names.
        return _listed_call([node[key] for key in sorted(node)], layer)
    if isinstance(node, Mapping):
        return _keras3_call(node)
    if not isinstance(node, list):
        raise ConfigError("a call of the layer is neither a list nor an object", layer)
    return _listed_call([node] if _is_item(node) else node, layer)


def _keras3_call(node: Mapping[str, Any]) -> Call:
    arguments = {str(i): arg for i, arg in enumerate(node.get("args") or [])}
    # Keras walks keyword arguments by name, and orders layers by that walk.
    arguments |= dict(sorted((node.get("kwargs") or {}).items()))
    given = tuple(ref for value in arguments.values() for ref in _keras3_refs(value))
    others = {key: arg for key, arg in arguments.items() if not any(_keras3_refs(arg))}
    return Call(given, others)


def _listed_call(items: list[Any], layer: str) -> Call:
    refs: list[TensorRef] = []
    plain: dict[str, Any] = {}
    for item in items:
        if not _is_item(item):
            nested = list(refs_in(item))
            if not nested:
                raise ConfigError("a call of the layer names no tensor", layer)
            refs += nested
            continue
        if item[0] != _CONSTANT:
            refs.append(_ref(item))
        for key, value in (item[3] if len(item) > 3 and isinstance(item[3], dict) else {}).items():
            nested = list(refs_in(value))
            refs.extend(nested)
            if not nested:
                plain[key] = value
    return Call(tuple(refs), plain)


def refs_in(value: Any) -> Iterator[TensorRef]:
    """Yield the tensors that a value of Keras 1 or 2 names, those in objects by their keys."""
    if _is_ref(value):
        yield _ref(value)
    elif isinstance(value, list | dict):
        # Keras flattens named inputs and outputs by their names.
        ordered = (value[key] for key in sorted(value)) if isinstance(value, dict) else value
        for item in ordered:
            yield from refs_in(item)


def plain_shape(value: Any) -> tuple[int | None, ...] | None:
    """Return a recorded shape; None for what is no plain shape."""
    if isinstance(value, list) and all(item is None or isinstance(item, int) for item in value):
        return tuple(value)
    return None


def _keras3_refs(value: Any) -> Iterator[TensorRef]:
    if isinstance(value, list):
        for item in value:
            yield from _keras3_refs(item)
    elif isinstance(value, Mapping):
        if value.get("class_name") != "__keras_tensor__":
            for item in value.values():
                yield from _keras3_refs(item)
            return
        inner = value.get("config")
        history = inner.get("keras_history") if isinstance(inner, Mapping) else None
        if not isinstance(inner, Mapping) or not _is_ref(history):
            raise ConfigError("a tensor has no keras_history")
        yield replace(_ref(history), shape=plain_shape(inner.get("shape")))


def _is_item(value: Any) -> bool:
    """Tell whether a value is one argument of a call: a tensor, or a constant."""
    return _is_ref(value) or (
        isinstance(value, list) and len(value) in (3, 4) and value[0] == _CONSTANT
    )


def _is_ref(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] != _CONSTANT
        and isinstance(value[1], int)
        and isinstance(value[2], int)
    )


def _ref(value: Any) -> TensorRef:
    if not (0 <= value[1] <= MAX_INDEX and 0 <= value[2] <= MAX_INDEX):
        raise ConfigError(f"call {value[1]}, output {value[2]} of it makes no sense", value[0])
    return TensorRef(str(value[0]), int(value[1]), int(value[2]))
