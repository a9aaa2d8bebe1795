"""Which sites become explicit, how, and why the others stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from padaudit.formats.document import Document
from padaudit.ir.graph import Graph
from padaudit.ir.site import Family, Padding, PaddingSite
from padaudit.ir.walk import graph_of_op
from padaudit.rewriting.edit import Edit, Kept, Plan
from padaudit.rewriting.strategies import STRATEGIES
from padaudit.rewriting.strategies.declared import VARYING
from padaudit.rewriting.strategies.onnx_fold_pad import fold
from padaudit.rewriting.strategies.onnx_sliced_pool import NOTE as SLICED_NOTE

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument

PAD: Final = "onnx_pad"
COMPUTED: Final = "onnx_computed_pad"
SLICED: Final = "onnx_sliced_pool"
AUTO: Final = "auto"
STYLES: Final[dict[str, tuple[str, ...]]] = {
    "pad": (PAD, COMPUTED, "onnx_pads_attribute", SLICED),
    "attrs": ("onnx_pads_attribute", PAD, COMPUTED, SLICED),
}
"""ONNX strategies by ``--style``, the preferred ones first; `AUTO` is the order of the table."""
_FORMS: Final = {
    "pad": frozenset({PAD, COMPUTED}),
    "attrs": frozenset({"onnx_pads_attribute"}),
}
_WHEN_RUN: Final = frozenset({COMPUTED, SLICED})
"""What stands at another place for each size, so that no amounts can be told."""
_MAX_AMOUNT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a rewrite is to do beyond making implicit padding explicit.

    Parameters
    ----------
    hoist : str or None
        ``asymmetric`` or ``all``: explicit ``pads`` of convolutions go into Pad nodes too.
    families : frozenset of str, or None
        The families to rewrite; None for all.
    fold : bool
        Whether constant zero Pads go into the convolution that alone reads them.
    open_layers : bool
        Keras: whether `padaudit.keras.SamePadding` may be used for open sizes.
    """

    hoist: str | None = None
    families: frozenset[str] | None = None
    fold: bool = False
    open_layers: bool = False


def make_plan(
    document: Document,
    sites: Sequence[PaddingSite],
    style: str,
    wishes: Wishes | None = None,
    graph: Graph | None = None,
) -> Plan:
    """Decide about every implicit site.

    Parameters
    ----------
    document : Document
        The model's definition.
    sites : sequence of PaddingSite
        All sites of the model.
    style : str
        A key of `STYLES`, or `AUTO`: for each operator the form that costs nothing in
        onnxruntime, a Pad in front of a Conv and the pads attribute elsewhere.
    wishes : Wishes, optional
        What else to do.
    graph : Graph, optional
        The model's graph, for what depends on an operator's neighbours; Keras needs it.
    """
    wanted = wishes or Wishes()
    if document.format == "onnx":
        decisions = _onnx_decisions(document, sites, style, wanted, graph)  # type: ignore[arg-type]
    else:
        decisions = _keras_decisions(document, sites, wanted, graph)
    edits = tuple(item for item in decisions if isinstance(item, Edit))
    kept = tuple(item for item in decisions if isinstance(item, Kept))
    return Plan(edits, kept)


def _keras_decisions(
    document: Document, sites: Sequence[PaddingSite], wishes: Wishes, graph: Graph | None
) -> list[Edit | Kept]:
    from padaudit.rewriting.keras_plan import keras_decisions

    if graph is None:
        raise TypeError("a plan for a Keras model needs its graph")
    wanted = partial(_wanted, wishes=wishes)
    return keras_decisions(document, graph, sites, wanted, wishes.open_layers)  # type: ignore[arg-type]


def _onnx_decisions(
    document: OnnxDocument,
    sites: Sequence[PaddingSite],
    style: str,
    wishes: Wishes,
    graph: Graph | None,
) -> list[Edit | Kept]:
    decisions = [_decide(document, site, style, wishes) for site in sites if site.implicit]
    decisions += [_hoist(document, site) for site in sites if _to_hoist(site, wishes)]
    if wishes.fold and graph is not None:
        decisions = _folded(document, sites, decisions, graph, wishes)
    order = {site.id: place for place, site in enumerate(sites)}
    return sorted(decisions, key=lambda item: order[item.site.id])


def _decide(document: Document, site: PaddingSite, style: str, wishes: Wishes) -> Edit | Kept:
    if not site.strategies:
        return Kept(site, site.kept)
    if not _wanted(site, wishes):
        return Kept(site, "its family is left out (--families)")
    order = site.strategies if style == AUTO else STYLES[style]
    usable = [name for name in order if name in site.strategies]
    if not usable:
        return Kept(site, f"--style {style} has no form for {site.op.op_type} in this format")
    if site.window is None:
        return Kept(site, site.unresolved or "its kernel is not known")
    if max((max(pair) for pair in site.pads or ()), default=0) > _MAX_AMOUNT:
        return Kept(site, f"its amounts {site.pads} are larger than any tensor")
    reasons: list[str] = []
    for name in usable:
        reason = STRATEGIES[name].refuse(document, site)
        if reason is None:
            pads = None if name in _WHEN_RUN else site.lasting_pads
            return Edit(site, name, pads, _note(style, name, reasons))
        reasons.append(reason)
    telling = [reason for reason in reasons if not reason.startswith(VARYING)]
    return Kept(site, "; ".join(dict.fromkeys(telling or reasons)))


def _note(style: str, name: str, reasons: Sequence[str]) -> str:
    """Say why a site gets another form than the style's own, and what an unusual form costs."""
    if name == SLICED:
        return SLICED_NOTE
    if style == AUTO or name in _FORMS[style] or not reasons:
        return ""
    return f"it has not the form of --style {style}: {reasons[0]}"


def _folded(
    document: OnnxDocument,
    sites: Sequence[PaddingSite],
    decisions: Sequence[Edit | Kept],
    graph: Graph,
    wishes: Wishes,
) -> list[Edit | Kept]:
    """Fold Pads into convolutions that are explicit, or become so by attribute."""
    from padaudit.formats.onnx.constants import Constants

    constants, holders = Constants(document.model), graph_of_op(graph)
    by_site = {item.site.id: item for item in decisions}
    for site in sites:
        decided = by_site.get(site.id)
        attribute = isinstance(decided, Edit) and decided.strategy == "onnx_pads_attribute"
        if _wanted(site, wishes) and (attribute or (decided is None and not site.implicit)):
            edit = fold(constants, holders[id(site.op)], site)
            if edit is not None:
                by_site[site.id] = edit
    return list(by_site.values())


def _wanted(site: PaddingSite, wishes: Wishes) -> bool:
    return wishes.families is None or site.family.value in wishes.families


def _to_hoist(site: PaddingSite, wishes: Wishes) -> bool:
    pads, hoist = site.pads or (), wishes.hoist
    if hoist is None or site.implicit or site.family is not Family.CONV:
        return False
    if (
        not _wanted(site, wishes)
        or site.padding is not Padding.EXPLICIT
        or min((min(pair) for pair in pads), default=0) < 0
    ):
        return False
    return any(map(any, pads)) and (hoist == "all" or any(a != b for a, b in pads))


def _hoist(document: Document, site: PaddingSite) -> Edit | Kept:
    reason = STRATEGIES[PAD].refuse(document, site)
    return Kept(site, reason) if reason else Edit(site, PAD, site.pads)
