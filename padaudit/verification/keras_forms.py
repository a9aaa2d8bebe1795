"""What stands beside a rewritten Keras layer, read from the written model, in site's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from padaudit.formats.document import Document
from padaudit.formats.keras.dialect import class_name, modern_config
from padaudit.formats.keras.edit import record_at
from padaudit.formats.keras.places import Place
from padaudit.ir.op import Op
from padaudit.ir.site import PaddingSite, Window
from padaudit.padding.amounts import AxisPads

_DISTRIBUTED = "TimeDistributed"


class FormError(ValueError):
    """What stands beside a layer is no padding of its spatial axes; the text is one clause."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a layer in front of a site pads, or one behind it crops.

    Parameters
    ----------
    pads : tuple of AxisPads
        Per spatial axis.
    value : float
        With what.
    window : Window or None
        Where the amounts are computed: the window that they are computed for.
    """

    pads: tuple[AxisPads, ...]
    value: float = 0.0
    window: Window | None = None


def form_ahead(document: Document, before: Place, after: Place, site: PaddingSite) -> Form:
    """Return what is padded in front of a rewritten layer by a layer that was not there before.

    Parameters
    ----------
    document : Document
        The rewritten model.
    before, after : Place
        The layer's place in the original and in the rewritten model.
    site : PaddingSite
        The layer in the rewritten model.

    Raises
    ------
    FormError
        If an axis is padded that is none of the site's.
    """
    return _form(document, after, site, _new(before, after.graph.producer(after.source)))


def form_behind(document: Document, before: Place, after: Place, site: PaddingSite) -> Form:
    """Return what is cropped behind a rewritten layer; parameters as in `form_ahead`.

    Raises
    ------
    FormError
        If something else reads the layer's output, or another axis is cropped.
    """
    readers = {op.name: op for op, _, _ in after.graph.uses(after.op)}
    new = [op for op in readers.values() if _new(before, op) is not None]
    if new and (len(readers) > 1 or after.op.outputs[0] in after.graph.outputs):
        raise FormError(f"not only '{new[0].name}' reads the output of '{site.id}'")
    return _form(document, after, site, new[0] if new else None)


def _new(before: Place, op: Op | None) -> Op | None:
    """Return a layer that the original model does not have."""
    if op is None or op.name in {known.name for known in before.graph.ops()}:
        return None
    return op


def _form(document: Document, place: Place, site: PaddingSite, op: Op | None) -> Form:
    axes = [axis + place.frames for axis in site.spatial_axes]
    if op is None:
        return Form(((0, 0),) * len(axes))
    pads = _layer_pads(op.op_type, op.attributes)
    others = [axis for axis, pair in pads.items() if any(pair) and axis not in axes]
    if others:
        raise FormError(f"'{op.name}' changes axis {others[0]}, which is none of '{site.id}'")
    own = tuple(pads.get(axis, (0, 0)) for axis in axes)
    config = _innermost(op.attributes)
    if "kernel_size" not in config:
        return Form(own, _value(document, op))
    if set(pads) != set(axes):
        raise FormError(f"'{op.name}' pads the axes {sorted(pads)} where {axes} are meant")
    settings = (tuple(config[key]) for key in ("kernel_size", "strides", "dilation_rate"))
    return Form(((0, 0),) * len(axes), float(config["value"]), Window(*settings))


def _layer_pads(layer: str, config: Mapping[str, Any]) -> dict[int, AxisPads]:
    """Return (before, after) by axis of the tensor that a layer reads, batch axis first."""
    if layer == _DISTRIBUTED:
        inner = config["layer"]
        name = class_name(inner["class_name"])
        inside = _layer_pads(name, modern_config(name, inner["config"]))
        return {axis + 1: pair for axis, pair in inside.items()}
    if layer == "Pad":
        return {axis: (pair[0], pair[1]) for axis, pair in enumerate(config["pad_width"])}
    first = 2 if config.get("data_format") == "channels_first" else 1
    if layer == "SamePadding":
        return dict.fromkeys(range(first, first + len(config["kernel_size"])), (1, 1))
    rank = int(layer[-2])
    amounts = _pairs(config["padding" if layer.startswith("ZeroPadding") else "cropping"], rank)
    return {first + axis: pair for axis, pair in enumerate(amounts)}


def _pairs(amounts: Sequence[Any], rank: int) -> list[AxisPads]:
    """Read amounts in the forms in which padaudit writes them."""
    if all(isinstance(item, int) for item in amounts):
        if len(amounts) == 2 * rank:
            return [(amounts[2 * i], amounts[2 * i + 1]) for i in range(rank)]
        return [(item, item) for item in amounts]
    return [(before, after) for before, after in amounts]


def _innermost(config: Mapping[str, Any]) -> Mapping[str, Any]:
    while isinstance(config.get("layer"), Mapping):
        config = config["layer"]["config"]
    return config


def _value(document: Document, op: Op) -> float:
    if op.op_type != "Pad":
        return 0.0
    record = record_at(document.config, op.origin.path)  # type: ignore[attr-defined]
    value = record["inbound_nodes"][op.origin.call]["kwargs"].get("constant_values")
    return float(value or 0.0)
