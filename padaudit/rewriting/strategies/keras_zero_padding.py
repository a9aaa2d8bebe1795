"""Keras: a ZeroPadding layer in front of the layer, whose own padding becomes "valid"."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from padaudit.formats.keras.container import KerasDocument
from padaudit.formats.keras.dialect import padding_key
from padaudit.formats.keras.edit import Insertion, insert_before, record_at
from padaudit.formats.keras.read import LayerOrigin
from padaudit.formats.keras.records import padding_record
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Applied, Edit

_WRAPPER: Final = ("config", "layer")


def refuse(document: KerasDocument, site: PaddingSite) -> str | None:
    """Return why a layer can't get a ZeroPadding layer, or None if it can."""
    origin = site.op.origin
    if origin.path[-2:] == _WRAPPER:
        return "it is wrapped in another layer, where no ZeroPadding layer can stand before it"
    record = record_at(document.config, origin.path)
    if ">" in str(record.get("class_name")) or ">" in str(record.get("registered_name") or ""):
        return "it is a custom layer, whose padding only its own code knows"
    keras1 = "border_mode" in record["config"]
    if keras1 and len(site.pads or ()) == 3 and any(a != b for a, b in site.pads or ()):
        return "ZeroPadding3D of Keras 1 can't pad unequally"
    legacy = not (document.keras_version or "1").startswith("3")
    if legacy and site.op.op_type.endswith("1D") and _channels_first(site):
        return "ZeroPadding1D of Keras 1 and 2 has no channels_first"
    return None


def apply(document: KerasDocument, edits: Sequence[Edit]) -> Applied:
    """Return the document with ZeroPadding layers inserted; weights are not touched."""
    config = copy.deepcopy(document.config)
    insertions: dict[LayerOrigin, Insertion] = {}
    for edit in edits:
        origin = edit.site.op.origin
        layer = record_at(config, origin.path)
        layer["config"][padding_key(layer["config"])] = "valid"
        if edit.adds_padding and origin not in insertions:
            insertions[origin] = _insertion(layer, edit)
    names = insert_before(config, tuple(insertions.values()))
    created = {
        edit.site.id: names[edit.site.op.origin.path, edit.site.op.origin.call]
        for edit in edits
        if edit.adds_padding
    }
    return Applied(replace(document, config=config), created)


def _insertion(layer: Mapping[str, Any], edit: Edit) -> Insertion:
    origin, axes = edit.site.op.origin, edit.site.spatial_axes
    growth = [0] * (len(axes) + 2)
    for axis, pads in zip(axes, edit.pads or (), strict=True):
        growth[axis] = sum(pads)
    record = padding_record(layer, edit.pads or (), _channels_first(edit.site))
    return Insertion(origin.path, origin.call, record, tuple(growth))


def _channels_first(site: PaddingSite) -> bool:
    return site.op.attributes.get("data_format") == "channels_first"
