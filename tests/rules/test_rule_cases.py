"""Every case of rules/checks, on a real graph: the rule fires, or keeps quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from string import Formatter
from typing import Final

import pytest

from padaudit.audit.findings import amounts_text, fires, message_facts, site_findings
from padaudit.audit.predicates import PREDICATES
from padaudit.audit.sites import site_of
from padaudit.ir.graph import Graph
from padaudit.ir.site import PaddingSite
from padaudit.ir.walk import Visit
from padaudit.rules.load import catalogue
from padaudit.rules.schema import Rule, RuleCase

BuildVisit = Callable[..., Visit]
CONFIGURATION: Final = {"PAD000"}
"""Rules about the configuration, which have no site."""
IMPLIED: Final = {
    ("asymmetric", "amounts_known"),
    ("varies_with_open_size", "implicit"),
    ("same_lower", "implicit"),
    ("asymmetric", "explicit"),
}
"""Conditions that say for the reader what another one of the rule implies."""


def site_rules() -> list[Rule]:
    rules = (rule for rule in catalogue().values() if not rule.repair)
    return [rule for rule in rules if rule.id not in CONFIGURATION]


def all_cases() -> Iterator[object]:
    for rule in site_rules():
        for case in rule.cases:
            verdict = "fires" if case.fires else "quiet"
            yield pytest.param(rule, case, id=f"{rule.id}-{verdict}-{case.title}")


def resolve(case: RuleCase, visit_of: BuildVisit) -> tuple[PaddingSite, Graph]:
    domain = "keras" if case.framework == "keras" else case.domain
    visit = visit_of(domain, case.op, case.attributes, case.input, case.after)
    visit.graph.producer_version = case.keras_version or None
    site = site_of(visit)
    assert site is not None, f"{case.op} is in no table"
    return site, visit.graph


@pytest.mark.parametrize(("rule", "case"), all_cases())
def test_the_rule_is_reported_or_not(rule: Rule, case: RuleCase, visit_of: BuildVisit) -> None:
    findings = {item.rule: item for item in site_findings(*resolve(case, visit_of))}
    assert (rule.id in findings) is case.fires, sorted(findings)
    if case.fires:
        assert findings[rule.id].name == rule.name
        assert findings[rule.id].severity == rule.severity


@pytest.mark.parametrize(("rule", "case"), all_cases())
def test_the_message_carries_the_numbers(rule: Rule, case: RuleCase, visit_of: BuildVisit) -> None:
    site, graph = resolve(case, visit_of)
    if not case.fires:
        return
    facts = message_facts(site, graph)
    finding = next(item for item in site_findings(site, graph) if item.rule == rule.id)
    assert case.op in finding.message
    used = {name for _, name, _, _ in Formatter().parse(rule.message) if name}
    assert {"kernel", "pads", "producer"} & used
    for name in used:
        assert str(facts[name]) in finding.message
    if "pads" in used:
        assert amounts_text(site) in finding.message
    assert not set("{}") & set(finding.message + finding.help)


@pytest.mark.parametrize("rule", site_rules(), ids=lambda rule: rule.id)
def test_a_rule_has_cases_of_both_kinds(rule: Rule) -> None:
    assert {case.fires for case in rule.cases} == {True, False}
    titles = [case.title for case in rule.cases]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("rule", site_rules(), ids=lambda rule: rule.id)
def test_every_condition_is_decided_by_a_case(rule: Rule, visit_of: BuildVisit) -> None:
    sites = [resolve(case, visit_of) for case in rule.cases]
    for name in (*rule.when, *rule.unless):
        if any((other, name) in IMPLIED for other in rule.when):
            continue
        when = [other for other in rule.when if other != name]
        unless = [other for other in rule.unless if other != name]
        changed = [
            site
            for site, graph in sites
            if fires(rule, site, graph) != holds(when, unless, site, graph)
        ]
        assert changed, f"no case of {rule.id} needs '{name}'"


def holds(when: list[str], unless: list[str], site: PaddingSite, graph: Graph) -> bool:
    named = [PREDICATES[name](site, graph) for name in when]
    return all(named) and not any(PREDICATES[name](site, graph) for name in unless)


@pytest.mark.parametrize("rule", site_rules(), ids=lambda rule: rule.id)
def test_cases_can_tell_the_axes_apart(rule: Rule) -> None:
    """Kernels or sizes that are alike on all axes would hide swapped ones."""
    for case in rule.cases:
        values = [tuple(item) for item in case.attributes.values() if isinstance(item, list)]
        spatial = [item for item in values if len(item) > 1]
        assert not spatial or any(len(set(item)) > 1 for item in (*spatial, tuple(case.input[1:])))
