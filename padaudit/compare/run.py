"""The whole way of a comparison: read, align, run, correct, run again, and only then write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from padaudit.compare.align import align
from padaudit.compare.differences import PaddingDifference, differences, fill_differences
from padaudit.compare.fix import Unfixed, corrected
from padaudit.compare.pair import load_pair, settled
from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.runs import effect_of, gap_between, random_side, run_pair, run_port
from padaudit.compare.units import units_of
from padaudit.compare.verdict import judged, not_run, proven
from padaudit.errors import UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.output import Aside, output
from padaudit.rewriting.run import Loaded
from padaudit.verification.providers import using


def compare_files(
    original: Path,
    port: Path,
    input_shapes: InputShapes,
    fix: Path | None = None,
    timeout: float = 600.0,
    provider: str | None = None,
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
    provider : str, optional
        The execution provider that onnxruntime runs models on; the CPU's by default.

    Raises
    ------
    InputError
        If a file can't be read.
    UsageError
        If the models' inputs do not fit together, the fix can't be written there, or there is
        no such provider.
    """
    with using(provider):
        return _compared(original, port, input_shapes, fix, timeout)


def _compared(
    original: Path, port: Path, input_shapes: InputShapes, fix: Path | None, timeout: float
) -> Comparison:
    pair = load_pair(original, port, input_shapes)
    _check_fix(pair.port, port, fix)
    with tempfile.TemporaryDirectory(prefix="padaudit-") as name:
        pair, seen = settled(pair, Path(name), timeout)
        units = units_of(pair.original, seen[0].values), units_of(pair.port, seen[1].values)
        alignment = align(*units)
        found = differences(alignment)
        runs = run_pair(pair, Path(name), timeout)
        draft = Comparison(original, port, Sameness.UNVERIFIED, alignment, found)
        if isinstance(runs, str):
            return not_run(draft, f"the models were not run: {runs}")
        random = None if runs.gap.equal else random_side(pair, runs, Path(name), timeout)
        if random is not None:
            return not_run(draft, random)
        if not runs.gap.equal:
            found = (*found, *fill_differences(alignment))
        draft = replace(
            draft,
            differences=found,
            before=runs.gap,
            notes=tuple(filter(None, (pair.note, runs.original.note, runs.gap.note))),
            runtimes=(runs.original.runtime, runs.port.runtime),
        )
        if not found or pair.port.document.format != "onnx":
            return judged(draft, None)
        with _corrected(pair.port, found, fix, Path(name)) as (aside, unfixed):
            ran = run_port(aside.path, runs, Path(name) / "corrected", timeout)
            draft = replace(draft, after=gap_between(runs.original, ran), unfixed=unfixed)
            both, scratch = (port, aside.path), Path(name) / "amplified"
            done = judged(draft, effect_of(pair, runs, both, ran, scratch, timeout))
            if fix is not None and proven(done):
                aside.publish()
                return replace(done, fixed=fix)
        return done


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
