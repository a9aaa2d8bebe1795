"""The runs of two models on the same inputs, and the verdict that they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from padaudit.compare.engine import run_model
from padaudit.compare.feeds import Link, as_port, other_links
from padaudit.rewriting.run import Loaded
from padaudit.verification.branches import judged
from padaudit.verification.compare import merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.explicit_form import Runnable
from padaudit.verification.locate import Located, locate
from padaudit.verification.model_level import (
    NO_ELEMENTS,
    Feed,
    FeedPair,
    Tolerance,
    run_each,
    setup_of,
)
from padaudit.verification.outputs import OutputMatch, matched
from padaudit.verification.reach import bodies_of
from padaudit.verification.rounding import Excused, Rounding
from padaudit.verification.runner import Limits
from padaudit.verification.steering import steered
from padaudit.verification.telling import TELLS_NOTHING, looked_inside, telling
from padaudit.verification.trials import Run, Trial, differing, guessed, rank, run_on
from padaudit.verification.unsteady import drawing, unsteady, why_unsteady


def _branches(model: Loaded) -> bool:
    return model.document.format == "onnx" and bool(bodies_of(model.graph))


_OWN_ONLY: Final = (
    "made-up inputs (random, border impulses, constant): only the given ones were run"
)


@dataclass(frozen=True, slots=True)
class TwoModels:
    """Two models, as they are and as they run.

    ``steer`` to try inputs for other branches too, ``measured`` to allow for what rounding is
    measured to give.
    """

    models: tuple[Loaded, Loaded]
    forms: tuple[Runnable, Runnable]
    tolerance: Tolerance
    limits: Limits
    steer: bool
    measured: bool = False

    def verdict(self, ways: Sequence[Sequence[Link]], tries: Sequence[list[Feed]]) -> Verification:
        """Run both models; of several ways to feed the second, the one that fits best counts.

        Where none makes them agree, inputs whose names do not tell are also tried in other
        orders.
        """
        ours, feeds = self._first(tries)
        if not ours.ran:
            return self._unverified(self._failed(0, ours.error))
        trials: list[Trial] = []
        for way in ways:
            trials.append(self._trial(ours, way, feeds))
            if trials[-1].equal:
                return self._compared(ours, trials[-1], feeds)
        for guess in other_links(ways[0]):
            trial = self._trial(ours, guess, feeds)
            if trial.equal:
                found = self._compared(ours, trial, feeds)
                return replace(found, not_covered=(*found.not_covered, guessed(guess)))
        return self._compared(ours, min(trials, key=rank), feeds)

    def _trial(self, ours: Run, way: Sequence[Link], feeds: Sequence[Feed]) -> Trial:
        """Run the second model on what one way makes of the first one's inputs."""
        given: list[Feed] = [as_port(way, feed) for feed in feeds]
        theirs = self._run(1, given)
        both = run_on(ours, theirs)
        if not both:
            return Trial(given, theirs, both, [[], []], self._failed(1, theirs.error))
        results = [[run.outputs[place] or () for place in both] for run in (ours, theirs)]
        names = self._output_names(0), self._output_names(1)
        matches = matched(names, results[0], results[1], self.tolerance)
        return Trial(given, theirs, both, results, matches)

    def _first(self, tries: Sequence[list[Feed]]) -> tuple[Run, list[Feed]]:
        for feeds in tries:
            ours = self._run(0, feeds)
            if ours.ran:
                break
        if not ours.ran or not self.steer or not any(map(_branches, self.models)):
            return ours, feeds
        # A run of their own: what the model refuses of these costs none of the others.
        first = run_on(ours, ours)[0]
        further: list[Feed] = list(steered(feeds[first]))
        more = self._run(0, further)
        pairs = [pair for pair in zip(further, more.outputs, strict=True) if pair[1] is not None]
        outputs = [*ours.outputs, *(values for _, values in pairs)]
        return replace(ours, outputs=outputs), [*feeds, *(feed for feed, _ in pairs)]

    def _run(self, side: int, feeds: Sequence[Feed]) -> Run:
        model, form = self.models[side], self.forms[side]
        if model.document.format != "onnx":
            given = [dict(feed) for feed in feeds]
            ran = run_model(model, given, form.scratch, self.limits)
            if ran.outputs is None:
                return Run([None] * len(feeds), ran.runtime, ran.error)
            return Run([tuple(values) for values in ran.outputs], ran.runtime)
        outcomes = run_each(form.path, feeds, self.limits.timeout, self.limits.memory_mb)
        errors = [outcome.error for outcome in outcomes if outcome.error]
        outputs = [outcome.outputs[0] if outcome.outputs else None for outcome in outcomes]
        return Run(outputs, outcomes[0].runtime, errors[0] if errors else "")

    def _compared(self, ours: Run, trial: Trial, feeds: Sequence[Feed]) -> Verification:
        theirs, given, both, matches = trial.theirs, trial.given, trial.both, trial.matches
        if not both:
            return self._unverified(str(matches))
        if isinstance(matches, str):
            return Verification(Status.DIFFERENT, (), None, matches, self._notes())
        missed = [
            self._failed(side, run.error)
            for side, run in enumerate((ours, theirs))
            if len([item for item in run.outputs if item is not None]) < len(feeds)
        ]
        if not any(array.size for values in trial.results[0] for array in values):
            return self._unverified(NO_ELEMENTS)
        evidence = self._evidence(matches, (ours, theirs), [feeds[place] for place in both])
        notes = (*self._notes(), *missed, *self._moved(matches))
        if trial.equal:
            agreeing = Verification(Status.EQUIVALENT, (evidence,), not_covered=notes)
            if not any(telling(values, self.tolerance) for values in trial.results):
                agreeing = self._looked_inside(agreeing, (feeds[both[0]], given[both[0]]))
            if agreeing.status is not Status.EQUIVALENT:
                return agreeing
            return self._judged(agreeing, [(feeds[place], given[place]) for place in both])
        return self._differing(ours, trial, feeds, evidence, notes)

    def _differing(
        self,
        ours: Run,
        trial: Trial,
        feeds: Sequence[Feed],
        evidence: Evidence,
        notes: tuple[str, ...],
    ) -> Verification:
        """Judge outputs that differ: a model may draw random numbers, or rounding explain it."""
        theirs, given, both = trial.theirs, trial.given, trial.both
        unequal = [
            item for item in trial.matches if isinstance(item, OutputMatch) and not item.equal
        ]
        random = self._unsteady(0, ours, feeds), self._unsteady(1, theirs, given)
        steady = (m for m in unequal if m.ours not in random[0] and m.theirs not in random[1])
        worst = next(steady, None)
        if worst is None:
            side = 0 if random[0] else 1
            reason = why_unsteady(str(self.models[side].document.path), self._drawing(side))
            return Verification(Status.UNVERIFIED, (evidence,), None, reason, notes)
        first = next(place for place, item in enumerate(worst.found) if not item.equal)
        place = both[min(first, len(both) - 1)]
        excused = self._excused(trial, unequal, [feeds[item] for item in both])
        allowed = self.tolerance if excused is None else excused.tolerance(self.tolerance)
        pair = feeds[place], given[place]
        located = locate(self.models, self.forms, pair, allowed, self.limits)
        if excused is None or located.site is not None:
            return self._different(worst, located, evidence, notes)
        evidence = replace(evidence, detail=f"{evidence.detail}; {excused.reason}")
        if excused.mute:
            return Verification(Status.UNVERIFIED, (evidence,), None, TELLS_NOTHING, notes)
        if not located.compared and any(model.sites for model in self.models):
            reason = f"outputs differ as far as rounding may move them, and {located.reason}"
            return Verification(Status.UNVERIFIED, (evidence,), None, reason, notes)
        agreeing = Verification(Status.EQUIVALENT, (evidence,), not_covered=notes)
        return self._judged(agreeing, [(feeds[item], given[item]) for item in both])

    def _excused(
        self, trial: Trial, unequal: Sequence[OutputMatch], feeds: Sequence[Feed]
    ) -> Excused | None:
        """Return what rounding gives where it explains why outputs differ; else None."""
        if not self.measured:
            return None
        folder = self.forms[0].scratch / "rounding"
        form = self.forms[0]
        path = form.path if form.model.document.format == "onnx" else None
        rounding = Rounding(self.models, feeds, folder, self.limits, path=path)
        return rounding.explains(list(differing(trial, unequal)))

    def _looked_inside(self, agreeing: Verification, feed: FeedPair) -> Verification:
        """Compare what padded operators give, where the outputs are the same for all inputs."""
        sites = max(len(model.sites) for model in self.models)
        if not sites:
            return agreeing
        located = locate(self.models, self.forms, feed, self.tolerance, self.limits)
        return looked_inside(agreeing, located.site, located.compared, sites)

    def _judged(self, agreeing: Verification, feeds: Sequence[FeedPair]) -> Verification:
        """Judge agreement by the branches that were taken."""
        models = self.forms[0].model, self.forms[1].model
        limits = self.limits.timeout, self.limits.memory_mb
        return judged(agreeing, models, feeds, self.steer, *limits)

    def _moved(self, matches: Sequence[OutputMatch]) -> Iterator[str]:
        """Yield how outputs were matched, where neither names nor order tell."""
        names = self._output_names(0), self._output_names(1)
        pairs = [(names[0][item.ours], names[1][item.theirs]) for item in matches]
        if any(item.ours != item.theirs for item in matches) and any(a != b for a, b in pairs):
            told = ", ".join(f"'{ours}' with '{theirs}'" for ours, theirs in pairs)
            yield f"outputs were matched by what they hold: {told}"

    def _unsteady(self, side: int, ran: Run, feeds: Sequence[Feed]) -> set[int]:
        """Return which outputs of a model are others when it is run again."""
        if self._drawing(side) is None:
            return set()
        return unsteady(ran.outputs, self._run(side, feeds).outputs)

    def _drawing(self, side: int) -> str | None:
        return drawing(self.models[side].graph)

    def _different(
        self,
        worst: OutputMatch,
        located: Located,
        evidence: Evidence,
        notes: tuple[str, ...],
    ) -> Verification:
        output = self._output_names(0)[worst.ours]
        difference = merge(worst.found)
        reason = f"output '{output}' differs: {difference.reason}"
        site = located.site
        if site is None:
            return Verification(
                Status.DIFFERENT, (evidence,), output, reason, (*notes, located.reason)
            )
        other = f" ('{site.other}' in the second model)" if site.other != site.id else ""
        reason = f"{reason}; the first padded operator that differs is '{site.id}'{other}"
        return Verification(
            Status.DIFFERENT,
            (evidence,),
            site.id,
            f"{reason}: {site.reason}",
            notes,
            site.where,
        )

    def _output_names(self, side: int) -> list[str]:
        return [name.split(":")[0] for name in self.models[side].graph.outputs]

    def _failed(self, side: int, error: str) -> str:
        return f"{self.models[side].document.path} could not be run: {error}"

    def _notes(self) -> tuple[str, ...]:
        notes = [form.note for form in self.forms if form.note]
        return tuple(dict.fromkeys((*notes, *([] if self.steer else [_OWN_ONLY]))))

    def _unverified(self, reason: str) -> Verification:
        return Verification(Status.UNVERIFIED, (), None, reason, self._notes())

    def _evidence(
        self, matches: Sequence[OutputMatch], runs: tuple[Run, Run], feeds: Sequence[Feed]
    ) -> Evidence:
        total = merge(item for match in matches for item in match.found)
        runtimes = dict.fromkeys(run.runtime for run in runs)
        counts = {"inputs": len(feeds), "outputs": len(matches)}
        moved = any(match.order and list(match.order) != sorted(match.order) for match in matches)
        layout = ", outputs in another layout" if moved else ""
        in_onnx = any(model.document.format == "onnx" for model in self.models)
        how = ", graph optimisations off" if in_onnx else ""
        return Evidence(
            "model",
            " and ".join(runtimes),
            total.max_abs,
            total.max_ulp,
            counts,
            f"both models whole{how}{layout}, {self.tolerance}",
            setup_of(feeds, self.tolerance, in_onnx),
        )
