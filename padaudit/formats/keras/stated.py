"""Shapes that are not inferred: declared by inputs, recorded by Keras, or stated by the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from padaudit.formats.keras.calls import Call, ConfigError, TensorRef
from padaudit.formats.keras.config import LayerSpec, ModelSpec
from padaudit.formats.keras.records import compute_dtype
from padaudit.formats.keras.shapes import MAX_SIZE
from padaudit.formats.keras.shapes.rule import ShapeUnknown
from padaudit.formats.keras.shapes.wrappers import with_time, without_time
from padaudit.ir.dims import Open, Shape, Unknown, known
from padaudit.ir.tensor import TensorInfo


def declared(layer: LayerSpec | None, where: str) -> TensorInfo:
    """Return what an input layer declares.

    Raises
    ------
    ConfigError
        If there is no such layer.
    """
    if layer is None:
        raise ConfigError(f"{where} names an input layer that does not exist")
    config = layer.config
    given = (config.get(key) for key in ("batch_shape", "batch_input_shape"))
    shape = next((item for item in given if item is not None), None)
    if shape is None and config.get("input_shape"):
        shape = [None, *config["input_shape"]]
    if not isinstance(shape, list | tuple):
        cause = f"the model declares no input shape for '{layer.name}' (give --input-shape)"
        return TensorInfo(None, cause=cause)
    if any(size is not None and not _sane(size) for size in shape):
        raise ConfigError(f"its input shape {str(shape)[:80]} makes no sense", layer.name)
    return TensorInfo(open_shape(tuple(shape)), element_type(config))


_NUMBERS: Final = re.compile(r"bool|u?int\d{1,2}|b?float\d{2}")


def element_type(config: Mapping[str, Any]) -> str | None:
    """Return numpy's name of the elements that an input layer declares; None where it is unknown.

    >>> element_type({"dtype": "int32"}), element_type({"dtype": "string"}), element_type({})
    ('int32', 'str', 'float32')
    """
    name = compute_dtype(config)
    if name == "string":
        return "str"
    return name if _NUMBERS.fullmatch(name) else None


def _sane(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < MAX_SIZE


def own_shape(spec: ModelSpec, ref: TensorRef, hidden: TensorInfo) -> TensorInfo:
    """Return the shape that a model declares for an input, where nobody hands it one."""
    layer = next((item for item in spec.layers if item.name == ref.layer), None)
    found = declared(layer, spec.name)
    return hidden if found.shape is None else found


def open_shape(shape: tuple[int | None, ...]) -> Shape:
    """Return a shape that Keras wrote: None stands for an open size."""
    return tuple(Open() if size is None else int(size) for size in shape)


def recorded(layer: LayerSpec, call: Call) -> list[Shape | None]:
    """Return the shapes that Keras recorded for the inputs of a call."""
    recorded = [ref.shape for ref in call.inputs]
    if len(recorded) == 1 and len(layer.calls) == 1 and recorded[0] is None:
        recorded = [layer.built_shape]
    return [None if shape is None else open_shape(shape) for shape in recorded]


def prefer(info: TensorInfo, stated: Shape | None) -> TensorInfo:
    """Let a stated shape stand in where propagation was stopped."""
    if stated is None:
        return info
    if info.shape is None:
        return TensorInfo(stated, info.dtype)
    if known(info.shape[1:]) or len(stated) != len(info.shape):
        return info
    merged = zip(info.shape, stated, strict=True)
    shape = tuple(new if isinstance(old, Unknown) else old for old, new in merged)
    return replace(info, shape=shape)


def agree(one: Shape, other: Shape) -> bool:
    """Tell whether two shapes can both be true."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in pairs
    )


def shown(shape: Shape) -> str:
    """Return the sizes behind the batch as ``--assume`` takes them."""
    return "x".join(str(size) if isinstance(size, int) else "?" for size in shape[1:])


def over_time(info: TensorInfo) -> TensorInfo:
    """Return the type of one time step."""
    if info.shape is None:
        return info
    try:
        return TensorInfo(without_time(info.shape))
    except ShapeUnknown as error:
        return TensorInfo(None, cause=f"TimeDistributed: {error.cause}")


def add_time(info: TensorInfo, outer: TensorInfo) -> TensorInfo:
    """Undo `over_time`, given the type that has the time axis."""
    if info.shape is None or outer.shape is None:
        return info
    return TensorInfo(with_time(info.shape, outer.shape))
