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
_ARRAYS: Final = frozenset({"__numpy__", "__tensor__"})


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
    """One call of a layer.

    Parameters
    ----------
    inputs : tuple of TensorRef
        Its tensor arguments, in the order in which Keras walks them.
    arguments : Mapping
        All arguments by position (``"0"``) or name; a tensor is its `TensorRef`.
    """

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
    given = {str(i): arg for i, arg in enumerate(node.get("args") or [])}
    # Keras walks keyword arguments by name, and orders layers by that walk.
    given |= dict(sorted((node.get("kwargs") or {}).items()))
    arguments = {key: _keras3_argument(value) for key, value in given.items()}
    return Call(tuple(tensors_in(arguments)), arguments)


def _listed_call(items: list[Any], layer: str) -> Call:
    """Read a call of Keras 1 or 2; the keyword arguments stand with each of its tensors."""
    first: list[Any] = []
    keywords: Mapping[str, Any] = {}
    for item in items:
        if _is_item(item):
            first.append(item[2] if item[0] == _CONSTANT else _ref(item))
            if len(item) > 3 and isinstance(item[3], dict):
                keywords = keywords or item[3]
            continue
        first.append(_argument(item))
        if not any(True for _ in tensors_in(first[-1])):
            raise ConfigError("a call of the layer names no tensor", layer)
    arguments: dict[str, Any] = {"0": first[0] if len(first) == 1 else first}
    arguments |= {key: _argument(value) for key, value in keywords.items()}
    return Call(tuple(tensors_in(arguments)), arguments)


def _keras3_argument(value: Any) -> Any:
    """Return an argument with a `TensorRef` in place of each tensor's record."""
    if isinstance(value, list) and not _is_constant(value):
        return [_keras3_argument(item) for item in value]
    if not isinstance(value, Mapping) or value.get("class_name") in _ARRAYS:
        return value
    if value.get("class_name") != "__keras_tensor__":
        return {key: _keras3_argument(item) for key, item in value.items()}
    inner = value.get("config")
    history = inner.get("keras_history") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not _is_ref(history):
        raise ConfigError("a tensor has no keras_history")
    return replace(_ref(history), shape=plain_shape(inner.get("shape")))


def _argument(value: Any) -> Any:
    """Return an argument with a `TensorRef` in place of each [layer, call, output]."""
    if _is_ref(value):
        return _ref(value)
    if isinstance(value, Mapping):
        # Keras flattens named tensors by their names.
        return {key: _argument(value[key]) for key in sorted(value)}
    if not isinstance(value, list) or _is_constant(value):
        return value
    return [_argument(item) for item in value]


def _is_constant(values: list[Any]) -> bool:
    """Tell whether a list holds an array, which may be large, and so no tensors."""
    first = values[0] if values else None
    if isinstance(first, list) and first and isinstance(first[0], list):
        return not _is_ref(first[0])
    return isinstance(first, float)


def tensors_in(value: Any) -> Iterator[TensorRef]:
    """Yield the tensors in an argument of a `Call`."""
    if isinstance(value, TensorRef):
        yield value
    elif isinstance(value, Mapping):
        if value.get("class_name") not in _ARRAYS:
            yield from (ref for item in value.values() for ref in tensors_in(item))
    elif isinstance(value, list) and not _is_constant(value):
        yield from (ref for item in value for ref in tensors_in(item))


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
