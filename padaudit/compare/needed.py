"""Which differences of a port have to be corrected: those that running shows to be needed.

Windows that stand elsewhere, divisors and pad values are read from the graph, and a port may make
up for any of them elsewhere: a mean divided by the mean of ones, a crop behind a sum. So the
corrected port is the judge. What is searched is the set of differences whose correction makes the
port agree, or, where something else differs too, comes nearest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from padaudit.compare.differences import PaddingDifference
from padaudit.compare.engine import Ran
from padaudit.compare.fix import Unfixed
from padaudit.compare.gap import CLEARLY, Gap
from padaudit.compare.unit import Unit

Found = tuple[PaddingDifference, ...]
_MOST_TRIALS: Final = 32
_NOT_ALONE: Final = "the outputs are no nearer then; what rescales it has to be changed with it"
_NEARER: Final = 1e-3
"""Which part of a deviation has to go for a port to be nearer to its original."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What correcting some differences did to a port.

    Parameters
    ----------
    found : tuple of PaddingDifference
        What was to be corrected.
    gap : Gap
        How far the corrected port is from the original.
    ran : Ran
        What it gave.
    unfixed : tuple of Unfixed
        What of it could not be corrected.
    effect : Gap or None
        How far the correction moved the port; None where that says nothing, or was not asked.
    """

    found: Found
    gap: Gap
    ran: Ran
    unfixed: tuple[Unfixed, ...] = ()
    effect: Gap | None = None


Try = Callable[[Found], Trial]


def needed(found: Found, made_up_for: Callable[[PaddingDifference], bool], attempt: Try) -> Trial:
    """Return the trial of those differences that have to be corrected.

    Parameters
    ----------
    found : tuple of PaddingDifference
        All that the graphs show.
    made_up_for : callable
        Tells whether the graph may make up for a difference: it goes if both ways agree.
    attempt : callable
        Corrects some differences, and runs the port.
    """
    search = _Search(attempt(found), attempt, made_up_for)
    doubtful = [item for item in search.items if is_doubtful(item)]
    if doubtful:
        search.consider(tuple(_whole(item, made_up_for) for item in found))
        search.consider(tuple(item for item in found if item.certain or item not in doubtful))
        search.climb(doubtful)
    nearest = search.best
    if not nearest.gap.equal:
        search.climb(search.items)
    if not search.best.gap.equal:
        search.best = attempt(())
        search.climb(search.items)
    if search.best.gap.equal and not _by_chance(search.best.gap, nearest.gap):
        return search.best
    return _with_windows(nearest, found)


def _by_chance(agreeing: Gap, other: Gap) -> bool:
    """Tell whether a port agrees, and another does not, only by what rounding happened to give."""
    return not (agreeing.plain or other.equal or other.relative > CLEARLY * agreeing.relative)


def _whole(
    item: PaddingDifference, made_up_for: Callable[[PaddingDifference], bool]
) -> PaddingDifference:
    """Return a difference, without the ratio that makes up for a divisor."""
    return item.without_ratio() if item.divisor and made_up_for(item) else item


def _with_windows(trial: Trial, found: Found) -> Trial:
    """Return a trial that leaves a difference with all windows that stand elsewhere.

    A port that makes up for a mean (by a division, say) needs more than its windows corrected.
    """
    kept = {_key(item): item for item in trial.found}
    left = {
        _key(item): item.windows_alone()
        for item in found
        if item.certain and _key(item) not in kept
    }
    places = kept | left
    every = tuple(places[_key(item)] for item in found if _key(item) in places)
    unfixed = tuple(Unfixed(item, _NOT_ALONE) for item in left.values())
    return replace(trial, found=every, unfixed=(*trial.unfixed, *unfixed))


def is_doubtful(item: PaddingDifference) -> bool:
    """Tell whether a difference is one of divisors or pad values too, which ports work around."""
    return item.divisor or not item.certain


class _Search:
    """The best trial so far, and how many more there may be."""

    def __init__(
        self, first: Trial, attempt: Try, made_up_for: Callable[[PaddingDifference], bool]
    ) -> None:
        self.best = first
        self.order = [_key(item) for item in first.found]
        self.attempt = attempt
        self.made_up_for = made_up_for
        self.left = _MOST_TRIALS
        out_of_reach = [item.difference for item in first.unfixed]
        self.items = [item for item in first.found if item not in out_of_reach]

    def climb(self, items: Sequence[PaddingDifference]) -> None:
        """Change what becomes of one difference after the other, as long as that helps."""
        moved = True
        while moved and self.left > 0:
            moved = sum(map(self._move, items)) > 0

    def _move(self, item: PaddingDifference) -> bool:
        """Try the other forms of one difference: left out, whole, its windows alone, no ratio."""
        forms = [None, item]
        if item.divisor and item.certain:
            forms.append(item.windows_alone())
        if item.divisor and self.made_up_for(item):
            forms.append(item.without_ratio())
        return sum(self.consider(self._with(item, form)) for form in forms) > 0

    def _with(self, item: PaddingDifference, form: PaddingDifference | None) -> Found:
        kept = {_key(other): other for other in self.best.found if _key(other) != _key(item)}
        if form is not None:
            kept[_key(form)] = form
        return tuple(kept[key] for key in self.order if key in kept)

    def consider(self, found: Found) -> bool:
        """Try a set, and take it if it is better than the best one."""
        if self.left <= 0 or found == self.best.found:
            return False
        self.left -= 1
        new = self.attempt(found)
        better = self._better(new, self.best)
        self.best = new if better else self.best
        return better

    def _better(self, new: Trial, old: Trial) -> bool:
        if new.gap.equal != old.gap.equal:
            return new.gap.equal
        if new.gap.plain != old.gap.plain:
            return new.gap.plain
        if new.gap.equal:
            whole = _windows(new) == _windows(old)
            return whole and _count(new, self.made_up_for) < _count(old, self.made_up_for)
        if new.gap.rms < old.gap.rms * (1 - _NEARER):
            return True
        as_near = math.isfinite(new.gap.rms) and new.gap.rms <= old.gap.rms * (1 + _NEARER)
        fewer = _count(new, is_doubtful) < _count(old, is_doubtful)
        return as_near and fewer and _windows(new) == _windows(old)


def _count(trial: Trial, what: Callable[[PaddingDifference], bool]) -> int:
    return sum(what(item) for item in trial.found)


def _windows(trial: Trial) -> list[tuple[Unit, Unit]]:
    return [_key(item) for item in trial.found if item.certain]


def _key(item: PaddingDifference) -> tuple[Unit, Unit]:
    return item.original, item.port
