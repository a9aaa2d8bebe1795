"""Which sites become explicit, how, and why the others stay."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from padaudit.formats.document import Document
from padaudit.ir.graph import Graph
from padaudit.ir.site import Family, Padding, PaddingSite
from padaudit.ir.walk import graph_of_op
from padaudit.rewriting.edit import Edit, Kept, Plan
from padaudit.rewriting.strategies import STRATEGIES
from padaudit.rewriting.strategies.declared import VARYING
from padaudit.rewriting.strategies.onnx_fold_pad import fold

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument

PAD: Final = "onnx_pad"
COMPUTED: Final = "onnx_computed_pad"
CEIL: Final = "onnx_ceil_mode"
AUTO: Final = "auto"
STYLES: Final[dict[str, tuple[str, ...]]] = {
    "pad": ("keras_zero_padding", PAD, COMPUTED, "onnx_pads_attribute", CEIL),
    "attrs": ("onnx_pads_attribute", CEIL, PAD, COMPUTED),
}
"""The strategies by ``--style``, the preferred ones first; `AUTO` is the order of the table."""
_FORMS: Final = {
    "pad": frozenset({"keras_zero_padding", PAD, COMPUTED}),
    "attrs": frozenset({"onnx_pads_attribute", CEIL}),
}
_BY_SIZE: Final = frozenset({COMPUTED, CEIL})
"""The strategies whose amounts depend on the size that the model is run with."""


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
    """

    hoist: str | None = None
    families: frozenset[str] | None = None
    fold: bool = False


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
        The model's graph, for what depends on an operator's neighbours.
    """
    wanted = wishes or Wishes()
    decisions = [_decide(document, site, style, wanted) for site in sites if site.implicit]
    if document.format == "onnx":
        decisions += [_hoist(document, site) for site in sites if _to_hoist(site, wanted)]
        if wanted.fold and graph is not None:
            decisions = _folded(document, sites, decisions, graph, wanted)  # type: ignore[arg-type]
        order = {site.id: place for place, site in enumerate(sites)}
        decisions.sort(key=lambda item: order[item.site.id])
    else:
        decisions = _agree(decisions, sites)
    edits = tuple(item for item in decisions if isinstance(item, Edit))
    kept = tuple(item for item in decisions if isinstance(item, Kept))
    return Plan(edits, kept)


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
        reason = _amounts_missing(site, name) or STRATEGIES[name].refuse(document, site)
        if reason is None:
            pads = None if name in _BY_SIZE else site.pads
            return Edit(site, name, pads, _note(style, name, reasons))
        reasons.append(reason)
    telling = [reason for reason in reasons if not reason.startswith(VARYING)]
    return Kept(site, "; ".join(dict.fromkeys(telling or reasons)))


def _note(style: str, name: str, reasons: Sequence[str]) -> str:
    """Say why a site gets another form than the style's own."""
    return "" if style == AUTO or name in _FORMS[style] or not reasons else reasons[0]


def _amounts_missing(site: PaddingSite, strategy: str) -> str | None:
    if site.framework == "onnx" or site.pads is not None:
        return None
    if site.by_remainder:
        return (
            "its input size is open and its stride is larger than 1, so the amounts change "
            "with the size; fix the size with --input-shape"
        )
    return f"its input size is not known: {site.unresolved or 'inference stopped before it'}"


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


def _agree(decisions: Sequence[Edit | Kept], sites: Sequence[PaddingSite]) -> list[Edit | Kept]:
    """Keep what several calls share in a Keras model unless all of them want the same."""
    stated = {_place(site): site.id for site in sites if not site.implicit}
    agreed = [_unless_stated(item, stated) for item in decisions]
    agreed = _agree_by(agreed, _place)
    return _agree_by(agreed, _owner, same_pads=False)


def _unless_stated(decision: Edit | Kept, stated: Mapping[Hashable, str]) -> Edit | Kept:
    """Keep a site whose layer is explicit where another call gives it other settings."""
    other = stated.get(_place(decision.site))
    if other is None or isinstance(decision, Kept):
        return decision
    return Kept(decision.site, f"it is shared with '{other}', where its padding is not implicit")


def _place(site: PaddingSite) -> Hashable:
    """One application in the document, which several calls of its model may share."""
    place: Hashable = site.op.origin
    return place


def _owner(site: PaddingSite) -> Hashable:
    """What holds the declared padding: a Keras layer has one for all of its calls."""
    owner: Any = getattr(site.op.origin, "path", site.op.origin)
    return owner  # type: ignore[no-any-return]


def _agree_by(
    decisions: Sequence[Edit | Kept],
    key: Callable[[PaddingSite], Hashable],
    same_pads: bool = True,
) -> list[Edit | Kept]:
    """Keep a whole group where one member is kept, or where its members want unequal pads."""
    groups: dict[Hashable, list[Edit | Kept]] = {}
    for decision in decisions:
        groups.setdefault(key(decision.site), []).append(decision)
    replaced: dict[int, Kept] = {}
    for members in groups.values():
        reason = _conflict(members, same_pads)
        if reason:
            replaced |= {
                id(item): Kept(item.site, reason) for item in members if isinstance(item, Edit)
            }
    return [replaced.get(id(decision), decision) for decision in decisions]


def _conflict(members: Sequence[Edit | Kept], same_pads: bool) -> str | None:
    blocked = next((item for item in members if isinstance(item, Kept)), None)
    if blocked is not None:
        return f"it is shared with '{blocked.site.id}', which stays because {blocked.reason}"
    if same_pads and len({item.pads for item in members if isinstance(item, Edit)}) > 1:
        names = ", ".join(f"'{item.site.id}'" for item in members)
        return f"it is shared by {names}, which need different amounts"
    return None
