"""The whole way of a comparison: read, align, run, correct, run again, and only then write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from padaudit.compare.align import align
from padaudit.compare.differences import PaddingDifference, differences
from padaudit.compare.engine import Ran, run_model, specs_of
from padaudit.compare.feeds import Feed, Link, as_port, feeds, links
from padaudit.compare.fix import Unfixed, corrected
from padaudit.compare.gap import Gap, gap, gap_of
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.seen import Seen, observe, unsettled
from padaudit.compare.units import units_of
from padaudit.errors import UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.output import Aside, output
from padaudit.rewriting.run import Loaded, load, loaded

_SHOWN: Final = 8
_BASES: Final = ((32, 33, 47), (64,))
"""Sizes to run models of open size at; networks with skip connections want powers of two."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both models, and the ways in which their inputs may belong together.

    ``base`` are the sizes that open ones are tried at.
    """

    original: Loaded
    port: Loaded
    ways: list[list[Link]]
    bases: Sequence[Sequence[int]] = _BASES
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Runs:
    """What both models gave, and how far the port is from the original."""

    original: Ran
    port: Ran
    feeds: list[Feed]
    way: list[Link]
    gap: Gap


def compare_files(
    original: Path,
    port: Path,
    input_shapes: InputShapes,
    fix: Path | None = None,
    timeout: float = 600.0,
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
    timeout : float
        Seconds for one run of a model.

    Raises
    ------
    InputError
        If a file can't be read.
    UsageError
        If the models' inputs do not fit together, or the fix can't be written there.
    """
    pair = _load(original, port, input_shapes)
    _check_fix(pair.port, port, fix)
    with tempfile.TemporaryDirectory(prefix="padaudit-") as name:
        pair, seen = _settled(pair, Path(name), timeout)
        units = units_of(pair.original, seen[0].values), units_of(pair.port, seen[1].values)
        alignment = align(*units)
        found = differences(alignment)
        runs = _run(pair, Path(name), timeout)
        draft = Comparison(original, port, Sameness.UNVERIFIED, alignment, found)
        if isinstance(runs, str):
            return _not_run(draft, runs)
        draft = replace(
            draft,
            before=runs.gap,
            notes=tuple(filter(None, (pair.note, runs.original.note, runs.gap.note))),
            runtimes=(runs.original.runtime, runs.port.runtime),
        )
        if not found or pair.port.document.format != "onnx":
            return _judged(draft, None)
        with _corrected(pair.port, found, fix, Path(name)) as (aside, unfixed):
            ran = _run_port(aside.path, runs, Path(name) / "corrected", timeout)
            draft = replace(draft, after=_gap(runs.original, ran), unfixed=unfixed)
            done = _judged(draft, _gap(runs.port, ran))
            if fix is not None and _proven(done):
                aside.publish()
                return replace(done, fixed=fix)
        return done


def _load(original: Path, port: Path, input_shapes: InputShapes) -> _Pair:
    """Read both models, with the sizes that either states or the user gives."""
    ours, theirs = load(original, input_shapes), load(port, InputShapes())
    specs = specs_of(ours, input_shapes), specs_of(theirs, InputShapes())
    ways = links(*specs)
    if len(ways) > 1:
        return _Pair(ours, theirs, ways)
    narrowed = {link.ours.name: link.narrowed().shape for link in ways[0]}
    fixed = {name: _sizes(shape) for name, shape in narrowed.items()}
    moved = {
        link.theirs.name: tuple(fixed[link.ours.name][axis] for axis in link.order)
        for link in ways[0]
    }
    if any(_sizes(spec.shape) != fixed[spec.name] for spec in specs[0]):
        ours = load(original, InputShapes(fixed))
    if any(_sizes(spec.shape) != moved[spec.name] for spec in specs[1]):
        theirs = load(port, InputShapes(moved))
    return _Pair(ours, theirs, ways)


def _settled(pair: _Pair, scratch: Path, timeout: float) -> tuple[_Pair, tuple[Seen, Seen]]:
    """Look at one run of each model whose Pads have amounts that the file does not state.

    Where sizes are open, both models are compared at the sizes of that run alone.
    """
    if len(pair.ways) > 1 or not (unsettled(pair.original) or unsettled(pair.port)):
        return pair, (Seen(), Seen())
    way = pair.ways[0]
    feed = feeds(way, _BASES[-1])[0]
    given = as_port(way, feed)
    fixed = [
        Link(
            replace(link.ours, shape=feed[link.ours.name].shape),
            replace(link.theirs, shape=given[link.theirs.name].shape),
            link.order,
        )
        for link in way
    ]
    sides = []
    for model, values in ((pair.original, feed), (pair.port, given)):
        shapes = InputShapes({name: array.shape for name, array in values.items()})
        sized = loaded(model.document, shapes)
        seen = observe(sized, values, scratch, timeout) if unsettled(sized) else Seen()
        sides.append((loaded(model.document, shapes, seen.shapes) if seen.shapes else sized, seen))
    opened = any(not isinstance(size, int) for link in way for size in link.narrowed().shape[1:])
    note = "amounts are computed from sizes that are open: compared at 64 only" if opened else ""
    (ours, first), (theirs, second) = sides
    return _Pair(ours, theirs, [fixed], _BASES[-1:], note), (first, second)


