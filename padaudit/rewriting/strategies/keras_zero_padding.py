"""Keras: a ZeroPadding layer in front of the layer, whose own padding becomes "valid"."""

from __future__ import annotations

from typing import Final

from padaudit.formats.keras.edit import Insertion
from padaudit.formats.keras.places import Place
from padaudit.formats.keras.records import Record, padding_record, time_distributed
from padaudit.ir.site import Family, PaddingSite
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.keras_case import (
    Host,
    KerasCase,
    amounts_missing,
    channels_first,
    growth,
    in_frames,
    not_kerass_own,
    start_disputed,
    tensor_pads,
)

_MAX_RANK: Final = 3
_CHANNELS_FIRST_1D: Final = (3, 5)


def refuse(case: KerasCase) -> str | None:
    """Return why a layer can't get a ZeroPadding layer, or None if it can."""
    reason = not_kerass_own(case) or start_disputed(case) or amounts_missing(case)
    if reason or not case.pads_something:
        return reason
    return _zeros_are_wrong(case) or _mask_lost(case) or _no_layer_for_it(case)


def insertion(edit: Edit, place: Place, host: Host) -> Insertion | None:
    """Return the ZeroPadding layer for a site; None where nothing is padded."""
    if not edit.adds_padding:
        return None
    pads = edit.pads or ()
    record = in_frames(host, _record(edit.site, host, pads), place.frames)
    grown = growth(tensor_pads(edit.site, place, pads))
    return Insertion(place.origin.path, place.origin.call, record, grown)


def _zeros_are_wrong(case: KerasCase) -> str | None:
    if case.site.family is Family.AVG_POOL:
        return (
            "a Keras average pool leaves the padding out of its divisor, which no padding layer "
            "in front of it can say (written as ONNX it is exact: -o NAME.onnx)"
        )
    if case.site.family is not Family.MAX_POOL:
        return None
    if case.signs.non_negative(case.place.graph, case.place.source):
        return None
    return (
        "a max pool ignores its padding, and zeros in its place would win over the negative "
        "values that its input may have"
    )


def _mask_lost(case: KerasCase) -> str | None:
    if case.site.family is not Family.CONV_LSTM:
        return None
    maker = case.flow.mask_of(case.place.graph, case.place.source)
    return (
        f"the mask of '{maker}' reaches it, which a ZeroPadding layer would drop" if maker else None
    )


def _no_layer_for_it(case: KerasCase) -> str | None:
    unequal = any(before != after for before, after in case.site.pads or ())
    if case.keras1 and case.rank == _MAX_RANK and unequal:
        return "ZeroPadding3D of Keras 1 can't pad unequally"
    if case.rank == 1 and channels_first(case.site) and not _leading(case.site):
        if case.version < (3, 0):
            return "ZeroPadding1D of Keras 1 and 2 has no channels_first"
        if case.version < _CHANNELS_FIRST_1D:
            return "ZeroPadding1D has channels_first only from Keras 3.5 on"
    return None


def _leading(site: PaddingSite) -> bool:
    """Tell whether the layer itself (ConvLSTM) has a time axis in front of the spatial ones."""
    return site.family is Family.CONV_LSTM


def _record(site: PaddingSite, host: Host, pads: tuple[AxisPads, ...]) -> Record:
    spelling = channels_first(site), host.keras1
    record = padding_record(host.record, pads, *spelling)
    if not _leading(site):
        return record
    if len(pads) == _MAX_RANK or host.keras1:
        return time_distributed(host.record, record, host.modern)
    # The axis in front of the spatial ones is that of time, or of the channels.
    return padding_record(host.record, ((0, 0), *pads), *spelling)
