"""Runs of two models on the same inputs, as they are tried against each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from padaudit.compare.feeds import Link
from padaudit.verification.compare import merge
from padaudit.verification.model_level import Feed
from padaudit.verification.outputs import OutputMatch
from padaudit.verification.rounding import Differing
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


def differing(trial: Trial, unequal: Sequence[OutputMatch]) -> Iterator[Differing]:
    """Yield where outputs differ, in the layout of the first model."""
    for item in unequal:
        for place, found in enumerate(item.found):
            if not found.equal:
                a, b = trial.results[0][place][item.ours], trial.results[1][place][item.theirs]
                yield place, item.ours, a, b if item.order is None else b.transpose(item.order)


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
