"""Findings about a model's definition as a whole: what stops Keras 3 from loading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from padaudit.audit.findings import Finding
from padaudit.rules.load import catalogue
from padaudit.rules.schema import Rule

if TYPE_CHECKING:
    from padaudit.formats.document import Document
    from padaudit.formats.keras.modern import Obstacle


def definition_findings(document: Document) -> tuple[Finding, ...]:
    """Return one finding for each kind of thing that stops Keras 3, in the order of the rules."""
    if document.format == "onnx":
        return ()
    from padaudit.formats.keras.modern import is_legacy, modern_config

    if not is_legacy(document):  # type: ignore[arg-type]
        return ()
    return obstacle_findings(modern_config(document.config)[1])  # type: ignore[attr-defined]


def obstacle_findings(obstacles: Iterable[Obstacle]) -> tuple[Finding, ...]:
    """Return the findings that obstacles amount to."""
    found: dict[str, list[Obstacle]] = {}
    for obstacle in obstacles:
        found.setdefault(obstacle.repair, []).append(obstacle)
    rules = [rule for rule in catalogue().values() if rule.repair in found]
    return tuple(_finding(rule, found[rule.repair]) for rule in rules)


def _finding(rule: Rule, obstacles: list[Obstacle]) -> Finding:
    facts = obstacle_facts(obstacles)
    message, advice = rule.message.format_map(facts), rule.help.format_map(facts)
    return Finding(rule.id, rule.name, rule.severity, None, message, advice, rule.fix)


def obstacle_facts(obstacles: list[Obstacle]) -> Mapping[str, Any]:
    """Return the words that the message of a rule about definitions may use."""
    kinds = list(dict.fromkeys(obstacle.what for obstacle in obstacles))
    places = list(dict.fromkeys(obstacle.layer for obstacle in obstacles))
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return {"what": ", ".join(kinds), "layers": f"'{places[0]}'{more}"}
