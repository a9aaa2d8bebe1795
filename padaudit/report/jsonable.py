"""Results as the JSON of the contract (``padaudit.check/1``, ``padaudit.rewrite/1``, ...)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from padaudit import __version__
from padaudit.audit.check import CheckResult, ModelReport
from padaudit.audit.findings import Finding, Impact
from padaudit.ir.dims import plain
from padaudit.ir.site import PaddingSite
from padaudit.verification.evidence import Evidence, Verification

if TYPE_CHECKING:
    from padaudit.rewriting.edit import Kept
    from padaudit.rewriting.run import RewriteResult
    from padaudit.verification.error_map import ErrorMap

CHECK_SCHEMA: Final = "padaudit.check/1"
REWRITE_SCHEMA: Final = "padaudit.rewrite/1"
VERIFY_SCHEMA: Final = "padaudit.verify/1"


def dumps(value: Mapping[str, Any]) -> str:
    """Return JSON text; numbers that JSON lacks are written as strings (``"inf"``)."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def check_json(result: CheckResult) -> dict[str, Any]:
    """Return a check as the contract has it."""
    sites = [site for model in result.models for site in model.sites]
    return {
        "schema": CHECK_SCHEMA,
        "version": __version__,
        "models": [_model(model) for model in result.models],
        "summary": {
            "models": len(result.models),
            "sites": len(sites),
            "implicit": sum(site.implicit for site in sites),
            "findings": len(result.findings),
            "errors": len(result.errors),
        },
    }


def rewrite_json(result: RewriteResult) -> dict[str, Any]:
    """Return a rewrite as the contract has it."""
    return {
        "schema": REWRITE_SCHEMA,
        "version": __version__,
        "input": str(result.source),
        "output": str(result.target),
        "written": result.written,
        "rewritten": [
            {
                "site": edit.site.id,
                "strategy": edit.strategy,
                "pads": None if edit.pads is None else [list(pair) for pair in edit.pads],
                "note": sentence(edit.note) if edit.note else None,
                "created": result.created.get(edit.site.id),
            }
            for edit in result.plan.edits
        ],
        "kept": [_kept(item) for item in result.plan.kept],
        **_modernized(result.modernized),
        "verification": verification_json(result.verification),
    }


def _modernized(findings: tuple[Finding, ...] | None) -> dict[str, Any]:
    """Return what stopped Keras 3, where it was to be repaired."""
    if findings is None:
        return {}
    return {
        "modernized": [
            {"rule": item.rule, "message": item.message, "repaired": item.fix is not None}
            for item in findings
        ]
    }


def verify_json(first: str, second: str, verification: Verification) -> dict[str, Any]:
    """Return a verification of two models as the contract has it."""
    return {
        "schema": VERIFY_SCHEMA,
        "version": __version__,
        "a": first,
        "b": second,
        **verification_json(verification),
        "error_map": error_map_json(verification.error_map),
    }


def error_map_json(where: ErrorMap | None) -> dict[str, Any] | None:
    """Return where the first differing site differs."""
    if where is None:
        return None
    return {
        "shape": list(where.shape),
        "spatial_axes": list(where.axes),
        "worst": list(where.worst),
        "max_abs": where.max_abs,
        "differing": where.differing,
        "corner": where.corner,
        "border": where.border,
        "interior": where.interior,
        "extent": [list(pair) for pair in where.extent],
    }


def verification_json(verification: Verification) -> dict[str, Any]:
    """Return a verdict with its evidence."""
    return {
        "status": verification.status.value,
        "max_abs": verification.max_abs,
        "max_ulp": verification.max_ulp,
        "first_difference": verification.first_difference,
        "reason": verification.reason or None,
        "evidence": [_evidence(item) for item in verification.evidence],
        "not_covered": list(verification.not_covered),
    }


def site_json(site: PaddingSite) -> dict[str, Any]:
    """Return a site as the contract has it."""
    window = site.window
    return {
        "id": site.id,
        "op": site.op.op_type,
        "family": site.family.value,
        "kernel_shape": list(window.kernel_shape) if window else None,
        "strides": list(window.strides) if window else None,
        "dilations": list(window.dilations) if window else None,
        "group": site.group,
        "padding": site.padding.value,
        "implicit": site.implicit,
        "input_size": [plain(dim) for dim in site.input_size],
        "output_size": [plain(dim) for dim in site.output_size],
        "pads": [list(pair) for pair in site.pads] if site.pads is not None else None,
        "shape_dependent": site.shape_dependent,
        "pad_value": site.pad_value,
    }


def _model(model: ModelReport) -> dict[str, Any]:
    return {
        "path": model.path,
        "format": model.format,
        "status": "error" if model.error else "ok",
        "error": model.error,
        "sites": [site_json(site) for site in model.sites],
        "findings": [_finding(finding) for finding in model.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    fix = finding.fix
    return {
        "rule": finding.rule,
        "name": finding.name,
        "severity": finding.severity,
        "site": finding.site,
        "message": finding.message,
        "help": finding.help,
        "fix": {"action": fix.action, "applicability": fix.applicability} if fix else None,
        **({"impact": _impact(finding.impact)} if finding.impact else {}),
    }


def _impact(impact: Impact) -> dict[str, Any]:
    return {
        "variant": impact.variant,
        "max_abs": impact.max_abs,
        "mean_abs": impact.mean_abs,
        "top1_changed": impact.top1_changed,
    }


def _kept(item: Kept) -> dict[str, str]:
    return {"site": item.site.id, "reason": sentence(item.reason)}


def sentence(clause: str) -> str:
    """Return a clause as a sentence.

    >>> sentence("its size is open")
    'Its size is open.'
    """
    return f"{clause[:1].upper()}{clause[1:]}{'' if clause.endswith('.') else '.'}"


def _evidence(item: Evidence) -> dict[str, Any]:
    return {
        "level": item.level,
        "runtime": item.runtime,
        "max_abs": item.max_abs,
        "max_ulp": item.max_ulp,
        **item.counts,
        "detail": item.detail,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
