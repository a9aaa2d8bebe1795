"""``padaudit explain``."""

from __future__ import annotations

import re
from pathlib import Path

from padaudit.cli.clicks import click
from padaudit.cli.console import show
from padaudit.cli.options import input_shape_option
from padaudit.errors import UsageError
from padaudit.formats.shape_options import parse_input_shapes


@click.command()
@click.argument("subject")
@click.argument("site", required=False)
@input_shape_option
def explain(subject: str, site: str | None, input_shape: tuple[str, ...]) -> int:
    """Explain a rule (PADxxx), or what one operator of a model does (MODEL SITE)."""
    if re.fullmatch(r"(?i)PAD\d{3}", subject) and site is None:
        from padaudit.report.rule_page import rule_page
        from padaudit.rules.load import catalogue

        rule = catalogue().get(subject.upper())
        if rule is None:
            raise UsageError(f"there is no rule {subject.upper()}; 'padaudit rules' lists them")
        show(rule_page(rule))
        return 0
    if site is None:
        raise UsageError("say which site: padaudit explain MODEL SITE (or a rule: PAD102)")
    from padaudit.report.site_page import site_page
    from padaudit.rewriting.run import load

    model = load(Path(subject), parse_input_shapes(input_shape))
    found = next((item for item in model.sites if item.id == site), None)
    if found is None:
        known = ", ".join(item.id for item in model.sites[:8]) or "none"
        more = f" and {len(model.sites) - 8} more" if len(model.sites) > 8 else ""
        raise UsageError(f"{subject} has no site '{site}'; its sites: {known}{more}")
    show(site_page(found))
    return 0
