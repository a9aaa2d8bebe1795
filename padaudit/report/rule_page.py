"""The page of a rule, with the headings that every rule has."""

from __future__ import annotations

from collections.abc import Iterator

from padaudit.report.line import Line
from padaudit.report.text import STYLES
from padaudit.rules.schema import Rule


def rule_page(rule: Rule) -> Iterator[Line]:
    """Yield a rule's page."""
    yield Line.assemble(
        (rule.id, STYLES[rule.severity]), f" {rule.name} ", (f"[{rule.severity}]", "dim")
    )
    sections = (
        ("What it means", rule.doc.what),
        ("Why it is a problem", rule.doc.why),
        ("Example", rule.doc.example),
        ("Fix", rule.doc.fix),
        ("When it is fine", rule.doc.fine),
        ("References", "\n".join(rule.doc.references)),
    )
    for heading, body in sections:
        yield Line("")
        yield Line(heading, style="bold")
        yield Line(body.strip("\n"))
