"""Which sites of a Keras model become explicit, how, and why the others stay."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from padaudit.formats.keras.flow import Flow
from padaudit.formats.keras.places import Place, places
from padaudit.formats.keras.signs import Signs
from padaudit.ir.graph import Graph
from padaudit.ir.site import Family, PaddingSite
from padaudit.rewriting.edit import Edit, Kept
from padaudit.rewriting.strategies import KERAS_STRATEGIES
from padaudit.rewriting.strategies.keras_case import KerasCase

if TYPE_CHECKING:
    from padaudit.formats.keras.container import KerasDocument

COMPUTED: Final = "keras_same_padding"
_RECURRENT: Final = (
    "its recurrent convolution stays as it is: inside the cell it pads with 'same' at stride 1, "
    "whatever the layer declares"
)
Decision = Edit | Kept


def keras_decisions(
    document: KerasDocument,
    graph: Graph,
    sites: Sequence[PaddingSite],
    wanted: Callable[[PaddingSite], bool],
    open_layers: bool,
) -> list[Decision]:
    """Decide about every implicit site of a Keras model.

    Parameters
    ----------
    document : KerasDocument
        The model's definition.
    graph : Graph
        Its graph.
    sites : sequence of PaddingSite
        All sites of the model.
    wanted : callable
        Whether a site is to be rewritten at all.
    open_layers : bool
        Whether `padaudit.keras.SamePadding` may be used for open sizes.
    """
    found, flow = places(graph), Flow(graph)
    signs = Signs(flow, document.config)
    where = {site.id: found[id(site.op)] for site in sites}
    decisions: list[Decision] = []
    for site in sites:
        if site.implicit:
            case = KerasCase(document, site, where[site.id], signs, flow)
            decisions.append(_decide(case, wanted(site), open_layers))
    return _noted(_agreed(decisions, sites, where))


def _decide(case: KerasCase, wanted: bool, open_layers: bool) -> Decision:
    site = case.site
    if not site.strategies:
        return Kept(site, site.kept)
    if not wanted:
        return Kept(site, "its family is left out (--families)")
    if site.window is None:
        return Kept(site, site.unresolved or "its kernel is not known")
    reasons: list[str] = []
    computed = open_layers and site.by_remainder and COMPUTED in site.strategies
    for name in site.strategies:
        if (name == COMPUTED) is not computed:
            continue
        reason = KERAS_STRATEGIES[name].refuse(case)
        if reason is None:
            pads = None if name == COMPUTED else site.pads
            return Edit(site, name, pads, place=case.place)
        reasons.append(reason)
    return Kept(site, "; ".join(dict.fromkeys(reasons)))


def _agreed(
    decisions: Sequence[Decision], sites: Sequence[PaddingSite], where: Mapping[str, Place]
) -> list[Decision]:
    """Keep what several calls share unless all of them want the same."""

    def place(site: PaddingSite) -> Hashable:
        origin: Hashable = where[site.id].origin
        return origin

    stated = {_owner(site): site.id for site in sites if not site.implicit}
    stated |= {place(site): site.id for site in sites if not site.implicit}
    agreed = [_unless_stated(item, stated, place) for item in decisions]
    agreed = _agree_by(agreed, place)
    return _agree_by(agreed, _owner, same_pads=False)


def _unless_stated(
    decision: Decision,
    stated: Mapping[Hashable, str],
    place: Callable[[PaddingSite], Hashable],
) -> Decision:
    """Keep a site whose layer is explicit where another call gives it other settings."""
    site = decision.site
    other = stated.get(_owner(site)) or stated.get(place(site))
    if other is None or isinstance(decision, Kept):
        return decision
    return Kept(site, f"it is shared with '{other}', where its padding is not implicit")


def _owner(site: PaddingSite) -> Hashable:
    """What holds the declared padding: a layer has one for all of its calls."""
    owner: Hashable = site.op.origin.path
    return owner


def _agree_by(
    decisions: Sequence[Decision],
    key: Callable[[PaddingSite], Hashable],
    same_pads: bool = True,
) -> list[Decision]:
    """Keep a whole group where one member is kept, or where its members want unequal pads."""
    groups: dict[Hashable, list[Decision]] = {}
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


def _conflict(members: Sequence[Decision], same_pads: bool) -> str | None:
    blocked = next((item for item in members if isinstance(item, Kept)), None)
    if blocked is not None:
        return f"it is shared with '{blocked.site.id}', which stays because {blocked.reason}"
    wishes = {(item.strategy, item.pads) for item in members if isinstance(item, Edit)}
    if same_pads and len(wishes) > 1:
        names = ", ".join(f"'{item.site.id}'" for item in members)
        return f"it is shared by {names}, which need different amounts"
    return None


def _noted(decisions: Sequence[Decision]) -> list[Decision]:
    """Say what is not to be seen in an edit alone."""
    calls: dict[Hashable, set[Hashable]] = {}
    for item in decisions:
        if isinstance(item, Edit) and item.place is not None:
            calls.setdefault(_owner(item.site), set()).add(item.place.origin)
    return [
        replace(item, note=_note(item, len(calls.get(_owner(item.site), ()))))
        if isinstance(item, Edit)
        else item
        for item in decisions
    ]


def _note(edit: Edit, calls: int) -> str:
    notes = []
    if edit.site.family is Family.CONV_LSTM:
        notes.append(_RECURRENT)
    if calls > 1 and edit.adds_padding:
        notes.append(f"the layer is called {calls} times, each with amounts of its own")
    return "; ".join(notes)
