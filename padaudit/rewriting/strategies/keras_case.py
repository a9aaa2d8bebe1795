"""What the strategies for Keras models decide on, and what they have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from padaudit.formats.keras.container import KerasDocument
from padaudit.formats.keras.edit import record_at
from padaudit.formats.keras.flow import Flow
from padaudit.formats.keras.places import Place, in_graph
from padaudit.formats.keras.records import Record, custom, time_distributed
from padaudit.formats.keras.shapes.wrappers import WRAPPERS
from padaudit.formats.keras.signs import Signs
from padaudit.ir.site import PaddingSite
from padaudit.padding.amounts import AxisPads
from padaudit.verification.known_errors import tensorflow_starts_late


@dataclass(frozen=True, slots=True)
class KerasCase:
    """A site of a Keras model, with all that a strategy may want to know.

    Parameters
    ----------
    document : KerasDocument
        The model's definition.
    site : PaddingSite
        The site.
    place : Place
        Where a layer for it can stand.
    signs : Signs
        Which tensors are never negative.
    flow : Flow
        Where tensors come from.
    """

    document: KerasDocument
    site: PaddingSite
    place: Place
    signs: Signs
    flow: Flow

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of the padded layer."""
        found: Mapping[str, Any] = record_at(self.document.config, self.site.op.origin.path)
        return found

    @property
    def host(self) -> Mapping[str, Any]:
        """The record of the layer, or of its outermost wrapper, that stands in the model."""
        found: Mapping[str, Any] = record_at(self.document.config, self.place.origin.path)
        return found

    @property
    def version(self) -> tuple[int, int]:
        """The version of Keras that wrote the file."""
        return keras_version(self.document)

    @property
    def keras1(self) -> bool:
        """Whether the layer is spelled as in Keras 1."""
        return _keras1(self.record)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.site.spatial_axes)

    @property
    def pads_something(self) -> bool:
        """Whether any element is padded, as far as is known."""
        return self.site.pads is None or any(map(any, self.site.pads))


@dataclass(frozen=True, slots=True)
class Host:
    """What a new layer stands beside.

    Parameters
    ----------
    record : Mapping
        The record of the layer, or of its outermost wrapper.
    modern : bool
        Whether Keras 3 wrote it, or Keras 2 in the form of Keras 3.
    keras1 : bool
        Whether the padded layer is spelled as in Keras 1.
    """

    record: Mapping[str, Any]
    modern: bool
    keras1: bool


def _keras1(record: Mapping[str, Any]) -> bool:
    return "border_mode" in record["config"]


def keras_version(document: KerasDocument) -> tuple[int, int]:
    """Return the version of Keras that wrote a file; that of Keras 1 where it says none."""
    numbers = re.findall(r"\d+", document.keras_version or "1.0")
    return int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0


def host_of(document: KerasDocument, config: Any, site: PaddingSite, place: Place) -> Host:
    """Return what a new layer for a site stands beside, in an edited config."""
    record = record_at(config, place.origin.path)
    modern = document.modernized or "module" in record or keras_version(document) >= (3, 0)
    return Host(record, modern, _keras1(record_at(config, site.op.origin.path)))


def not_kerass_own(case: KerasCase) -> str | None:
    """Return why nothing is known of a layer's padding, or None if it is one of Keras's."""
    if custom(case.record) or custom(case.host):
        return "it is a custom layer, whose padding only its own code knows"
    held = case.site.op.origin.path != case.place.origin.path
    strange = held and case.place.op.op_type not in WRAPPERS
    outer = case.place.outer
    while outer is not None:
        known = outer.op.op_type in WRAPPERS or "layers" in outer.op.attributes
        strange = strange or not known
        outer = outer.outer
    if strange or not in_graph(case.place.origin.path):
        return "it is inside a custom layer, whose code alone knows what it is called on"
    return None


def start_disputed(case: KerasCase) -> str | None:
    """Return why it can't be told where a layer's windows begin, or None if it can."""
    if not tensorflow_starts_late(case.site):
        return None
    return (
        "its windows leave out the end of an axis, where TensorFlow on CPU begins them later "
        "than it does on GPU and than other backends do, so that it can't be told what is meant"
    )


def amounts_missing(case: KerasCase) -> str | None:
    """Return why there are no amounts that could be written, or None if there are."""
    site = case.site
    if site.pads is not None:
        return None
    if site.by_remainder:
        return (
            "its input size is open and its stride is larger than 1, so the amounts change with "
            "the size; fix the size with --input-shape, or let a layer of padaudit compute them "
            "with --open-sizes layer"
        )
    return f"its input size is not known: {site.unresolved or 'inference stopped before it'}"


def channels_first(site: PaddingSite) -> bool:
    """Tell whether a layer has the channel axis before the spatial ones."""
    return site.op.attributes.get("data_format") == "channels_first"


def in_frames(host: Host, record: Record, frames: int) -> Record:
    """Wrap a new layer as often as the layer beside it is wrapped in TimeDistributed."""
    for _ in range(frames):
        record = time_distributed(host.record, record, host.modern)
    return record


def tensor_pads(site: PaddingSite, place: Place, pads: Sequence[AxisPads]) -> list[AxisPads]:
    """Return amounts for every axis of the tensor at a place, batch axis first."""
    axes = [axis + place.frames for axis in site.spatial_axes]
    full = [(0, 0)] * (axes[-1] + (1 if channels_first(site) else 2))
    for axis, pair in zip(axes, pads, strict=True):
        full[axis] = pair
    return full


def growth(pads: Sequence[AxisPads]) -> tuple[int, ...]:
    """Return by how much each axis grows."""
    return tuple(sum(pair) for pair in pads)
