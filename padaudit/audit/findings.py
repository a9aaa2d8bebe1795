"""Sites -> findings: which rules fire, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from padaudit.audit.backends import divergence_text, divergent
from padaudit.audit.predicates import PREDICATES
from padaudit.ir.dims import Dim
from padaudit.ir.graph import Graph
from padaudit.ir.site import PaddingSite
from padaudit.ir.walk import walk
from padaudit.padding.symbolic import AxisAmounts, ByRemainder
from padaudit.rules.load import catalogue, op_index
from padaudit.rules.schema import Fix, Rule, Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("note", "warning", "error")
_AXES: Final = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True, slots=True)
class Impact:
    """How far the outputs move if a port pads a site in another way (``check --impact``).

    Parameters
    ----------
    variant : str
        How it pads: ``symmetric`` is ``padding=k//2``.
    max_abs, mean_abs : float
        Largest and mean absolute difference of the outputs.
    top1_changed : float or None
        Which part of the inputs gets another class; None where the model is no classifier.
    """

    variant: str
    max_abs: float
    mean_abs: float
    top1_changed: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's verdict on a site (or on the whole model, where ``site`` is None)."""

    rule: str
    name: str
    severity: Severity
    site: str | None
    message: str
    help: str
    fix: Fix | None = None
    impact: Impact | None = None


def audit(graph: Graph, sites: Iterable[PaddingSite]) -> tuple[Finding, ...]:
    """Return every finding of a model, site by site, in the order of the rules' ids.

    Of the rules with a precedence (PAD1xx), a site gets the highest that fires.
    """
    holders = {id(visit.op): visit.graph for visit in walk(graph)}
    return tuple(finding for site in sites for finding in site_findings(site, holders[id(site.op)]))


def site_findings(site: PaddingSite, graph: Graph) -> list[Finding]:
    """Return the findings of one site; ``graph`` is the graph that holds its operator."""
    known: dict[str, bool] = {}
    firing = [rule for rule in catalogue().values() if fires(rule, site, graph, known)]
    best = max((rule.precedence for rule in firing), default=0)
    chosen = [rule for rule in firing if rule.precedence in (0, best)]
    facts = message_facts(site, graph) if chosen else {}
    return [
        Finding(
            rule.id,
            rule.name,
            rule.severity,
            site.id,
            rule.message.format_map(facts),
            rule.help.format_map(facts),
            _fix(rule, site, graph),
        )
        for rule in chosen
    ]


def _fix(rule: Rule, site: PaddingSite, graph: Graph) -> Fix | None:
    """Return what a rewrite would do; only shown where not every file can hold the result."""
    if rule.fix is None or not site.strategies:
        return None
    table, _ = op_index()[site.op.domain, site.op.op_type]
    if any(PREDICATES[name](site, graph) for name in table.display_when):
        return msgspec.structs.replace(rule.fix, applicability="display")
    return rule.fix


def fires(
    rule: Rule, site: PaddingSite, graph: Graph, known: dict[str, bool] | None = None
) -> bool:
    """Tell whether a rule fires on a site; rules without a condition are not about sites.

    Parameters
    ----------
    rule : Rule
        The rule.
    site : PaddingSite
        The site.
    graph : Graph
        The graph that holds the site's operator.
    known : dict, optional
        The facts of the site that were asked for before; grows.
    """
    seen = {} if known is None else known
    for names, expected in ((rule.when, True), (rule.unless, False)):
        for name in names:
            if name not in seen:
                seen[name] = PREDICATES[name](site, graph)
            if seen[name] is not expected:
                return False
    return bool(rule.when)


def message_facts(site: PaddingSite, graph: Graph) -> Mapping[str, Any]:
    """Return the words a rule's message and help may use."""
    window = site.window
    producer = graph.producer(site.op.inputs[0])
    return {
        "op": site.op.op_type,
        "padding": site.padding.value,
        "kernel": times(window.kernel_shape) if window else "unknown",
        "stride": times(window.strides) if window else "unknown",
        "dilation": times(window.dilations) if window else "unknown",
        "input": times(site.input_size),
        "output": times(site.output_size),
        "pads": amounts_text(site),
        "cause": site.unresolved or _unknown_cause(site.input_size) or "shape inference",
        "backends": divergence_text(divergent(site, graph.producer_version)),
        "producer": f"'{producer.name}' ({producer.op_type})" if producer else "its input",
    }


def amounts_text(site: PaddingSite) -> str:
    """Return the amounts in words: ``height (0, 1), width (1, 1)``."""
    return pairs_text(site.amounts)


def pairs_text(amounts: Sequence[AxisAmounts | None]) -> str:
    """Return amounts of spatial axes in words.

    >>> pairs_text([(0, 1), (1, 1)])
    'height (0, 1), width (1, 1)'
    """
    names = axis_names(len(amounts))
    return ", ".join(f"{name} {_amount(item)}" for name, item in zip(names, amounts, strict=True))


def axis_names(rank: int) -> Sequence[str]:
    """Return what spatial axes are called: ``("height", "width")`` where there are two."""
    return _AXES.get(rank) or [f"axis {i}" for i in range(rank)]


def times(values: Iterable[Dim]) -> str:
    """Return sizes joined as in ``3x3``."""
    return "x".join(str(value) for value in values)


def _amount(amount: object) -> str:
    if amount is None:
        return "unknown"
    return f"[{amount}]" if isinstance(amount, ByRemainder) else str(amount)


def _unknown_cause(sizes: tuple[Dim, ...]) -> str | None:
    return next((size.cause for size in sizes if hasattr(size, "cause")), None)
