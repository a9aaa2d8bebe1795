"""What stands between the brackets of ``tensor[...]`` in a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from padaudit.formats.keras.shapes.arrays import plain, shape_of
from padaudit.formats.keras.shapes.rule import ShapeUnknown, Tensor, integer

_ELLIPSIS = frozenset({"__ellipsis__", "Ellipsis"})


def key_items(key: Any) -> list[Any]:
    """Return a key as `indexed` takes it: ints, slices, None, Ellipsis, shapes of arrays.

    Keras 3 writes ``{"class_name": "__slice__", "config": {"start", "stop", "step"}}``,
    Keras 2 ``{"start", "stop", "step"}`` and ``{"class_name": "__ellipsis__"}``.
    """
    if isinstance(key, Mapping) and key.get("class_name") == "__tuple__":
        key = plain(key)
    items = key if isinstance(key, list | tuple) else [key]
    return [_item(item) for item in items]


def _item(item: Any) -> Any:
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, Tensor):
        return _tensor(item)
    if isinstance(item, Mapping):
        if item.get("class_name") in _ELLIPSIS:
            return Ellipsis
        parts = item["config"] if item.get("class_name") == "__slice__" else item
        if {"start", "stop", "step"} & set(parts):
            return slice(*(_bound(parts.get(name)) for name in ("start", "stop", "step")))
    if isinstance(item, str) and item in ("...", "Ellipsis"):
        return Ellipsis
    value = plain(item)
    if isinstance(value, list | tuple):
        return shape_of(value)
    return integer(value)


def _tensor(item: Tensor) -> Any:
    if not item.shape:
        return 0 if not isinstance(item.value, int) else item.value
    return item.shape


def _bound(value: Any) -> int | None:
    value = plain(value)
    if isinstance(value, Tensor):
        value = value.value
        if not isinstance(value, int):
            raise ShapeUnknown("it is sliced at a computed place")
    if value is None:
        return None
    return integer(value)
