"""The records of ZeroPadding layers, in the dialect of the layer that they precede."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from padaudit.padding.amounts import AxisPads


def padding_record(
    layer: Mapping[str, Any], pads: tuple[AxisPads, ...], channels_first: bool
) -> dict[str, Any]:
    """Return a layer record (without name and calls) that pads with zeros.

    Parameters
    ----------
    layer : Mapping
        The record of the layer that follows; its dialect and dtype policy are taken over.
    pads : tuple of AxisPads
        (before, after) per spatial axis.
    channels_first : bool
        Whether the channel axis precedes the spatial ones.
    """
    config = layer["config"]
    record: dict[str, Any] = {"class_name": f"ZeroPadding{len(pads)}D"}
    if "module" in layer:
        record = {"module": "keras.layers", **record}
    record["config"] = {"name": "", "trainable": config.get("trainable", True)}
    if "dtype" in config:
        record["config"]["dtype"] = copy.deepcopy(config["dtype"])
    record["config"] |= _amounts(config, pads, channels_first)
    if "registered_name" in layer:
        record["registered_name"] = None
    shape = (layer.get("build_config") or {}).get("input_shape")
    if shape is not None:
        record["build_config"] = {"input_shape": list(shape)}
    return record


def _amounts(
    config: Mapping[str, Any], pads: tuple[AxisPads, ...], channels_first: bool
) -> dict[str, Any]:
    if "border_mode" in config:
        return _keras1_amounts(pads, channels_first)
    if len(pads) == 1:
        amounts: dict[str, Any] = {"padding": list(pads[0])}
        return amounts | ({"data_format": "channels_first"} if channels_first else {})
    layout = "channels_first" if channels_first else "channels_last"
    return {"padding": [list(pair) for pair in pads], "data_format": layout}


def _keras1_amounts(pads: tuple[AxisPads, ...], channels_first: bool) -> dict[str, Any]:
    if len(pads) == 1:
        return {"padding": list(pads[0])}
    ordering = {"dim_ordering": "th" if channels_first else "tf"}
    if len(pads) == 2:
        return {"padding": [*pads[0], *pads[1]], **ordering}
    return {"padding": [before for before, _ in pads], **ordering}
