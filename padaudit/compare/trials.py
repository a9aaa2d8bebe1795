"""A port with some of its differences corrected, run on the inputs that it had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from padaudit.compare.align import Alignment
from padaudit.compare.beginning import FirstDifference, beginning
from padaudit.compare.engine import Ran
from padaudit.compare.feeds import as_port
from padaudit.compare.fix import Unfixed, corrected
from padaudit.compare.gap import RTOL, gap_of
from padaudit.compare.needed import Found, Trial
from padaudit.compare.pair import Pair
from padaudit.compare.runs import Runs, differing_feed, effect_of, run_port
from padaudit.errors import InputError, shown
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.output import Aside, output
from padaudit.rewriting.run import Loaded, load
from padaudit.verification.model_level import FeedPair
from padaudit.verification.rounding import MOST
from padaudit.verification.runner import Limits


@dataclass(frozen=True, slots=True)
class Trials:
    """What a port is corrected from, and compared with.

    Parameters
    ----------
    pair : Pair
        Both models; the port is ONNX.
    runs : Runs
        What they gave.
    port : Path
        The port's file.
    scratch : Path
        A folder that the caller removes.
    limits : Limits
        What one run may take.
    """

    pair: Pair
    runs: Runs
    port: Path
    scratch: Path
    limits: Limits

    def attempt(self, found: Found) -> Trial:
        """Correct some differences and run the port."""
        runs = self.runs
        if not found:
            return Trial((), runs.apart(runs.port), runs.port)
        try:
            return self._run(found)
        except InputError as error:
            # The user has no file of what could not be made of the port: the cause is to be told.
            place = f"node '{shown(error.node)}': " if error.node else ""
            reason = f"{place}{shown(error.cause)}; {error.advice}"
            unfixed = tuple(Unfixed(item, reason) for item in found)
            return Trial(found, gap_of(reason), Ran(None, reason), unfixed)

    def _run(self, found: Found) -> Trial:
        runs = self.runs
        with self._written(found, None) as (aside, unfixed):
            ran = run_port(aside.path, runs, self.scratch / "corrected", self.limits)
            ran = replace(ran, error=ran.error.replace(str(aside.path), "the corrected port"))
            after, effect = runs.apart(ran), None
            if runs.gap.equal or (not after.plain and runs.apart(runs.port).equal):
                both, folder = (self.port, aside.path), self.scratch / "amplified"
                effect = effect_of(runs, both, ran, folder, self.limits)
        return Trial(found, after, ran, unfixed, effect)

    def publish(self, trial: Trial, target: Path) -> None:
        """Write the corrected port of a trial to where it was asked for."""
        with self._written(trial.found, target) as (aside, _):
            aside.publish()

    def first_difference(self, alignment: Alignment, trial: Trial) -> FirstDifference | None:
        """Return where a corrected port begins to differ from the original."""
        feed = differing_feed(self.runs, trial.ran)
        if feed is None:
            return None
        if not trial.found:
            return self._beginning(alignment, self.pair.port, feed, trial)
        with self._written(trial.found, None) as (aside, _):
            return self._beginning(alignment, load(aside.path, InputShapes()), feed, trial)

    def inside(self, alignment: Alignment) -> FirstDifference | None:
        """Return where the models begin to differ on inputs on which their outputs agree."""
        runs = self.runs
        feed = runs.feeds[0], as_port(runs.way, runs.feeds[0])
        return self._beginning(alignment, self.pair.port, feed, self.attempt(()))

    def _beginning(
        self, alignment: Alignment, port: Loaded, feed: FeedPair, trial: Trial
    ) -> FirstDifference | None:
        models, rtol = (self.pair.original, port), min(max(trial.gap.tolerance, RTOL), MOST)
        return beginning(alignment.pairs, models, feed, self.scratch, self.limits, rtol)

    @contextmanager
    def _written(
        self, found: Found, target: Path | None
    ) -> Iterator[tuple[Aside, tuple[Unfixed, ...]]]:
        """Yield a corrected port, written aside; it is gone afterwards unless published."""
        document: Any = self.pair.port.document
        new, unfixed = corrected(document, self.pair.port.graph, found)
        place = target or self.scratch / "fixed.onnx"
        if target is None and document.data_files:
            # onnxruntime reads external data beside the model only.
            place = document.path.with_name(f"{document.path.stem}.corrected.onnx")
        with output(new, document, place, Options()) as aside:
            yield aside, unfixed
