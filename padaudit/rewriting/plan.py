"""Which sites become explicit, how, and why the others stay."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final

from padaudit.formats.document import Document
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Edit, Kept, Plan
from padaudit.rewriting.strategies import STRATEGIES

STYLES: Final[dict[str, frozenset[str]]] = {
    "pad": frozenset({"keras_zero_padding", "onnx_pad_conv"}),
    "attrs": frozenset({"onnx_pads_attribute"}),
}
"""The strategies that each ``--style`` may use."""


def make_plan(document: Document, sites: Sequence[PaddingSite], style: str) -> Plan:
    """Decide about every implicit site.

    Parameters
    ----------
    document : Document
        The model's definition.
    sites : sequence of PaddingSite
        All sites of the model.
    style : str
        ``pad`` or ``attrs``.
    """
    decisions = [_decide(document, site, style) for site in sites if site.implicit]
    stated = {_place(site): site.id for site in sites if not site.implicit}
    decisions = [_unless_stated(item, stated) for item in decisions]
    decisions = _agree_by(decisions, _place)
    decisions = _agree_by(decisions, _owner, same_pads=False)
    edits = tuple(item for item in decisions if isinstance(item, Edit))
    kept = tuple(item for item in decisions if isinstance(item, Kept))
    return Plan(edits, kept)


def _decide(document: Document, site: PaddingSite, style: str) -> Edit | Kept:
    if not site.strategies:
        return Kept(site, site.kept)
    usable = [name for name in site.strategies if name in STYLES[style]]
    if not usable:
        return Kept(site, f"--style {style} has no form for {site.op.op_type} in this format")
    reason = _amounts_missing(site) or STRATEGIES[usable[0]].refuse(document, site)
    if reason or site.pads is None:
        return Kept(site, reason or "its amounts are not known")
    return Edit(site, usable[0], site.pads)


def _amounts_missing(site: PaddingSite) -> str | None:
    if site.pads is not None:
        return None
    if site.by_remainder:
        return (
            "its input size is open and its stride is larger than 1, so the amounts change "
            "with the size; fix the size with --input-shape"
        )
    return f"its input size is not known: {site.unresolved or 'inference stopped before it'}"


def _unless_stated(decision: Edit | Kept, stated: Mapping[Hashable, str]) -> Edit | Kept:
    """Keep a site whose node is explicit where another call gives it other attributes."""
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
    owner: Hashable = getattr(site.op.origin, "path", site.op.origin)
    return owner


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
