"""Sizes that a model of Keras 2 computes: ``tf.shape(x)[1] * 2`` and the like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from padaudit.formats.keras.shapes.arrays import grown, plain, product, scaled
from padaudit.formats.keras.shapes.keys import key_items
from padaudit.formats.keras.shapes.rule import LayerCall, Tensor, Value
from padaudit.formats.keras.shapes.tensorflow import strided_key
from padaudit.ir.dims import Dim, Open, Unknown

_SAME: Final = frozenset({"cast", "identity", "convert_to_tensor", "to_int32", "stop_gradient"})
_NAMES: Final = ("0", "1", "x", "y", "a", "b")


def computed(call: LayerCall) -> Value | None:
    """Return what a function of sizes gives; None where that is not known."""
    if call.class_name in _SAME:
        return _value(call.arguments.get("0"))
    rule = _RULES.get(call.class_name)
    return rule(call) if rule is not None else None


def _shape(call: LayerCall) -> Value | None:
    return call.inputs[0]


def _item(call: LayerCall) -> Value | None:
    value = _value(call.arguments.get("0"))
    strided = call.class_name == "strided_slice"
    key = strided_key(call) if strided else key_items(call.setting("slice_spec", 1))
    if not isinstance(value, tuple) or len(key) != 1 or not isinstance(key[0], int | slice):
        return None
    return value[key[0]]


def _stack(call: LayerCall) -> Value | None:
    items = plain(call.arguments.get("0", call.arguments.get("values")))
    values = [_value(item) for item in items] if isinstance(items, list) else [None]
    known = [value for value in values if value is not None and not isinstance(value, tuple)]
    return tuple(known) if len(known) == len(values) else None


def _concat(call: LayerCall) -> Value | None:
    items = plain(call.arguments.get("0", call.arguments.get("values")))
    parts = [_value(item) for item in items] if isinstance(items, list) else [None]
    known = [part for part in parts if isinstance(part, tuple)]
    return tuple(size for part in known for size in part) if len(known) == len(parts) else None


def _product(call: LayerCall) -> Value | None:
    value = _value(call.arguments.get("0"))
    return product(value) if isinstance(value, tuple) else None


def _arithmetic(call: LayerCall) -> Value | None:
    operands = [_value(call.arguments[name]) for name in _NAMES if name in call.arguments]
    if len(operands) != 2 or None in operands:
        return None
    left, right = operands
    function = _ARITHMETIC[call.class_name]
    if isinstance(left, tuple) or isinstance(right, tuple):
        length = max(len(side) for side in (left, right) if isinstance(side, tuple))
        sides = [side if isinstance(side, tuple) else (side,) * length for side in (left, right)]
        return tuple(function(a, b) for a, b in zip(*sides, strict=True))
    return function(left, right)  # type: ignore[arg-type]


def _value(argument: Any) -> Value | None:
    """Return an argument's integers: a constant's, or those that are computed."""
    argument = plain(argument)
    if isinstance(argument, Tensor):
        return argument.value
    if isinstance(argument, int) and not isinstance(argument, bool):
        return argument
    if isinstance(argument, list) and len(argument) < 64:
        items = [_value(item) for item in argument]
        plain_items = [item for item in items if item is not None and not isinstance(item, tuple)]
        return tuple(plain_items) if len(plain_items) == len(items) else None
    return None


def _added(left: Dim, right: Dim) -> Dim:
    if isinstance(right, int):
        return grown(left, right)
    return grown(right, left) if isinstance(left, int) else _lost(left, right)


def _subtracted(left: Dim, right: Dim) -> Dim:
    return grown(left, -right) if isinstance(right, int) else _lost(left, right)


def _multiplied(left: Dim, right: Dim) -> Dim:
    if isinstance(right, int):
        return scaled(left, right)
    return scaled(right, left) if isinstance(left, int) else _lost(left, right)


def _floor_divided(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int) and right:
        return left // right
    return left if right == 1 else _lost(left, right)


def _lost(*sizes: Dim) -> Dim:
    """Return a size that nobody knows: open, unless one of its parts could not be inferred."""
    return next((size for size in sizes if isinstance(size, Unknown)), Open())


_ARITHMETIC: Final[dict[str, Callable[[Dim, Dim], Dim]]] = {
    **dict.fromkeys(("add", "addv2", "add_v2", "__add__", "__radd__"), _added),
    **dict.fromkeys(("sub", "subtract", "__sub__"), _subtracted),
    **dict.fromkeys(("mul", "multiply", "__mul__", "__rmul__"), _multiplied),
    **dict.fromkeys(("floordiv", "floor_div", "__floordiv__"), _floor_divided),
}
_RULES: Final[dict[str, Callable[[LayerCall], Value | None]]] = {
    "shape": _shape,
    **dict.fromkeys(("getitem", "__getitem__", "_slice_helper", "strided_slice"), _item),
    **dict.fromkeys(("stack", "pack"), _stack),
    **dict.fromkeys(("concat", "concat_v2"), _concat),
    "reduce_prod": _product,
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
}
