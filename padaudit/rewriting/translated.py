"""A translated Keras model: its marked operators made explicit, and reported by layer.

What "same" becomes in ONNX is decided and written by the strategies for ONNX. Here each node is
put down to the Keras site that it is an application of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from padaudit.formats.keras.translation.marks import Mark
from padaudit.ir.site import Family, PaddingSite
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.edit import Applied, Edit, Kept, Plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import PAD, Wishes, make_plan
from padaudit.rewriting.run import Loaded
from padaudit.rewriting.strategies import STRATEGIES

ATTRIBUTE: Final = "onnx_pads_attribute"
_PER_CELL: Final = frozenset({Family.CONV_LSTM})
"""The families whose layers hold several convolutions, not all of one form."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A translation with explicit padding.

    Parameters
    ----------
    applied : Applied
        The ONNX model.
    plan : Plan
        What was done to the translation, by its own sites.
    report : Plan
        The same by the sites of the Keras model.
    created : dict
        Name of the Pad node by site id of the report.
    contradiction : str or None
        Where the translation is not what the Keras model says, one clause.
    """

    applied: Applied
    plan: Plan
    report: Plan
    created: dict[str, str]
    contradiction: str | None


@dataclass(frozen=True, slots=True)
class _Node:
    """A marked operator: what it is in the Keras model, and in the translation."""

    mark: Mark
    owner: PaddingSite | None
    site: PaddingSite | None


def settle(model: Loaded, translated: Loaded, marks: Sequence[Mark], options: Options) -> Settled:
    """Make a translation explicit.

    Parameters
    ----------
    model : Loaded
        The Keras model.
    translated : Loaded
        Its translation, in which "same" is ``auto_pad``.
    marks : sequence of Mark
        What its padded operators are.
    options : Options
        How to rewrite.
    """
    nodes = _nodes(model.sites, translated.sites, marks)
    plan = _plan(translated, nodes, options)
    applied = apply_plan(translated.document, plan, translated.graph)
    report, created = _report(model.sites, nodes, plan, applied.created)
    return Settled(applied, plan, report, created, _contradiction(nodes))


def _nodes(
    keras: Sequence[PaddingSite], onnx: Sequence[PaddingSite], marks: Sequence[Mark]
) -> list[_Node]:
    by_path = {(*site.scope, site.op.name): site for site in keras}
    by_name = {site.op.name: site for site in onnx}
    return [_Node(mark, _owner(mark, by_path), by_name.get(mark.name)) for mark in marks]


def _owner(mark: Mark, sites: Mapping[tuple[str, ...], PaddingSite]) -> PaddingSite | None:
    """Return the Keras site that a mark belongs to: it may stand inside of its layer."""
    prefixes = (
        path[:length]
        for path in (mark.path, _uncopied(mark.path))
        for length in range(len(path), 0, -1)
    )
    return next((sites[prefix] for prefix in prefixes if prefix in sites), None)


def _uncopied(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path with the names that layers had before a Bidirectional of Keras 3 copied them.

    >>> _uncopied(("both", "backward", "backward_cell"))
    ('both', 'cell')
    """
    following = (*path[1:], "")
    return tuple(
        part.removeprefix("forward_").removeprefix("backward_")
        for part, then in zip(path, following, strict=True)
        if not (part == "backward" and then.startswith("backward_"))
    )


def _plan(translated: Loaded, nodes: Iterable[_Node], options: Options) -> Plan:
    """Plan the translation's own sites; ``--families`` speaks of the Keras layers."""
    wishes = Wishes(options.hoist, None, options.wishes.fold)
    plan = make_plan(translated.document, translated.sites, options.style, wishes, translated.graph)
    owners = {node.mark.name: node for node in nodes}
    edits: list[Edit] = []
    kept = list(plan.kept)
    for edit in [*plan.edits, *_causal(translated, plan, owners.values(), options.style)]:
        node = owners.get(edit.site.op.name)
        family = node.owner.family if node and node.owner else edit.site.family
        if options.families is None or family.value in options.families:
            edits.append(edit)
        elif edit.site.implicit:
            kept.append(Kept(edit.site, "its family is left out (--families)"))
    order = {site.id: place for place, site in enumerate(translated.sites)}
    edits.sort(key=lambda edit: order[edit.site.id])
    return Plan(tuple(edits), tuple(kept))


