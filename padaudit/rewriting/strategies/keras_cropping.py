"""Keras: a Cropping layer behind a transposed convolution whose padding becomes "valid"."""

from __future__ import annotations

from typing import Final

from padaudit.formats.keras.edit import Insertion
from padaudit.formats.keras.places import Place
from padaudit.formats.keras.records import cropping_record
from padaudit.formats.keras.training import trained_outputs
from padaudit.ir.site import PaddingSite
from padaudit.padding.amounts import AxisPads, keras_valid_crop
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.keras_case import (
    Host,
    KerasCase,
    channels_first,
    growth,
    in_frames,
    not_kerass_own,
    tensor_pads,
)

_LAST_AXIS: Final = frozenset({"softmax", "log_softmax", "sparsemax", "glu"})


def refuse(case: KerasCase) -> str | None:
    """Return why a layer can't get a Cropping layer behind it, or None if it can."""
    return not_kerass_own(case) or _unlike_its_crop(case) or _no_layer_for_it(case)


def insertion(edit: Edit, place: Place, host: Host) -> Insertion | None:
    """Return the Cropping layer for a site; None where the two outputs are equally long."""
    site = edit.site
    crops = valid_crops(site)
    if not any(map(any, crops)):
        return None
    record = cropping_record(host.record, crops, channels_first(site), host.keras1)
    return Insertion(
        place.origin.path,
        place.origin.call,
        in_frames(host, record, place.frames),
        growth(tensor_pads(site, place, crops)),
        "crop",
        behind=True,
        shape=_output_shape(place),
    )


def valid_crops(site: PaddingSite) -> tuple[AxisPads, ...]:
    """Return what is cropped behind the "valid" form, per spatial axis."""
    window = site.window
    if window is None:
        return ()
    extra = site.op.attributes.get("output_padding")
    extras = [extra] * window.rank if extra is None or isinstance(extra, int) else list(extra)
    axes = zip(window.kernel_shape, window.strides, window.dilations, extras, strict=True)
    return tuple(keras_valid_crop(*axis) for axis in axes)


def _unlike_its_crop(case: KerasCase) -> str | None:
    config = case.record["config"]
    if config.get("output_shape") is not None:
        return "its output_shape stands in the layer, and 'valid' would need another one"
    if config.get("activity_regularizer"):
        return "its activity regularizer would count what is cropped, so that training changes"
    activation = config.get("activation")
    if activation is not None and not isinstance(activation, str):
        return "its activation is no function that padaudit knows to work element by element"
    if activation and ">" in activation:
        return f"its activation {activation} may depend on what is cropped"
    if activation in _LAST_AXIS and channels_first(case.site):
        return f"its activation {activation} works along an axis that is cropped"
    return None


def _no_layer_for_it(case: KerasCase) -> str | None:
    if case.rank == 1 and channels_first(case.site):
        return "Cropping1D has no channels_first"
    name = case.host.get("name") or case.host["config"].get("name")
    place = case.place
    ends = place.outer is None and place.op.outputs[0] in place.graph.outputs
    if ends and name in trained_outputs(case.document):
        return "the training configuration refers to this output by the layer's name"
    return None


def _output_shape(place: Place) -> tuple[int | None, ...] | None:
    shape = place.graph.tensor(place.op.outputs[0]).shape
    if shape is None:
        return None
    return tuple(size if isinstance(size, int) else None for size in shape)
