"""Keras 3: an operation that pads a max pool's input with the least number there is.

``keras.ops.pad`` as a node of a functional model. TensorFlow's max pool starts from the least
finite number of the type, so that padding with it changes no window, not even one of -inf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from padaudit.formats.keras.edit import Insertion, tensors_of
from padaudit.formats.keras.places import Place
from padaudit.formats.keras.records import LOWEST, pad_operation
from padaudit.ir.site import Family
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.keras_case import (
    Host,
    KerasCase,
    amounts_missing,
    growth,
    not_kerass_own,
    start_disputed,
    tensor_pads,
)


def refuse(case: KerasCase) -> str | None:
    """Return why no operation can stand in front of a pool, or None if it can."""
    reason = not_kerass_own(case) or start_disputed(case) or amounts_missing(case)
    if reason:
        return reason
    if case.site.family is not Family.MAX_POOL:
        return "padding with the least number is for max pools"
    call = _call(case.host, case.place)
    if case.document.format == "keras-h5" or call is None:
        return (
            "an operation that pads with the least number there is can stand only in a "
            "functional model of Keras 3 that is saved as .keras"
        )
    dtype = next(tensors_of(call))["config"].get("dtype")
    if dtype not in LOWEST:
        return f"its input is of type {dtype}, and an operation pads with floating-point numbers"
    return None


def insertion(edit: Edit, place: Place, host: Host) -> Insertion | None:
    """Return the operation for a pool."""
    pads = tensor_pads(edit.site, place, edit.pads or ())
    dtype = next(tensors_of(_call(host.record, place)))["config"]["dtype"]
    return Insertion(
        place.origin.path,
        place.origin.call,
        pad_operation(pads),
        growth(pads),
        arguments={"constant_values": LOWEST[dtype]},
    )


def _call(host: Mapping[str, Any], place: Place) -> Mapping[str, Any] | None:
    """Return the call of a layer in a functional model of Keras 3."""
    nodes = host.get("inbound_nodes") or []
    call = nodes[place.origin.call] if place.origin.call < len(nodes) else None
    return call if isinstance(call, Mapping) else None
