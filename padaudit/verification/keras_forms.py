"""What stands beside a rewritten Keras layer, read from the written model, in site's terms.

Between two rewritten layers may stand what belongs to the first (a crop), to the second
(padding), and what was there before: what is new and pads belongs to the layer behind it, what
is new and crops to the one in front of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from padaudit.formats.document import Document
from padaudit.formats.keras.dialect import class_name, modern_config
from padaudit.formats.keras.edit import record_at
from padaudit.formats.keras.places import Place
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Family, PaddingSite, Window
from padaudit.padding.amounts import AxisPads

_DISTRIBUTED: Final = "TimeDistributed"
_PADS: Final = ("ZeroPadding", "SamePadding", "Pad")
_CROPS: Final = ("Cropping",)


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
    return _form(document, after, site, _ahead(before, after))


def form_behind(document: Document, before: Place, after: Place, site: PaddingSite) -> Form:
    """Return what is cropped behind a rewritten layer; parameters as in `form_ahead`.

    Raises
    ------
    FormError
        If something else reads the layer's output, or another axis is cropped.
    """
    new = _behind(before, after)
    readers = {op.name for op, _, _ in after.graph.uses(after.op)}
    if new and (len(readers) > 1 or after.op.outputs[0] in after.graph.outputs):
        raise FormError(f"not only '{new.name}' reads the output of '{site.id}'")
    return _form(document, after, site, new)


def stray_layer(
    original: Graph, rewritten: Graph, sites: Iterable[tuple[Place, Place, Family]]
) -> Op | None:
    """Return a layer that is new and stands for none of the rewritten layers.

    Parameters
    ----------
    original, rewritten : Graph
        The two models.
    sites : iterable of (Place, Place, Family)
        Where the rewritten layers stand in them, and what they are.
    """
    owned = {id(op) for site in sites for op in _beside(*site)}
    return next((op for op in _new_ones(original, rewritten) if id(op) not in owned), None)


def _beside(before: Place, after: Place, family: Family) -> Iterator[Op | None]:
    yield _ahead(before, after)
    if family is Family.TRANSPOSED_CONV:
        yield _behind(before, after)


def _new_ones(original: Graph, rewritten: Graph) -> Iterator[Op]:
    known = _names(original)
    for op in rewritten.ops():
        if op.name not in known:
            yield op
            continue
        inside = original.nested.get(op.name, {})
        for label, inner in rewritten.nested.get(op.name, {}).items():
            if label in inside:
                yield from _new_ones(inside[label], inner)


def _ahead(before: Place, after: Place) -> Op | None:
    op = after.graph.producer(after.source)
    return op if op is not None and _new(before, op, _PADS) else None


def _behind(before: Place, after: Place) -> Op | None:
    readers = (op for op, _, _ in after.graph.uses(after.op))
    return next((op for op in readers if _new(before, op, _CROPS)), None)


def _new(before: Place, op: Op, kinds: tuple[str, ...]) -> bool:
    """Tell whether an operator is one of these layers and the original does not have it."""
    return _kind(op).startswith(kinds) and op.name not in _names(before.graph)


def _names(graph: Graph) -> Collection[str]:
    return {op.name for op in graph.ops()}


def _kind(op: Op) -> str:
    """Return the class of a layer, or of what it distributes over time steps."""
    name, config = op.op_type, op.attributes
    while name == _DISTRIBUTED:
        name, config = class_name(config["layer"]["class_name"]), config["layer"]["config"]
    return name


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
