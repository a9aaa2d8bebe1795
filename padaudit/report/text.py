"""Results for people: the linter's full and concise forms, and what a rewrite did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from padaudit.audit.check import CheckResult, ModelReport
from padaudit.audit.findings import SEVERITIES, Finding, Impact, amounts_text, times
from padaudit.ir.site import PaddingSite
from padaudit.report.jsonable import sentence
from padaudit.report.line import Line
from padaudit.verification.evidence import Evidence, Status, Verification

if TYPE_CHECKING:
    from padaudit.rewriting.edit import Edit, Plan
    from padaudit.rewriting.run import RewriteResult

STYLES: Final = {"note": "cyan", "warning": "yellow", "error": "bold red"}
_KEPT_SHOWN: Final = 8
_VERDICTS: Final = {
    Status.EQUIVALENT: "green",
    Status.DIFFERENT: "bold red",
    Status.UNVERIFIED: "yellow",
}


def check_full(result: CheckResult) -> Iterator[Line]:
    """Yield every finding with its site, numbers and help."""
    for model in result.models:
        if model.error:
            continue
        sites = {site.id: site for site in model.sites}
        for finding in model.findings:
            yield from _finding_block(model, finding, sites.get(finding.site or ""))
    yield from check_summary(result)


def check_concise(result: CheckResult) -> Iterator[Line]:
    """Yield one line per finding."""
    for model in result.models:
        for finding in model.findings:
            where = f"{model.path}:{finding.site}" if finding.site else model.path
            yield Line.assemble(
                (f"{where}: ", "bold"),
                (finding.rule, STYLES[finding.severity]),
                f" [{finding.severity}] {finding.message}{_impact(finding.impact, '; ')}",
            )
    yield from check_summary(result)


def check_summary(result: CheckResult) -> Iterator[Line]:
    """Yield the closing lines: how many of what, and what to do about it."""
    read = [model for model in result.models if not model.error]
    sites = sum(len(model.sites) for model in read)
    implicit = sum(len(model.implicit) for model in read)
    counted = [(result.count(level), level) for level in reversed(SEVERITIES)]
    parts = ", ".join(plural(count, level) for count, level in counted if count)
    looked = (
        f"{plural(len(read), 'model')}, {plural(sites, 'padded operator')}, {implicit} implicit"
    )
    if result.findings:
        found = plural(len(result.findings), "finding")
        yield Line(f"{found} ({parts}) in {looked}.", style="bold")
    elif read:
        yield Line(f"No findings in {looked}.", style="bold green")
    fixable = [
        model.path for model in read if any(finding.fix is not None for finding in model.findings)
    ]
    if fixable:
        yield Line(f"Make the padding explicit with: padaudit rewrite --explicit {fixable[0]}")


def edit_lines(result: RewriteResult) -> Iterator[Line]:
    """Yield what is or would be changed, as a diff, and what stays."""
    for name, info in result.frozen.items():
        yield Line(f"+ {name}  input {times(info.shape or ())}", style="green")
    for edit in result.plan.edits:
        site, created = edit.site, result.created
        yield Line(f"- {site.id}  {site.op.op_type} padding={site.padding.value}", style="red")
        pad = created.get(site.id)
        yield Line(f"+ {site.id}  {site.op.op_type} {_new_form(edit, pad)}", style="green")
        if edit.note:
            yield Line(f"    note: {sentence(edit.note)}", style="dim")
    yield from kept_lines(result.plan)


def kept_lines(plan: Plan, limit: int | None = None) -> Iterator[Line]:
    """Yield what stays implicit, and why."""
    for item in plan.kept[:limit]:
        yield Line(f"  {item.site.id}  kept: {sentence(item.reason)}", style="dim")
    if limit is not None and len(plan.kept) > limit:
        yield Line(f"  ... and {len(plan.kept) - limit} more kept (--verbose)", style="dim")


def _new_form(edit: Edit, pad: str | None) -> str:
    if not edit.adds_padding:
        return "padding=valid, nothing to pad"
    shown = amounts_text(edit.site)
    if any(amount is None for amount in edit.site.amounts):
        shown = "amounts computed from the size"
    if edit.folded is not None:
        total = amounts_text(replace(edit.site, amounts=edit.pads or ()))
        return f"padding=explicit, {total}, without {edit.folded.name}"
    return f"padding=valid, {shown} by {pad}" if pad else f"padding=explicit, {shown}"


def rewrite_report(result: RewriteResult, details: bool) -> Iterator[Line]:
    """Yield what was found, rewritten and proven, and where it was written."""
    plan = result.plan
    sites = [*(edit.site for edit in plan.edits), *(item.site for item in plan.kept)]
    implicit = sum(site.implicit for site in sites)
    stated = len(sites) - implicit
    moved = f", {plural(stated, 'explicit one')} to move" if stated else ""
    yield Line(f"{result.source}: {plural(implicit, 'implicitly padded operator')} found{moved}")
    if details:
        yield from edit_lines(result)
    else:
        yield from kept_lines(plan, _KEPT_SHOWN)
    unpadded = sum(
        not edit.adds_padding and edit.site.id not in result.created for edit in plan.edits
    )
    inside = len(plan.edits) - unpadded - len(result.created)
    attributes = f"{inside} by attribute, " if inside else ""
    yield Line(
        f"{len(plan.edits)} rewritten ({len(result.created)} with a padding operator, "
        f"{attributes}{unpadded} without: nothing to pad), {len(plan.kept)} kept"
    )
    for finding in result.modernized or ():
        done = "repaired" if finding.fix else f"not repaired ({finding.help})"
        yield Line(f"  {finding.rule} {finding.name}, {done}: {sentence(finding.message)}")
    yield from verification_lines(result.verification)
    if result.written:
        yield Line.assemble("Written: ", (str(result.target), "bold"))
    else:
        yield Line(f"Not written: {result.target}", style="bold red")


def verification_lines(verification: Verification) -> Iterator[Line]:
    """Yield the evidence and the verdict."""
    for item in verification.evidence:
        yield Line.assemble("  proof, ", (item.level, "bold"), f": {_evidence(item)}")
    for missed in verification.not_covered:
        yield Line(f"  not covered: {' '.join(missed.split())}", style="yellow")
    reason = f": {verification.reason}" if verification.reason else ""
    yield Line.assemble(
        "Verdict: ", (verification.status.value, _VERDICTS[verification.status]), reason
    )


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "note"), plural(2, "note")
    ('1 note', '2 notes')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _finding_block(
    model: ModelReport, finding: Finding, site: PaddingSite | None
) -> Iterator[Line]:
    yield Line.assemble(
        (finding.rule, STYLES[finding.severity]),
        f" {finding.name} ",
        (f"[{finding.severity}]", STYLES[finding.severity]),
    )
    where = f"{model.path}:{site.id} ({site.op.op_type})" if site else model.path
    yield Line.assemble(("  --> ", "blue"), (where, "bold"))
    yield Line(f"   | {sentence(finding.message)}")
    if site is not None and site.window is not None:
        window = site.window
        yield Line(
            f"   | kernel {times(window.kernel_shape)}, stride {times(window.strides)}, "
            f"dilation {times(window.dilations)}, input {times(site.input_size)}, "
            f"output {times(site.output_size)}; (before, after): {amounts_text(site)}"
        )
    if finding.impact is not None:
        yield Line(_impact(finding.impact, "   | "))
    yield Line.assemble(("   = help: ", "cyan"), sentence(finding.help))
    yield Line("")


def _impact(impact: Impact | None, lead: str) -> str:
    if impact is None:
        return ""
    text = f"with padding=k//2 here the outputs move by up to {impact.max_abs:.3g}"
    if impact.top1_changed is not None:
        text += f", and {impact.top1_changed:.1%} of the inputs get another class"
    return lead + text


def _evidence(item: Evidence) -> str:
    if not item.counts:
        return item.detail
    counts = ", ".join(plural(count, what[:-1]) for what, count in item.counts.items())
    if item.level == "definition":
        return f"{counts} ({item.detail})"
    return f"{counts}, max |difference| {item.max_abs:g} ({item.runtime}; {item.detail})"
