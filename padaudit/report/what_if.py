"""What a naive port would do, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from padaudit import __version__
from padaudit.report.jsonable import VERIFY_SCHEMA, sentence
from padaudit.report.line import Line
from padaudit.verification.telling import MUTE
from padaudit.verification.what_if import Cost, WhatIf

_WORDS = {
    "symmetric": "kernel // 2 on both sides (PyTorch's padding=k//2)",
    "torch": "(kernel - 1) // 2 on both sides (PyTorch's padding=(k-1)//2)",
    "lower": "the larger amount first (ONNX's SAME_LOWER)",
}


def what_if_json(result: WhatIf) -> dict[str, Any]:
    """Return what a variant does as the contract has it."""
    return {
        "schema": VERIFY_SCHEMA,
        "version": __version__,
        "a": str(result.model),
        "what_if": [
            {
                "variant": result.variant,
                "site": cost.site,
                "max_abs": cost.max_abs,
                "mean_abs": cost.mean_abs,
                "top1_changed": cost.top1_changed,
                "accuracy": cost.accuracy,
            }
            for cost in result.costs
        ],
        "accuracy": result.accuracy,
        "samples": result.samples,
        "inputs": result.origin,
        "outputs_change": result.telling,
        "unchanged": list(result.unchanged),
        "not_tried": [
            {"site": site, "reason": sentence(reason)} for site, reason in result.not_tried.items()
        ],
        "runtime": result.runtime,
        "note": result.note,
    }


def what_if_lines(result: WhatIf) -> Iterator[Line]:
    """Yield how far the outputs move, at all sites and at each, the worst first."""
    yield Line(f"{result.model} with {_WORDS[result.variant]}")
    yield Line(f"  on {result.origin}, in {result.runtime}")
    if not result.telling:
        yield Line(f"  {MUTE}: they can't show what padding does", style="yellow")
    if result.note:
        yield Line(f"  {result.note}", style="yellow")
    if result.accuracy is not None:
        yield Line(f"  as it is: accuracy {result.accuracy:.1%}")
    width = max((len(cost.site) for cost in result.costs), default=0)
    for cost in result.costs:
        label = "all sites" if cost.site == "all" else cost.site
        yield Line.assemble("  ", (label.ljust(max(width, 9)), "bold"), f"  {cost_text(cost)}")
    if result.unchanged:
        names = ", ".join(result.unchanged)
        yield Line(f"  padded the same: {names}", style="dim")
    for site, reason in result.not_tried.items():
        text = " ".join(reason.split())
        yield Line(f"  does not fit: {site}: {sentence(text)}", style="yellow")
    if not result.costs and not result.not_tried:
        yield Line("Nothing would change.", style="bold green")


def cost_text(cost: Cost) -> str:
    """Return a cost in words."""
    parts = [f"max |difference| {cost.max_abs:.3g}, mean {cost.mean_abs:.2g}"]
    if cost.top1_changed is not None:
        parts.append(f"top-1 changed {cost.top1_changed:.1%}")
    if cost.accuracy is not None:
        parts.append(f"accuracy {cost.accuracy:.1%}")
    return ", ".join(parts)
