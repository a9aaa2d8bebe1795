"""How a Keras model does on several backends: as tables for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from rich.box import MARKDOWN
from rich.table import Table
from rich.text import Text

from padaudit import __version__
from padaudit.report.jsonable import VERIFY_SCHEMA, sentence, verification_json
from padaudit.report.line import Line
from padaudit.report.text import plural, verification_lines

if TYPE_CHECKING:
    from padaudit.verification.backends import BackendReport, Comparison

_STYLES: Final = {"agrees": "green", "differs": "bold red", "failed": "yellow"}


def backends_json(path: str, report: BackendReport) -> dict[str, Any]:
    """Return a comparison of backends as the contract has it."""
    return {
        "schema": VERIFY_SCHEMA,
        "version": __version__,
        "a": path,
        "b": None,
        **verification_json(report.verification),
        "backends": {
            "runtimes": report.runtimes,
            "reference": report.backends[0],
            "rtol": report.tolerance.rtol,
            "atol": report.tolerance.atol,
            **{name: [_pair(item) for item in pairs] for name, pairs in report.pairs.items()},
            "rewrite": [_pair(item) for item in report.rewrites],
            "rewritten": len(report.plan.edits),
            "kept": [
                {"site": item.site.id, "reason": sentence(item.reason)} for item in report.plan.kept
            ],
        },
    }


def _pair(item: Comparison) -> dict[str, Any]:
    return {
        "a": item.a,
        "b": item.b,
        "status": item.status,
        "max_abs": item.max_abs,
        "first_difference": item.site,
        "reason": item.reason or None,
    }


def matrix(report: BackendReport) -> Table:
    """Return every pair of backends, as the model is and with its padding explicit."""
    table = Table("form", "backend", *report.backends[1:], box=MARKDOWN)
    for variant, pairs in report.pairs.items():
        cells = {(item.a, item.b): _cell(item) for item in pairs}
        for name in report.backends[:-1]:
            table.add_row(
                variant if name == report.backends[0] else "",
                name,
                *(cells.get((name, other), "") for other in report.backends[1:]),
            )
    return table


def rewrites(report: BackendReport) -> Table:
    """Return what making the padding explicit changed on each backend."""
    table = Table("backend", "version", "original against explicit", box=MARKDOWN)
    for item in report.rewrites:
        table.add_row(item.a, report.runtimes[item.a], _cell(item))
    return table


def summary_lines(path: str, report: BackendReport) -> Iterator[Line]:
    """Yield what was compared, and what stays implicit in the explicit form."""
    edits, kept = report.plan.edits, report.plan.kept
    count = plural(len(edits) + len(kept), "implicitly padded operator")
    yield Line(f"{path}: {count}, {len(edits)} made explicit, {len(kept)} kept")
    for item in kept:
        yield Line(f"  {item.site.id}  kept: {sentence(item.reason)}", style="dim")


def verdict_lines(report: BackendReport) -> Iterator[Line]:
    """Yield what differs or fails where, and the verdict."""
    for name, pairs in (*report.pairs.items(), ("original against explicit", report.rewrites)):
        for item in pairs:
            if item.reason:
                yield _remark(name, item)
    yield from verification_lines(report.verification)


def _cell(item: Comparison) -> Text:
    shown = item.status if item.status == "failed" else f"{item.status} {item.max_abs:.2g}"
    return Text(shown, style=_STYLES[item.status], no_wrap=True)


def _remark(name: str, item: Comparison) -> Line:
    where = f", first at '{item.site}'" if item.site else ""
    sides = f"on {item.a}" if item.a == item.b else f"{item.a} and {item.b}"
    return Line.assemble(f"  {name}, {sides}{where}: ", (item.reason, _STYLES[item.status]))
