"""Every case of a rule about definitions: it fires or keeps quiet, and a repair is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from string import Formatter

import pytest

from padaudit.audit.definition import obstacle_findings
from padaudit.formats.keras.modern import modern_config
from padaudit.rules.load import catalogue
from padaudit.rules.schema import DefinitionCase, Rule

RULES = [rule for rule in catalogue().values() if rule.repair]


def all_cases() -> Iterator[object]:
    for rule in RULES:
        for case in rule.definitions:
            yield pytest.param(rule, case, id=f"{rule.id}-{case.title}")


@pytest.mark.parametrize(("rule", "case"), all_cases())
def test_the_rule_is_reported_or_not(rule: Rule, case: DefinitionCase) -> None:
    mended, obstacles = modern_config(json.loads(case.definition))
    findings = {finding.rule: finding for finding in obstacle_findings(obstacles)}
    assert (rule.id in findings) is case.fires
    if case.fires:
        message = findings[rule.id].message
        assert obstacles[0].what in message
        assert obstacles[0].layer in message
    left = {finding.rule for finding in obstacle_findings(modern_config(mended)[1])}
    assert (rule.id in left) is (case.fires and rule.fix is None)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_has_cases_of_both_kinds(rule: Rule) -> None:
    assert {case.fires for case in rule.definitions} == {True, False}
    assert {name for _, name, _, _ in Formatter().parse(rule.message) if name} == {"what", "layers"}


def test_a_repair_leaves_the_original_alone() -> None:
    for rule in RULES:
        for case in rule.definitions:
            record = json.loads(case.definition)
            modern_config(record)
            assert record == json.loads(case.definition)


def test_several_layers_are_one_finding() -> None:
    layers = [
        {"class_name": "DepthwiseConv2D", "config": {"name": name, "groups": 1}} for name in "abc"
    ]
    record = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    (finding,) = obstacle_findings(modern_config(record)[1])
    assert "'a' and 2 more" in finding.message
