"""What a comparison's runs say of its port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from padaudit.compare.differences import PaddingDifference
from padaudit.compare.gap import Gap
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.unlike import WindowDifference
from padaudit.verification.telling import TELLS_NOTHING

_SHOWN: Final = 8
_CLEARLY: Final = 4
_AGREE: Final = "with the padding corrected the outputs agree"


def not_run(draft: Comparison, reason: str) -> Comparison:
    """Return a comparison whose models' runs say nothing, with what can be said of it."""
    differs = draft.differences or draft.windows
    status = Sameness.DIFFERENT if differs else Sameness.UNVERIFIED
    return replace(draft, status=status, reason=reason)


def unneeded(dropped: Sequence[PaddingDifference]) -> tuple[str, ...]:
    """Return what is to be said of differences that don't have to be corrected."""
    if not dropped:
        return ()
    what = "the padding of {} differs, and the outputs agree no better if that is changed"
    return (what.format(_named(dropped)),)


def _named(found: Sequence[PaddingDifference] | Sequence[WindowDifference]) -> str:
    return ", ".join(f"'{item.port.id}'" for item in found[:_SHOWN])


def proven(result: Comparison) -> bool:
    """Tell whether correcting the differences made the port agree."""
    after = result.after
    return bool(result.differences) and after is not None and after.equal and not after.mute


def judged(draft: Comparison, effect: Gap | None) -> Comparison:
    """Return a comparison with its verdict.

    ``effect`` is how far the correction moved the port; None where that says nothing: the
    correction could not be run, or nothing gets through the network.
    """
    before, after = draft.before, draft.after
    if before is None or not before.equal:
        return replace(draft, status=Sameness.DIFFERENT, reason=_explained(draft))
    if draft.windows:
        note = f"the window of {_named(draft.windows)} differs, without an effect on any output"
        draft = replace(draft, windows=(), notes=(*draft.notes, note))
    if not draft.differences and before.mute:
        return replace(draft, status=Sameness.UNVERIFIED, reason=TELLS_NOTHING)
    if not draft.differences:
        return replace(draft, status=Sameness.SAME, reason=_by_rounding(before))
    further = after is not None and _is_further(after, before)
    if effect is not None and (effect.max_abs == 0 or further):
        what = "without an effect on any output"
        if further:
            what = "but the port agrees as it is, and not if that is changed"
        note = f"the padding of {_named(draft.differences)} differs, {what}"
        return replace(
            draft, status=Sameness.SAME, differences=(), after=None, notes=(*draft.notes, note)
        )
    reason = "the padding differs; on these inputs the outputs hardly show it"
    if after is not None and after.equal and _is_further(before, after):
        reason = f"{_AGREE}, clearly better than as it is"
    return replace(draft, status=Sameness.DIFFERENT, reason=reason)


def _by_rounding(gap: Gap) -> str:
    """Return how outputs agree that agree only as far as rounding moves them; else nothing."""
    if gap.plain:
        return ""
    return "the padding agrees, and the outputs do within what rounding gives in this network"


def _is_further(after: Gap, before: Gap) -> bool:
    """Tell whether a corrected port is clearly further from its original than the port is."""
    return after.relative > max(before.rounding, _CLEARLY * before.relative) or not after.equal


def _explained(draft: Comparison) -> str:
    after = draft.after
    if draft.windows:
        also = " and paddings differ" if draft.differences else " differ"
        return f"windows{also}: change the layers that are named, and compare again"
    if not draft.differences:
        return _without_differences(draft)
    if after is None:
        return "the port's format can't be corrected here; change the layers that are named"
    if after.equal:
        return f"the padding differs; {TELLS_NOTHING}" if after.mute else _AGREE
    if draft.unfixed:
        return "the padding differs; a difference remains, as not all of it could be corrected here"
    if after.reason:
        return f"the corrected port can't be compared: {after.reason}"
    rest = "the padding differs, and something else does too: a difference remains"
    if draft.first:
        return f"{rest}, and begins {draft.first.place}{_unaligned(draft)}"
    return f"{rest}{_unaligned(draft)}"


def _without_differences(draft: Comparison) -> str:
    what = "the outputs differ, but the padding of all aligned operators agrees"
    if draft.first:
        return f"{what}; the difference begins {draft.first.place}{_unaligned(draft)}"
    unlike = draft.before.reason if draft.before else ""
    return unlike or f"{what}: look at weights, preprocessing, unaligned operators"


def _unaligned(draft: Comparison) -> str:
    """Return which operators have no partner, to be put behind what differs."""
    sides = (("original", draft.alignment.original), ("port", draft.alignment.port))
    told = [
        f"{', '.join(repr(unit.id) for unit in units[:_SHOWN])}, which only the {side} has"
        for side, units in sides
        if units
    ]
    return f"; look at unaligned operators too: {', and '.join(told)}" if told else ""
