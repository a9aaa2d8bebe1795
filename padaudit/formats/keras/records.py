"""The records of new layers, in the dialect of the layer that they stand beside."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from padaudit.padding.amounts import AxisPads

Record = dict[str, Any]

LOWEST: Final = {
    "float16": -65504.0,
    "bfloat16": -3.3895313892515355e38,
    "float32": -3.4028234663852886e38,
    "float64": -1.7976931348623157e308,
}
"""The least finite number by type: what TensorFlow's max pool starts from, and valid JSON."""


def padding_record(
    layer: Mapping[str, Any],
    pads: tuple[AxisPads, ...],
    channels_first: bool,
    keras1: bool = False,
) -> Record:
    """Return a layer record (without name and calls) that pads with zeros.

    Parameters
    ----------
    layer : Mapping
        The record of the layer beside it; its dialect and dtype policy are taken over.
    pads : tuple of AxisPads
        (before, after) per spatial axis.
    channels_first : bool
        Whether the channel axis precedes the spatial ones.
    keras1 : bool
        Whether the amounts are spelled as in Keras 1.
    """
    settings = _amounts("padding", pads, channels_first, keras1)
    return _record(layer, f"ZeroPadding{len(pads)}D", settings)


def cropping_record(
    layer: Mapping[str, Any],
    crops: tuple[AxisPads, ...],
    channels_first: bool,
    keras1: bool = False,
) -> Record:
    """Return a layer record (without name and calls) that crops; see `padding_record`."""
    settings = _amounts("cropping", crops, channels_first, keras1)
    return _record(layer, f"Cropping{len(crops)}D", settings)


def same_padding_record(layer: Mapping[str, Any], settings: Mapping[str, Any]) -> Record:
    """Return the record of a `padaudit.keras.SamePadding` layer."""
    record = _record(layer, "SamePadding", dict(settings))
    if "module" not in layer:
        return record | {"class_name": "padaudit>SamePadding"}
    return record | {"module": "padaudit.keras", "registered_name": "padaudit>SamePadding"}


def time_distributed(layer: Mapping[str, Any], inner: Record, modern: bool) -> Record:
    """Return the record of a TimeDistributed layer around a new layer.

    Parameters
    ----------
    layer : Mapping
        The record of the layer beside it.
    inner : dict
        The record of the new layer.
    modern : bool
        Whether Keras 3 wrote the model: even in ``.h5`` it writes records in a wrapper in full.
    """
    if modern:
        inner = {"module": "keras.layers", **inner, "registered_name": inner.get("registered_name")}
    return _record(layer, "TimeDistributed", {"layer": inner})


def pad_operation(pads: Sequence[AxisPads]) -> Record:
    """Return the record of a ``keras.ops.pad`` node of Keras 3.

    Parameters
    ----------
    pads : sequence of AxisPads
        (before, after) per axis of the tensor, batch axis first.
    """
    config = {"name": "", "pad_width": [list(pair) for pair in pads], "mode": "constant"}
    return {
        "module": "keras.src.ops.numpy",
        "class_name": "Pad",
        "config": config,
        "registered_name": "Pad",
    }


def custom(record: Mapping[str, Any]) -> bool:
    """Tell whether a layer's class is none of Keras's own.

    >>> custom({"class_name": "Conv2D"}), custom({"class_name": "Custom>Conv2D"})
    (False, True)
    """
    names = (record.get("class_name"), record.get("registered_name"))
    module = str(record.get("module") or "keras").split(".")[0]
    return any(">" in str(name) for name in names) or module not in _PACKAGES


_PACKAGES: Final = frozenset({"keras", "tf_keras", "tensorflow", "builtins"})


def compute_dtype(config: Mapping[str, Any]) -> str:
    """Return the type of the tensors that a layer gives, as its policy says.

    >>> compute_dtype({"dtype": {"config": {"name": "mixed_float16"}}}), compute_dtype({})
    ('float16', 'float32')
    """
    policy = config.get("dtype")
    if isinstance(policy, Mapping):
        policy = (policy.get("config") or {}).get("name")
    return policy.removeprefix("mixed_") if isinstance(policy, str) else "float32"


def _record(layer: Mapping[str, Any], class_name: str, settings: Record) -> Record:
    config = layer["config"]
    record: Record = {"class_name": class_name}
    if "module" in layer:
        record = {"module": "keras.layers", **record}
    record["config"] = {"name": "", "trainable": config.get("trainable", True)}
    if "dtype" in config:
        record["config"]["dtype"] = copy.deepcopy(config["dtype"])
    record["config"] |= settings
    if "registered_name" in layer:
        record["registered_name"] = None
    return record


def _amounts(key: str, pads: tuple[AxisPads, ...], channels_first: bool, keras1: bool) -> Record:
    if keras1:
        return _keras1_amounts(key, pads, channels_first)
    if len(pads) == 1:
        amounts: Record = {key: list(pads[0])}
        return amounts | ({"data_format": "channels_first"} if channels_first else {})
    layout = "channels_first" if channels_first else "channels_last"
    return {key: [list(pair) for pair in pads], "data_format": layout}


def _keras1_amounts(key: str, pads: tuple[AxisPads, ...], channels_first: bool) -> Record:
    if len(pads) == 1:
        return {key: list(pads[0])}
    ordering = {"dim_ordering": "th" if channels_first else "tf"}
    if key == "cropping":
        return {key: [list(pair) for pair in pads], **ordering}
    if len(pads) == 2:
        return {key: [*pads[0], *pads[1]], **ordering}
    return {key: [before for before, _ in pads], **ordering}
