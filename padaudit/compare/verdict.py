"""What a comparison's runs say of its port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from padaudit.compare.beginning import Cause, FirstDifference
from padaudit.compare.differences import PaddingDifference
from padaudit.compare.gap import CLEARLY, Gap
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.unlike import WindowDifference
from padaudit.verification.rounding import undecided
from padaudit.verification.telling import (
    DOUBT,
    LOOKED_INSIDE,
    NOT_COMPARED,
    SHOWS_NOTHING,
    TELLS_NOTHING,
)

_SHOWN: Final = 8
_AGREE: Final = "with the padding corrected the outputs agree"
_HARDLY: Final = "the padding differs; on these inputs the outputs hardly show it"
_DROWNED: Final = f"the padding differs; {TELLS_NOTHING}"
_BY_ROUNDING: Final = "the outputs agree within what rounding gives in this network"
_IDLE: Final = "without an effect on any output"
_PADDING_OF: Final = "the padding of"


def not_run(draft: Comparison, reason: str) -> Comparison:
    """Return a comparison whose models' runs say nothing, with what can be said of it."""
    differs = draft.differences or draft.windows
    status = Sameness.DIFFERENT if differs else Sameness.UNVERIFIED
    return replace(draft, status=status, reason=reason)


def unneeded(dropped: Sequence[PaddingDifference], gap: Gap) -> tuple[str, ...]:
    """Return what is to be said of differences that don't have to be corrected.

    Where outputs agree (``gap``) to what rounding gives in any network, running has shown that
    the port makes up for them.
    """
    told = [item for item in dropped if item.certain] if gap.equal else dropped
    if gap.plain or not told:
        return ()
    what = "and the outputs agree no better if that is changed"
    if gap.equal:
        what = "and without changing that the outputs agree within what rounding gives"
    return (f"{_PADDING_OF} {_named(told)} differs, {what}",)


def _named(found: Sequence[PaddingDifference] | Sequence[WindowDifference]) -> str:
    return ", ".join(f"'{item.port.id}'" for item in found[:_SHOWN])


def proven(result: Comparison) -> bool:
    """Tell whether correcting the differences made the port agree."""
    after = result.after
    return bool(result.differences) and after is not None and after.equal and not after.drowned


def judged(draft: Comparison, effect: Gap | None, telling: bool) -> Comparison:
    """Return a comparison with its verdict.

    ``effect`` is how far the correction moved the port; None where that says nothing: the
    correction could not be run, or nothing gets through the network. ``telling`` is whether the
    original's outputs change with its inputs.
    """
    before, after = draft.before, draft.after
    doubted = before is not None and (before.drowned or not telling)
    if before is None or not before.equal or (draft.windows and doubted):
        done = replace(draft, status=Sameness.DIFFERENT, reason=_explained(draft))
    else:
        done = _of_equal(_without_effect(draft, effect, before), before)
    gap = after or before
    silent = () if gap is None or gap.mute else undecided(gap.silent)
    return replace(done, notes=(*done.notes, *silent))


def _without_effect(draft: Comparison, effect: Gap | None, before: Gap) -> Comparison:
    """Return a comparison without what differs in the graph and has no effect."""
    if draft.windows:
        note = f"the window of {_named(draft.windows)} differs, {_IDLE}"
        draft = replace(draft, windows=(), notes=(*draft.notes, note))
    further = draft.after is not None and _is_further(draft.after, before)
    if not draft.differences or effect is None or not (effect.max_abs == 0 or further):
        return draft
    what = "but the port agrees as it is, and not if that is changed" if further else _IDLE
    note = f"{_PADDING_OF} {_named(draft.differences)} differs, {what}"
    return replace(draft, differences=(), after=None, notes=(*draft.notes, note))


def _of_equal(draft: Comparison, before: Gap) -> Comparison:
    """Return the verdict on a port whose outputs agree as it is."""
    after = draft.after
    if before.drowned:
        certain = any(item.certain for item in draft.differences)
        status = Sameness.DIFFERENT if certain else Sameness.UNVERIFIED
        reason = _DROWNED if certain else TELLS_NOTHING
    elif not draft.differences:
        status, reason = Sameness.SAME, "" if before.plain else _BY_ROUNDING
    else:
        status, reason = Sameness.DIFFERENT, _HARDLY
        if after is not None and after.equal and _is_further(before, after):
            reason = f"{_AGREE}, clearly better than as it is"
    return replace(draft, status=status, reason=reason)


def inside(same: Comparison, first: FirstDifference | None) -> Comparison:
    """Return the verdict on models whose outputs agree and do not change with the inputs.

    Parameters
    ----------
    same : Comparison
        What their outputs gave.
    first : FirstDifference or None
        Where operators in them begin to differ; None where none could be compared.
    """
    alignment = same.alignment
    if not (alignment.pairs or alignment.original or alignment.port):
        return replace(same, notes=(*same.notes, DOUBT))
    if first is None:
        return replace(same, status=Sameness.UNVERIFIED, reason=NOT_COMPARED)
    if first.cause is Cause.AFTER:
        return replace(same, notes=(*same.notes, LOOKED_INSIDE))
    # Weights differ in the files too, whatever is run.
    status = Sameness.DIFFERENT if first.cause is Cause.WEIGHTS else Sameness.UNVERIFIED
    reason = f"{SHOWS_NOTHING}, and a difference begins {first.place}{_unaligned(same)}"
    return replace(same, status=status, first=first, reason=reason)


def _is_further(after: Gap, before: Gap) -> bool:
    """Tell whether a corrected port is clearly further from its original than the port is.

    What agrees only as far as rounding moves it may agree by chance.
    """
    if before.drowned:
        return False
    clearly = after.relative > max(before.rounding, CLEARLY * before.relative)
    return clearly or (before.plain and not after.equal)


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
        return _DROWNED if after.drowned else _AGREE
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
