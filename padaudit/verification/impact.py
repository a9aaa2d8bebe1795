"""What findings would cost: each site's padding as a naive port would have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from padaudit.audit.check import CheckResult, ModelReport
from padaudit.audit.findings import SEVERITIES, Finding, Impact
from padaudit.errors import PadauditError
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.providers import using
from padaudit.verification.runner import Limits
from padaudit.verification.telling import MUTE
from padaudit.verification.what_if import Cost, what_if

VARIANT: Final = "symmetric"
"""What most ports do: ``padding=k//2``."""


def with_impact(
    result: CheckResult, input_shapes: InputShapes, limits: Limits, provider: str | None = None
) -> tuple[CheckResult, tuple[str, ...]]:
    """Run every model with findings, and rank them by what they would cost.

    Parameters
    ----------
    result : CheckResult
        The audit.
    input_shapes : InputShapes
        Sizes that the user fixes.
    limits : Limits
        What one run of a model may take.
    provider : str, optional
        The execution provider that onnxruntime runs models on; the CPU's by default.

    Returns
    -------
    tuple of CheckResult and tuple of str
        The findings with their impact, the costly ones first; and why a model could not be
        run, one sentence each.

    Raises
    ------
    UsageError
        If there is no such provider.
    """
    with using(provider):
        return _measured(result, input_shapes, limits)


def _measured(
    result: CheckResult, input_shapes: InputShapes, limits: Limits
) -> tuple[CheckResult, tuple[str, ...]]:
    models: list[ModelReport] = []
    problems: list[str] = []
    for model in result.models:
        if not any(finding.site for finding in model.findings):
            models.append(model)
            continue
        try:
            found = what_if(Path(model.path), VARIANT, input_shapes, together=False, limits=limits)
        except PadauditError as error:
            problems.append(f"the impact of its findings was not measured: {error}")
            models.append(model)
            continue
        if not found.telling:
            problems.append(f"{model.path}: {MUTE}, which can't show what its findings would cost")
        shown = (cost for cost in found.costs if found.telling or cost.max_abs)
        costs = {cost.site: cost for cost in shown}
        models.append(replace(model, findings=_ranked(model.findings, costs)))
    return replace(result, models=tuple(models)), tuple(problems)


def _ranked(findings: tuple[Finding, ...], costs: Mapping[str, Cost]) -> tuple[Finding, ...]:
    measured = [replace(item, impact=_impact(costs.get(item.site or ""))) for item in findings]
    return tuple(sorted(measured, key=_rank))


def _impact(cost: Cost | None) -> Impact | None:
    if cost is None:
        return None
    return Impact(VARIANT, cost.max_abs, cost.mean_abs, cost.top1_changed)


def _rank(finding: Finding) -> tuple[float, float, int]:
    """Sort by cost; what was not measured comes last, the severe before the mild."""
    impact = finding.impact
    severity = -SEVERITIES.index(finding.severity)
    if impact is None:
        return 1.0, 0.0, severity
    return -impact.max_abs, -impact.mean_abs, severity
