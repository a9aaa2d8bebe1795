"""Names in the rule files and names in the code: each one exists, and each one is used."""

from __future__ import annotations

from string import Formatter
from typing import Final

import pytest

from padaudit.audit.amounts import AMOUNTS
from padaudit.audit.backends import FACTS
from padaudit.audit.definition import obstacle_facts
from padaudit.audit.findings import SEVERITIES, message_facts
from padaudit.audit.predicates import PREDICATES
from padaudit.audit.sites import site_of
from padaudit.formats.keras.modern import REPAIRS, Obstacle
from padaudit.ir.site import Family, Padding
from padaudit.padding.amounts import FORMULAS
from padaudit.rules.load import backend_tables, catalogue, divergences, op_index, op_tables
from padaudit.rules.schema import Rule

CATALOGUE: Final = {
    "PAD000": ("unused-suppression", "note"),
    "PAD001": ("unresolved-shape", "note"),
    "PAD101": ("implicit-symmetric-padding", "note"),
    "PAD102": ("implicit-asymmetric-padding", "warning"),
    "PAD103": ("shape-dependent-padding", "warning"),
    "PAD104": ("extra-padding-at-start", "warning"),
    "PAD105": ("implicit-causal-padding", "warning"),
    "PAD106": ("frozen-same-padding", "warning"),
    "PAD107": ("asymmetric-explicit-padding", "note"),
    "PAD201": ("dilated-auto-pad", "error"),
    "PAD202": ("ambiguous-transposed-padding", "error"),
    "PAD203": ("average-divisor", "warning"),
    "PAD204": ("quantized-zero-point", "warning"),
    "PAD205": ("auto-pad-with-pads", "error"),
    "PAD206": ("backend-divergent-padding", "warning"),
    "PAD207": ("double-padding", "warning"),
    "PAD208": ("window-in-padding", "warning"),
    "PAD401": ("superfluous-layer-arguments", "note"),
    "PAD402": ("old-value-forms", "note"),
    "PAD403": ("list-config", "note"),
    "PAD404": ("slash-in-layer-name", "note"),
    "PAD405": ("inner-calls-from-one", "note"),
    "PAD406": ("removed-layer", "note"),
    "PAD407": ("argument-without-successor", "note"),
    "PAD408": ("python-code-in-model", "note"),
    "PAD409": ("changed-activation", "note"),
    "PAD410": ("causal-separable-convolution", "note"),
}
"""Ids, names and severities that users and pipelines rely on: never reused, never renamed."""
SUPPRESSION_FACTS: Final = {"suppressed", "glob"}
PAGE: Final = ("what", "why", "example", "fix", "fine")

rules = pytest.mark.parametrize("rule", catalogue().values(), ids=lambda rule: rule.id)


def test_the_catalogue_is_the_published_one() -> None:
    found = {rule.id: (rule.name, rule.severity) for rule in catalogue().values()}
    assert found == CATALOGUE
    assert list(found) == sorted(found)
    assert len({name for name, _ in found.values()}) == len(found)


def test_predicates_are_the_ones_that_rules_name() -> None:
    named = {name for rule in catalogue().values() for name in (*rule.when, *rule.unless)}
    assert named == set(PREDICATES)
    assert {name for table in op_tables() for name in table.display_when} <= named


def test_repairs_are_the_ones_that_rules_name() -> None:
    named = [rule.repair for rule in catalogue().values() if rule.repair]
    assert sorted(named) == sorted(REPAIRS)
    assert not [rule.id for rule in catalogue().values() if rule.repair and rule.when]


def test_facts_are_the_ones_that_divergences_name() -> None:
    assert {name for item in divergences() for name in item.when} == set(FACTS)


def test_divergences_were_measured_in_the_versions_that_they_name() -> None:
    (table,) = backend_tables()
    for item in table.divergences:
        minors = [version.rpartition(".")[0] for version in table.measured[item.backend]]
        assert item.first in minors
        assert not item.last or (item.last in minors and item.last != minors[-1])
        assert item.cases < table.cases
        assert item.effect == item.effect.strip(" .")


