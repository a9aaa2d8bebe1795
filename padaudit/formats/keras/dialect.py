"""Keras 1 layer configs in the words of Keras 2: the one place that knows the old names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_CLASSES: Final[dict[str, str]] = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "SeparableConvolution1D": "SeparableConv1D",
    "SeparableConvolution2D": "SeparableConv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconvolution3D": "Conv3DTranspose",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "Deconv3D": "Conv3DTranspose",
}
_RENAMED: Final[dict[str, str]] = {
    "border_mode": "padding",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample": "strides",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "stride": "strides",
    "output_dim": "units",
    "input_dtype": "dtype",
}
_KERNEL_PARTS: Final = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
_DATA_FORMATS: Final[dict[str, str]] = {"tf": "channels_last", "th": "channels_first"}
_KEYS_1: Final = frozenset({"border_mode", "dim_ordering", "init", "nb_filter", "subsample"})
_SEQUENCES: Final = frozenset({"TensorShape", "__tuple__", "__list__"})
_SPELLINGS: Final = ("padding", "border_mode")


def class_name(raw: str) -> str:
    """Return a layer's class name without its package, in today's spelling.

    >>> class_name("Convolution2D"), class_name("Custom>SamePad")
    ('Conv2D', 'SamePad')
    """
    short = raw.rsplit(">", 1)[-1]
    return _CLASSES.get(short, short)


def modern_config(layer_class: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer's config with Keras 1 keys and values in their Keras 2 form.

    Parameters
    ----------
    layer_class : str
        Today's class name, see `class_name`.
    config : Mapping
        The config as it stands in the file; it is not changed.
    """
    modern = {_rename(key, layer_class): plain_value(value) for key, value in config.items()}
    for parts in _KERNEL_PARTS:
        if all(part in config for part in parts):
            modern["kernel_size"] = [config[part] for part in parts]
    ordering = config.get("dim_ordering")
    if ordering in _DATA_FORMATS:
        modern["data_format"] = _DATA_FORMATS[ordering]
    if isinstance(modern.get("padding"), str):
        modern["padding"] = modern["padding"].lower()
    return modern


def is_keras1(raw: str, config: Mapping[str, Any]) -> bool:
    """Tell whether a layer's class or its settings have names that only Keras 1 had.

    >>> is_keras1("Convolution2D", {}), is_keras1("Conv2D", {"padding": "same"})
    (True, False)
    """
    return raw in _CLASSES or not _KEYS_1.isdisjoint(config)


def plain_value(value: Any) -> Any:
    """Return a shape or tuple that was written as an object as a list.

    >>> plain_value({"class_name": "TensorShape", "items": [None, 28, 28, 1]})
    [None, 28, 28, 1]
    """
    if isinstance(value, Mapping) and value.get("class_name") in _SEQUENCES:
        items = value.get("items")
        return items if isinstance(items, list) else value
    return value


def padding_key(config: Mapping[str, Any]) -> str:
    """Return the key under which a layer's own config declares its padding.

    >>> padding_key({"border_mode": "same"}), padding_key({})
    ('border_mode', 'padding')
    """
    return next((key for key in reversed(_SPELLINGS) if key in config), "padding")


def _rename(key: str, layer_class: str) -> str:
    if key == "output_dim" and layer_class == "Embedding":
        return key
    return _RENAMED.get(key, key)
