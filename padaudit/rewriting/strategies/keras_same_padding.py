"""Keras 3: a `padaudit.keras.SamePadding` layer, which computes amounts from the size it gets."""

from __future__ import annotations

from typing import Any

from padaudit.formats.keras.edit import Insertion
from padaudit.formats.keras.places import Place
from padaudit.formats.keras.records import LOWEST, compute_dtype, same_padding_record
from padaudit.ir.site import Family, Padding
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.keras_case import (
    Host,
    KerasCase,
    channels_first,
    growth,
    in_frames,
    not_kerass_own,
    start_disputed,
    tensor_pads,
)


def refuse(case: KerasCase) -> str | None:
    """Return why a layer can't get a SamePadding layer, or None if it can."""
    site = case.site
    if site.has_unknown_size:
        return f"its input size is not known: {site.unresolved or 'inference stopped before it'}"
    if case.version < (3, 0):
        return "padaudit.keras.SamePadding is a layer of Keras 3, and the file is older"
    if site.padding is not Padding.SAME_UPPER:
        return "padaudit.keras.SamePadding computes the amounts of 'same'"
    if site.family is Family.MAX_POOL and compute_dtype(case.host["config"]) not in LOWEST:
        return "its type has no least floating-point number to pad with"
    return not_kerass_own(case) or start_disputed(case)


def insertion(edit: Edit, place: Place, host: Host) -> Insertion | None:
    """Return the SamePadding layer for a site."""
    site, window = edit.site, edit.site.window
    if window is None:
        return None
    settings: dict[str, Any] = {
        "kernel_size": list(window.kernel_shape),
        "strides": list(window.strides),
        "dilation_rate": list(window.dilations),
        "data_format": "channels_first" if channels_first(site) else "channels_last",
        "value": 0.0,
    }
    if site.family is Family.MAX_POOL:
        settings["value"] = LOWEST[compute_dtype(host.record["config"])]
    record = in_frames(host, same_padding_record(host.record, settings), place.frames)
    pads = [amount if isinstance(amount, tuple) else (0, 0) for amount in site.amounts]
    grown = growth(tensor_pads(site, place, pads))
    return Insertion(place.origin.path, place.origin.call, record, grown)
