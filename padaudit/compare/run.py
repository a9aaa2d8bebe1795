"""The whole way of a comparison: read, align, run, correct, run again, and only then write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from padaudit.compare.align import align, readers
from padaudit.compare.differences import PaddingDifference, differences, possible_differences
from padaudit.compare.gap import Gap
from padaudit.compare.making_up import rescaling
from padaudit.compare.needed import Trial, is_doubtful, needed
from padaudit.compare.pair import Pair, load_pair, relinked, settled
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.runs import random_side, run_pair
from padaudit.compare.trials import Trials
from padaudit.compare.units import units_of
from padaudit.compare.unlike import pair_unlike
from padaudit.compare.verdict import inside, judged, not_run, proven, unneeded
from padaudit.errors import UsageError
from padaudit.formats.atomic import is_one_of
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.walk import graph_of_op
from padaudit.rewriting.run import Loaded
from padaudit.scratch import scratch_folder
from padaudit.verification.providers import using
from padaudit.verification.runner import USUAL, Limits


def compare_files(
    original: Path,
    port: Path,
    input_shapes: InputShapes,
    fix: Path | None = None,
    limits: Limits = USUAL,
    provider: str | None = None,
    inputs: Path | None = None,
) -> Comparison:
    """Find where the padding of a port differs from that of its original, and prove it.

    Parameters
    ----------
    original, port : Path
        Keras or ONNX files that should be the same network.
    input_shapes : InputShapes
        Sizes of the original's inputs that the user fixes.
    fix : Path, optional
        Where to write the port with the original's padding (ONNX ports). It is written only
        if it agrees with the original then.
    limits : Limits
        What one run of a model may take.
    provider : str, optional
        The execution provider that onnxruntime runs models on; the CPU's by default.
    inputs : Path, optional
        A ``.npz`` file of arrays by the names of the original's inputs, to run both on.

    Raises
    ------
    InputError
        If a file can't be read, or the arrays do not fit the original.
    UsageError
        If the models' inputs do not fit together, the fix can't be written there, or there is
        no such provider.
    """
    with using(provider):
        pair = load_pair(original, port, input_shapes, inputs)
        _check_fix(pair.port, original, port, fix)
        return _compared(pair, original, port, fix, limits)


def _compared(
    pair: Pair, original: Path, port: Path, fix: Path | None, limits: Limits
) -> Comparison:
    with scratch_folder() as scratch:
        pair, seen = settled(pair, scratch, limits)
        units = units_of(pair.original, seen[0].values), units_of(pair.port, seen[1].values)
        if len(pair.ways[0]) > 1:
            pair = relinked(pair, readers(*units))
        inputs = {link.ours.name: link.theirs.name for link in pair.ways[0]}
        alignment, windows = pair_unlike(align(*units, inputs))
        found = differences(alignment)
        draft = Comparison(original, port, Sameness.UNVERIFIED, alignment, found, windows)
        runs = run_pair(pair, scratch, limits)
        if isinstance(runs, str):
            return not_run(draft, f"the models were not run: {runs}")
        random = None if runs.gap.equal else random_side(pair, runs, scratch, limits)
        if random is not None:
            return not_run(draft, random)
        tried = pair.port.document.format == "onnx"
        if not runs.gap.equal and (tried or not found):
            found = (*found, *possible_differences(alignment))
        draft = replace(
            draft,
            differences=found,
            before=runs.gap,
            notes=tuple(
                filter(None, (pair.note, runs.original.note, runs.port.note, runs.gap.note))
            ),
            runtimes=(runs.original.runtime, runs.port.runtime),
        )
        trials = Trials(pair, runs, port, scratch, limits)
        if found and tried:
            return _tried(draft, trials, fix)
        return _judged(measured(draft, trials), None, trials)


def measured(draft: Comparison, trials: Trials) -> Comparison:
    """Return a comparison of models that the graphs show no difference of, with rounding measured.

    Where that explains how far they are apart, nothing shows what the graphs leave open.
    """
    certain = any(item.certain or item.divisor for item in draft.differences)
    if certain or draft.windows or trials.runs.gap.equal:
        return draft
    trial = trials.attempt(())
    draft = replace(draft, before=trial.gap)
    if trial.gap.equal:
        return replace(draft, differences=())
    return draft if draft.differences else _located(draft, trials, trial)


def _judged(draft: Comparison, effect: Gap | None, trials: Trials) -> Comparison:
    """Return a comparison with its verdict, and a look inside where outputs show nothing."""
    telling = trials.runs.telling
    done = judged(draft, effect, telling)
    if telling or done.status is not Sameness.SAME:
        return done
    return inside(done, trials.inside(done.alignment))


def _located(draft: Comparison, trials: Trials, trial: Trial) -> Comparison:
    """Return a comparison with where the models begin to differ, if not by windows or padding."""
    if draft.windows or trial.gap.equal or trial.unfixed:
        return draft
    return replace(draft, first=trials.first_difference(draft.alignment, trial))


def _tried(draft: Comparison, trials: Trials, fix: Path | None) -> Comparison:
    """Return a comparison with what correcting the port shows; write it if it agrees then."""
    holders = graph_of_op(trials.pair.port.graph)

    def made_up_for(item: PaddingDifference) -> bool:
        op = item.port.site.op
        rescaled = item.divisor and bool(rescaling(holders[id(op)], op))
        return is_doubtful(item) and (rescaled or not item.divisor)

    trial = needed(draft.differences, made_up_for, trials.attempt)
    draft = _located(draft, trials, trial)
    kept = {item.port for item in trial.found}
    dropped = [item for item in draft.differences if item.port not in kept]
    done = _judged(
        replace(
            draft,
            before=draft.before if trial.gap.plain else trials.attempt(()).gap,
            differences=trial.found,
            after=trial.gap if trial.found else None,
            unfixed=trial.unfixed,
            notes=(*draft.notes, *unneeded(dropped, trial.gap)),
        ),
        trial.effect,
        trials,
    )
    if fix is None or not proven(done):
        return done
    trials.publish(trial, fix)
    return replace(done, fixed=fix)


def _check_fix(model: Loaded, original: Path, port: Path, fix: Path | None) -> None:
    if fix is None:
        return
    if model.document.format != "onnx":
        raise UsageError(
            f"--fix corrects ONNX ports; {port} is a {model.document.format} model "
            "(the report says which layers to change)"
        )
    if fix.suffix.lower() != ".onnx":
        raise UsageError(f"--fix writes ONNX; give it a name that ends in .onnx, not '{fix.name}'")
    if not fix.absolute().parent.is_dir():
        raise UsageError(f"--fix {fix}: there is no folder {fix.absolute().parent}")
    if is_one_of(fix, [original, port]):
        raise UsageError(f"--fix {fix} is one of the two models; write to another file")
