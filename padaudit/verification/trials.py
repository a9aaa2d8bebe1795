"""Runs of two models on the same inputs, as they are tried against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from padaudit.compare.feeds import Link
from padaudit.verification.compare import compare_arrays, merge
from padaudit.verification.keras_level import SOURCE_RTOL
from padaudit.verification.model_level import Feed, Tolerance
from padaudit.verification.outputs import OutputMatch
from padaudit.verification.rounding import MOST, moved_by
from padaudit.verification.runner import Array


@dataclass(frozen=True, slots=True)
class Run:
    """The outputs of a model per set of inputs (None where it did not run), and what ran it."""

    outputs: list[tuple[Array, ...] | None]
    runtime: str
    error: str = ""

    @property
    def ran(self) -> bool:
        """Whether the model ran on any inputs."""
        return any(values is not None for values in self.outputs)


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to feed the second model.

    ``both`` are the sets of inputs on which both models ran, ``results`` the outputs of each on
    those; ``matches`` may say instead why they can't be compared.
    """

    given: Sequence[Feed]
    theirs: Run
    both: Sequence[int]
    results: Sequence[Sequence[tuple[Array, ...]]]
    matches: list[OutputMatch] | str

    @property
    def equal(self) -> bool:
        """Whether all outputs agree."""
        return not isinstance(self.matches, str) and all(item.equal for item in self.matches)


@dataclass(frozen=True, slots=True)
class Excused:
    """How far outputs may be apart that differ by no more than rounding gives.

    ``mute`` tells whether that is so much on all inputs that one of them tells nothing.
    """

    bound: float
    mute: bool

    @property
    def tolerance(self) -> Tolerance:
        """What operators inside the models may differ by."""
        return Tolerance(min(max(self.bound, SOURCE_RTOL), MOST), scaled=True)

    @property
    def reason(self) -> str:
        """What was allowed, and why, one clause."""
        return f"allowed: {self.bound:.2g} of the largest magnitude, as {moved_by(self.bound)}"


def excused(
    trial: Trial, unequal: Sequence[OutputMatch], bounds: Sequence[Sequence[float]]
) -> Excused | None:
    """Return what rounding gives where that explains all outputs that differ; else None.

    Parameters
    ----------
    trial : Trial
        Both models on the same inputs.
    unequal : sequence of OutputMatch
        The outputs that differ.
    bounds : sequence of sequence of float
        `padaudit.verification.rounding.Rounding.bounds` on these inputs.
    """
    allowed = [0.0]
    for item in unequal:
        for place, found in enumerate(item.found):
            if found.equal:
                continue
            if not bounds or item.order is None:
                return None
            bound = bounds[place][item.ours]
            a, b = (side[place][at] for side, at in zip(trial.results, _places(item), strict=True))
            limits = Tolerance(bound, scaled=True).bounds(a)
            if not compare_arrays(b.transpose(item.order), a, *limits).equal:
                return None
            allowed.append(bound)
    mute = any(min(each[item.ours] for each in bounds) > MOST for item in unequal)
    return Excused(max(allowed), mute)


def _places(match: OutputMatch) -> tuple[int, int]:
    return match.ours, match.theirs


def run_on(ours: Run, theirs: Run) -> list[int]:
    """Return on which inputs both models ran."""
    pairs = enumerate(zip(ours.outputs, theirs.outputs, strict=True))
    return [place for place, pair in pairs if pair[0] is not None and pair[1] is not None]


def guessed(way: Sequence[Link]) -> str:
    """Return the clause that says how inputs were matched where nothing but outputs told."""
    pairs = ", ".join(f"'{link.ours.name}' with '{link.theirs.name}'" for link in way)
    return f"inputs were matched by trying, as they differ in name and order: {pairs}"


def rank(trial: Trial) -> tuple[bool, float]:
    """Return what sorts ways by how well they fit, the best first."""
    if isinstance(trial.matches, str):
        return not trial.both, math.inf
    return False, merge(item for match in trial.matches for item in match.found).max_abs
