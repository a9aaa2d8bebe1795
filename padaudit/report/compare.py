"""A comparison of an original and its port, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from padaudit import __version__
from padaudit.audit.findings import pairs_text, times
from padaudit.compare.beginning import FirstDifference
from padaudit.compare.differences import PaddingDifference
from padaudit.compare.gap import RTOL, Gap
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.unit import Unit
from padaudit.compare.unlike import WindowDifference
from padaudit.ir.site import Family, Padding, Window
from padaudit.padding.amounts import AxisPads
from padaudit.padding.symbolic import AxisAmounts, ByRemainder
from padaudit.report.jsonable import sentence
from padaudit.report.line import Line
from padaudit.report.text import plural
from padaudit.verification.rounding import MOST, moved_by

COMPARE_SCHEMA: Final = "padaudit.compare/1"
_STYLES: Final = {
    Sameness.SAME: "green",
    Sameness.DIFFERENT: "bold red",
    Sameness.UNVERIFIED: "yellow",
}
_SHOWN: Final = 12
_WHY: Final = ("runtimes sum in different orders", "half precision, or another device")
"""Why that is no less: in general, and where it is more than usual."""
_TORCH_MODES: Final = {"edge": "replicate", "wrap": "circular"}
_NO_FIX: Final = "--fix corrects amounts, not windows; change the layer in the port"


def compare_json(result: Comparison) -> dict[str, Any]:
    """Return a comparison as the contract has it."""
    alignment = result.alignment
    reasons = {id(item.difference): item.reason for item in result.unfixed}
    return {
        "schema": COMPARE_SCHEMA,
        "version": __version__,
        "original": str(result.original),
        "port": str(result.port),
        "status": result.status.value,
        "reason": result.reason or None,
        "aligned": len(alignment.pairs) + len(result.windows),
        "unaligned": {
            "original": [unit.id for unit in alignment.original],
            "port": [unit.id for unit in alignment.port],
        },
        "differences": [
            *(_window_difference(item) for item in result.windows),
            *(_difference(item, reasons.get(id(item))) for item in result.differences),
        ],
        "first_difference": _first_difference(result.first),
        "max_abs_before": result.before.max_abs if result.before else None,
        "max_abs_after": result.after.max_abs if result.after else None,
        "relative_before": result.before.relative if result.before else None,
        "relative_after": result.after.relative if result.after else None,
        "tolerance": _tolerance(result),
        "fixed": str(result.fixed) if result.fixed else None,
        "notes": [sentence(note) for note in result.notes],
        "runtimes": list(result.runtimes),
    }


def compare_lines(result: Comparison) -> Iterator[Line]:
    """Yield what differs, what to change it to, and what that does."""
    alignment = result.alignment
    left = len(alignment.original), len(alignment.port)
    yield Line(
        f"{plural(len(alignment.pairs) + len(result.windows), 'padded operator')} aligned, "
        f"{left[0]} of the original and {left[1]} of the port not"
    )
    for side, units in (("original", alignment.original), ("port", alignment.port)):
        for unit in units[:_SHOWN]:
            yield Line(f"  only in the {side}: {_described(unit)}", style="dim")
        if len(units) > _SHOWN:
            yield Line(f"  and {len(units) - _SHOWN} more of the {side}", style="dim")
    for unlike in result.windows:
        yield Line.assemble((unlike.port.id, "bold"), f" should be {unlike.original.id}:")
        yield Line(f"  - {unlike.note}", style="red")
        yield Line(f"    not corrected: {sentence(_NO_FIX)}", style="yellow")
    reasons = {id(item.difference): item.reason for item in result.unfixed}
    for item in result.differences:
        yield from _difference_lines(item, reasons.get(id(item)))
    yield from _gap_lines(result)
    if result.first is not None:
        first, other = result.first, f" ('{result.first.original}' of the original)"
        same = first.original == first.port
        yield Line(f"  the difference begins {first.place}{'' if same else other}:")
        yield Line(f"    {sentence(result.first.note)}")
    for note in result.notes:
        yield Line(f"  note: {sentence(note)}", style="dim")
    if result.fixed:
        yield Line.assemble("Written: ", (str(result.fixed), "bold"))
    reason = f": {result.reason}" if result.reason else ""
    yield Line.assemble("Verdict: ", (result.status.value, _STYLES[result.status]), reason)


def _difference_lines(item: PaddingDifference, unfixed: str | None) -> Iterator[Line]:
    verb = "crops" if item.port.transposed else "pads"
    yield Line.assemble((item.port.id, "bold"), f" should be {item.original.id}:")
    wrong, right = (f" with {fill}" for fill in item.fills) if item.fills else ("", "")
    yield Line(f"  - it {verb} {_amounts(item.port_amounts)}{wrong}", style="red")
    extra = f", with output_padding {list(item.appended)}" if any(item.appended) else ""
    note = f" ({item.note})" if item.note else ""
    amounts = f"{_amounts(item.expected_amounts)}{right}"
    yield Line(f"  + it should be {amounts}{extra}{note}", style="green")
    hint = _torch(item)
    if hint:
        yield Line(f"    in PyTorch: {hint}, then padding=0")
    if unfixed:
        yield Line(f"    not corrected: {sentence(unfixed)}", style="yellow")


def _gap_lines(result: Comparison) -> Iterator[Line]:
    if result.before is not None:
        runtimes = "; ".join(dict.fromkeys(result.runtimes))
        yield Line(f"  as it is: {_gap_text(result.before)} ({runtimes})")
    if result.after is not None:
        yield Line(f"  with the padding corrected: {_gap_text(result.after)}")
    gap = result.after or result.before
    if gap is not None and not gap.reason:
        yield Line(f"  agreement is: {_agreement(gap)}", style="dim")


def _agreement(gap: Gap) -> str:
    """Return how far apart outputs may be, and why."""
    if gap.noise > MOST:
        within = f"within {gap.allowed:.2g} of the output's magnitude"
        return f"{within}, but not on {gap.excused} of the inputs: on one, {moved_by(gap.noise)}"
    measured = gap.noise > gap.allowed
    if gap.tolerance < RTOL:
        return "the same whole numbers"
    why = moved_by(gap.noise) if measured else _WHY[gap.allowed > RTOL]
    return f"within {gap.tolerance:.2g} of the output's magnitude ({why})"


def _tolerance(result: Comparison) -> dict[str, Any] | None:
    gap = result.after or result.before
    if gap is None:
        return None
    # Inputs on which rounding gives too much are not held to anything: that is no tolerance.
    relative = gap.allowed if gap.noise > MOST else gap.tolerance
    measured = gap.noise > gap.allowed
    return {"relative": relative, "measured": measured, "excused_inputs": gap.excused}


def _gap_text(gap: Gap) -> str:
    if gap.reason:
        return " ".join(gap.reason.split())
    return f"max |difference| {gap.max_abs:.3g}, {gap.relative:.2g} of the output's magnitude"


def _described(unit: Unit) -> str:
    window = unit.window
    return (
        f"{unit.id} ({unit.site.op.op_type}, kernel {times(window.kernel_shape)}, "
        f"stride {times(window.strides)})"
    )


def _first_difference(first: FirstDifference | None) -> dict[str, Any] | None:
    if first is None:
        return None
    return {
        "original": first.original,
        "port": first.port,
        "cause": first.cause.value,
        "upstream": [{"original": ours, "port": theirs} for ours, theirs in first.upstream],
        "note": sentence(first.note),
    }


def _difference(item: PaddingDifference, unfixed: str | None) -> dict[str, Any]:
    return {
        "original": item.original.id,
        "port": item.port.id,
        "op": item.port.site.op.op_type,
        "family": item.port.family.value,
        "port_pads": _pairs(item.port_pads),
        "expected_pads": _pairs(item.expected_pads),
        "by_remainder": _by_remainder(item),
        "output_padding": list(item.appended) if any(item.appended) else None,
        "fill": _fills(item),
        "note": sentence(item.note) if item.note else None,
        "not_corrected": sentence(unfixed) if unfixed else None,
        "window": None,
    }


def _fills(item: PaddingDifference) -> dict[str, Any] | None:
    if item.fills is None:
        return None
    port, expected = ({"mode": fill.mode, "value": fill.value} for fill in item.fills)
    return {"port": port, "expected": expected}


def _window_difference(item: WindowDifference) -> dict[str, Any]:
    right, wrong = item.windows
    return {
        "original": item.original.id,
        "port": item.port.id,
        "op": item.port.site.op.op_type,
        "family": item.port.family.value,
        "port_pads": _pairs(item.port.site.pads),
        "expected_pads": None,
        "by_remainder": None,
        "output_padding": None,
        "fill": None,
        "note": sentence(item.note),
        "not_corrected": sentence(_NO_FIX),
        "window": {"port": _window(wrong), "expected": _window(right)},
    }


def _window(window: Window) -> dict[str, list[int]]:
    return {
        "kernel_shape": list(window.kernel_shape),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
    }


def _pairs(pads: tuple[AxisPads, ...] | None) -> list[list[int]] | None:
    return None if pads is None else [list(pair) for pair in pads]


def _amounts(amounts: Sequence[AxisAmounts | None]) -> str:
    return "by a size that is open" if None in amounts else pairs_text(amounts)


def _by_remainder(item: PaddingDifference) -> dict[str, Any] | None:
    """Return amounts of open sizes: by axis, for each remainder of its size by the stride."""
    amounts = item.port_amounts, item.expected_amounts
    if not any(isinstance(axis, ByRemainder) for side in amounts for axis in side):
        return None
    port, expected = ([_cases(axis) for axis in side] for side in amounts)
    return {"port": port, "expected": expected}


def _cases(amounts: AxisAmounts | None) -> list[list[int]] | None:
    if amounts is None:
        return None
    cases = amounts.cases if isinstance(amounts, ByRemainder) else (amounts,)
    return [list(pads) for pads in cases]


def _torch(item: PaddingDifference) -> str:
    """Return the line of PyTorch that pads rightly; empty where no such line would do."""
    pads, family = item.expected_pads, item.port.family
    excluded = family is Family.AVG_POOL and not item.original.counts_padding
    if pads is None and not item.port.transposed and not excluded:
        return _torch_formula(item)
    if pads is None or item.port.transposed or excluded or not any(map(any, pads)):
        return ""
    amounts = ", ".join(f"{before}, {after}" for before, after in reversed(pads))
    least = family is Family.MAX_POOL and item.original.fills_least
    value = ', value=float("-inf")' if least else ""
    fill = item.original.contents
    if fill is not None and fill.mode != "constant":
        value = f', mode="{_TORCH_MODES.get(fill.mode, fill.mode)}"'
    elif fill is not None and fill.value:
        value = f", value={fill.value:g}"
    return f"x = F.pad(x, ({amounts}){value})"


def _torch_formula(item: PaddingDifference) -> str:
    """Return how PyTorch pads by the size that it gets; empty where that is not "same"."""
    modes = {Padding.SAME_UPPER: "total // 2, total - total // 2"}
    modes[Padding.SAME_LOWER] = "total - total // 2, total // 2"
    pair = modes.get(item.original.site.padding)
    if pair is None or any(map(any, item.original.ahead + item.original.behind)):
        return ""
    total = "max((-(-n // stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, 0)"
    return f"F.pad by ({pair}) per axis of size n, where total = {total}"