def _sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)


def _check_fix(model: Loaded, port: Path, fix: Path | None) -> None:
    if fix is None:
        return
    if model.document.format != "onnx":
        raise UsageError(
            f"--fix corrects ONNX ports; {port} is a {model.document.format} model "
            "(the report says which layers to change)"
        )
    if fix.suffix.lower() != ".onnx":
        raise UsageError(f"--fix writes ONNX; give it a name that ends in .onnx, not '{fix.name}'")
    if fix.exists() and fix.samefile(port):
        raise UsageError(f"--fix {fix} is the port itself; write to another file")


def _run(pair: _Pair, scratch: Path, timeout: float) -> _Runs | str:
    """Run both models on the same inputs; return why the original does not run, if it doesn't."""
    ours, error = Ran(None), ""
    for base in pair.bases:
        made = feeds(pair.ways[0], base)
        ours = run_model(pair.original, made, scratch / "original", timeout)
        error = error or ours.error
        if ours.outputs is not None:
            break
    if ours.outputs is None:
        return error
    best: _Runs | None = None
    for way in pair.ways:
        given = [as_port(way, feed) for feed in made]
        theirs = run_model(pair.port, given, scratch / "port", timeout)
        if theirs.outputs is None and pair.port.document.format != "onnx":
            return theirs.error
        runs = _Runs(ours, theirs, made, way, _gap(ours, theirs))
        if best is None or runs.gap.relative < best.gap.relative:
            best = runs
    return best or "it has no inputs"


def _run_port(path: Path, runs: _Runs, scratch: Path, timeout: float) -> Ran:
    given = [as_port(runs.way, feed) for feed in runs.feeds]
    return run_model(load(path, InputShapes()), given, scratch, timeout)


def _gap(original: Ran, port: Ran) -> Gap:
    if port.outputs is None or original.outputs is None:
        return gap_of(f"the port does not run: {port.error}")
    return gap(original.outputs, port.outputs)


@contextmanager
def _corrected(
    port: Loaded, found: Sequence[PaddingDifference], fix: Path | None, scratch: Path
) -> Iterator[tuple[Aside, tuple[Unfixed, ...]]]:
    """Yield the corrected port, written aside; it is gone afterwards unless it is published."""
    document: Any = port.document
    new, unfixed = corrected(document, port.graph, found)
    target = fix or scratch / "fixed.onnx"
    if fix is None and document.data_files:
        # onnxruntime reads external data beside the model only.
        target = document.path.with_name(f"{document.path.stem}.corrected.onnx")
    with output(new, document, target, Options()) as aside:
        yield aside, unfixed


def _not_run(draft: Comparison, error: str) -> Comparison:
    reason = f"the models were not run: {error}"
    status = Sameness.DIFFERENT if draft.differences else Sameness.UNVERIFIED
    return replace(draft, status=status, reason=reason)


def _proven(result: Comparison) -> bool:
    after = result.after
    return bool(result.differences) and after is not None and after.equal


def _judged(draft: Comparison, effect: Gap | None) -> Comparison:
    """Return a comparison with its verdict; ``effect`` is how far the correction moved the port."""
    before, after = draft.before, draft.after
    if before is None or not before.equal:
        return replace(draft, status=Sameness.DIFFERENT, reason=_explained(draft))
    if not draft.differences:
        return replace(draft, status=Sameness.SAME)
    if effect is not None and (effect.max_abs == 0 or (after is not None and not after.equal)):
        names = ", ".join(f"'{item.port.id}'" for item in draft.differences[:_SHOWN])
        note = f"the padding of {names} differs, without an effect on any output"
        return replace(
            draft, status=Sameness.SAME, differences=(), after=None, notes=(*draft.notes, note)
        )
    reason = "the padding differs; on these inputs the outputs hardly show it"
    return replace(draft, status=Sameness.DIFFERENT, reason=reason)


def _explained(draft: Comparison) -> str:
    before, after = draft.before, draft.after
    if not draft.differences:
        what = "the outputs differ, but the padding of all aligned operators agrees"
        unlike = before.reason if before else ""
        return unlike or f"{what}: look at weights, preprocessing, unaligned operators"
    if after is None:
        return "the port's format can't be corrected here; change the layers that are named"
    if after.equal:
        return "with the padding corrected the outputs agree"
    if after.reason:
        return f"the corrected port can't be compared: {after.reason}"
    return "the padding differs, and something else does too: a difference remains"