def _causal(translated: Loaded, plan: Plan, nodes: Iterable[_Node], style: str) -> list[Edit]:
    """Return the edits that give causal convolutions a Pad; their amounts are attributes so far."""
    planned = {edit.site.id for edit in plan.edits}
    return [
        Edit(node.site, PAD, node.site.pads)
        for node in nodes
        if node.site is not None
        and style != "attrs"
        and node.mark.operator == "Conv"
        and node.mark.pads is not None
        and node.site.id not in planned
        and STRATEGIES[PAD].refuse(translated.document, node.site) is None
    ]


def _report(
    keras: Sequence[PaddingSite], nodes: Sequence[_Node], plan: Plan, pads: Mapping[str, str]
) -> tuple[Plan, dict[str, str]]:
    everything: tuple[Edit | Kept, ...] = (*plan.edits, *plan.kept)
    done = {item.site.id: item for item in everything}
    mine: dict[str, list[_Node]] = {site.id: [] for site in keras}
    for node in nodes:
        if node.owner is not None:
            mine[node.owner.id].append(node)
    decisions = [_decision(site, mine[site.id], done) for site in keras if site.implicit]
    created = {
        site.id: pads[node.site.id]
        for site in keras
        for node in reversed(mine[site.id])
        if node.site is not None and node.site.id in pads
    }
    told = [node for site in keras if site.implicit for node in mine[site.id]]
    reported = {node.site.id for node in told if node.site is not None}
    rest = [item for key, item in done.items() if key not in reported]
    created |= {item.site.id: pads[item.site.id] for item in rest if item.site.id in pads}
    decisions += rest
    edits = tuple(item for item in decisions if isinstance(item, Edit))
    kept = tuple(item for item in decisions if isinstance(item, Kept))
    return Plan(edits, kept), {
        edit.site.id: created[edit.site.id] for edit in edits if edit.site.id in created
    }


def _decision(
    site: PaddingSite, nodes: Sequence[_Node], done: Mapping[str, Edit | Kept]
) -> Edit | Kept:
    """Say what became of a Keras site, given what became of its nodes."""
    if not nodes:
        return Kept(site, "Keras never runs it through its own operators, so it was not recognised")
    decided = [done[node.site.id] for node in nodes if node.site and node.site.id in done]
    blocked = next((item for item in decided if isinstance(item, Kept)), None)
    if blocked is not None:
        return Kept(site, blocked.reason)
    if all(node.site is None for node in nodes):
        return Edit(site, ATTRIBUTE, site.pads, "no result depends on it, so it was left out")
    edits = [item for item in decided if isinstance(item, Edit)]
    if not edits:
        return Edit(site, ATTRIBUTE, site.pads)
    pads = site.pads if site.family in _PER_CELL else edits[0].pads
    return Edit(site, edits[0].strategy, pads, edits[0].note)


def _contradiction(nodes: Iterable[_Node]) -> str | None:
    return next((reason for node in nodes if (reason := _contradicts(node))), None)


def _contradicts(node: _Node) -> str | None:
    """Compare a node with its mark, and with what the config says of its layer.

    The config is read independently of the process that left the mark.
    """
    keras, onnx = node.owner, node.site
    if onnx is not None and onnx.group != node.mark.group:
        return f"the translation of '{onnx.id}' has {onnx.group} groups, not {node.mark.group}"
    whole = keras is not None and node.mark.path == (*keras.scope, keras.op.name)
    if keras is None or onnx is None or keras.family in _PER_CELL or not whole:
        return None
    if node.mark.name != "/".join(node.mark.path):
        return None
    if keras.window != onnx.window:
        return f"the translation of '{keras.id}' has the window {onnx.window}, not {keras.window}"
    if keras.pads is not None and onnx.pads is not None and keras.pads != onnx.pads:
        return f"the translation of '{keras.id}' has the amounts {onnx.pads}, not {keras.pads}"
    return None
