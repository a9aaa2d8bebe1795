"""``padaudit rules``."""

from __future__ import annotations

import sys

from padaudit.cli.clicks import click
from padaudit.cli.console import deliver, terminal
from padaudit.report.text import STYLES
from padaudit.rules.load import catalogue


@click.command()
@click.option("--output-format", type=click.Choice(("full", "json")), default="full")
def rules(output_format: str) -> int:
    """List every rule; 'padaudit explain PADxxx' shows one."""
    if output_format == "json":
        import msgspec

        listed = list(catalogue().values())
        text = msgspec.json.format(msgspec.json.encode(listed), indent=2).decode()
        deliver(text, None)
        return 0
    from rich.table import Table

    table = Table("rule", "name", "severity", "what it means", box=None, pad_edge=False)
    for rule in catalogue().values():
        severity = f"[{STYLES[rule.severity]}]{rule.severity}[/]"
        table.add_row(rule.id, rule.name, severity, rule.doc.what.strip())
    terminal(sys.stdout).print(table)
    return 0