def test_formulas_are_the_ones_that_padding_words_mean() -> None:
    meant = {padding for table in op_tables() for padding in table.padding.values.values()}
    assert meant == set(Padding)
    assert {padding.value for padding in meant - {Padding.EXPLICIT}} == set(FORMULAS)


def test_resolvers_are_the_ones_that_tables_name() -> None:
    assert {table.amounts for table in op_tables()} == set(AMOUNTS)


def test_strategies_are_the_ones_that_tables_name() -> None:
    from padaudit.rewriting.strategies import KERAS_STRATEGIES, STRATEGIES

    named = {name for table in op_tables() for name in table.strategies}
    assert named == {*STRATEGIES, *KERAS_STRATEGIES}


def test_every_family_has_a_table() -> None:
    assert {table.family for table in op_tables()} == set(Family)


def test_no_table_has_a_default_word_without_a_meaning() -> None:
    for table in op_tables():
        assert table.padding.default in table.padding.values


def test_every_operator_is_found_by_domain_and_name() -> None:
    listed = [operator for table in op_tables() for operator in table.operators]
    assert len(op_index()) == len(listed)
    for (domain, name), (table, operator) in op_index().items():
        assert operator.name == name
        layer = table.framework == "keras" and not operator.domain
        assert domain == ("keras" if layer else operator.domain)


@rules
def test_messages_use_facts_of_a_site(rule: Rule, visit_of: object) -> None:
    assert callable(visit_of)
    attributes = {"kernel_shape": [3, 4], "auto_pad": "SAME_UPPER"}
    visit = visit_of("", "Conv", attributes, [1, 3, 17, 20])
    site = site_of(visit)
    assert site is not None
    known = set(message_facts(site, visit.graph)) if rule.when else SUPPRESSION_FACTS
    if rule.repair:
        known = set(obstacle_facts([Obstacle(rule.repair, "layer", "what")]))
    for text in (rule.message, rule.help):
        used = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        assert used <= known


@rules
def test_texts_are_clauses_that_a_report_can_end(rule: Rule) -> None:
    for text in (rule.message, rule.help):
        assert text == text.strip()
        assert "\n" not in text
        assert not text.endswith(".")
        assert not text.endswith("!")


@rules
def test_the_page_is_complete(rule: Rule) -> None:
    for heading in PAGE:
        assert getattr(rule.doc, heading).strip(), heading
        assert max(map(len, getattr(rule.doc, heading).strip().split("\n"))) < 700
    assert rule.doc.references
    assert all(url.startswith("https://") for url in rule.doc.references)
    assert len(set(rule.doc.references)) == len(rule.doc.references)


@rules
def test_severity_and_precedence_fit(rule: Rule) -> None:
    assert rule.severity in SEVERITIES
    assert (rule.precedence > 0) is rule.id.startswith("PAD1")


def test_a_fix_is_only_promised_where_a_rewrite_can_do_it() -> None:
    from padaudit.rewriting.strategies import STRATEGIES

    promised = {rule.id for rule in catalogue().values() if rule.fix and not rule.repair}
    assert promised == {"PAD101", "PAD102", "PAD104", "PAD105", "PAD201"}
    actions = {rule.fix.action for rule in catalogue().values() if rule.fix}
    assert actions == {"explicit_pad", "modernize"}
    assert STRATEGIES


def test_the_page_of_pad102_answers_how_to_pad_explicitly() -> None:
    page = catalogue()["PAD102"].doc.example
    for form in (
        "ZeroPadding2D(((top, bottom), (left, right)))",
        'padding="valid"',
        "keras.ops.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))",
        "tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=",
        "F.pad(x, (left, right, top, bottom)",
        "pads=[0, 0, top, left, 0, 0, bottom, right]",
    ):
        assert form in page
    assert "inconsistent across backends" in catalogue()["PAD102"].doc.why
