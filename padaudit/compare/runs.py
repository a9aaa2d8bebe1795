"""Both models on the same inputs, and what the correction of one does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from padaudit.compare.engine import Ran, run_model
from padaudit.compare.feeds import Feed, Link, as_port, feeds
from padaudit.compare.gap import Gap, gap, gap_of
from padaudit.compare.pair import Pair
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.walk import walk
from padaudit.rewriting.run import Loaded, load
from padaudit.verification.unsteady import drawing, unsteady, why_unsteady

_CROPS: Final = frozenset(
    {"CenterCropPad", "Cropping1D", "Cropping2D", "Cropping3D", "Gather", "GetItem", "Slice"}
    | {"Split", "StridedSlice"}
)
_SCALES: Final = (1e3, 1e6, 1e9)


@dataclass(frozen=True, slots=True)
class Runs:
    """What both models gave, and how far the port is from the original."""

    original: Ran
    port: Ran
    feeds: list[Feed]
    way: list[Link]
    gap: Gap


def run_pair(pair: Pair, scratch: Path, timeout: float) -> Runs | str:
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
    best: Runs | None = None
    for way in pair.ways:
        given = [as_port(way, feed) for feed in made]
        theirs = run_model(pair.port, given, scratch / "port", timeout)
        if theirs.outputs is None and pair.port.document.format != "onnx":
            return theirs.error
        runs = Runs(ours, theirs, made, way, gap_between(ours, theirs))
        if best is None or runs.gap.relative < best.gap.relative:
            best = runs
    return best or "it has no inputs"


def random_side(pair: Pair, runs: Runs, scratch: Path, timeout: float) -> str | None:
    """Return why the outputs of a model are others at each run; None if they are not."""
    sides = (
        (pair.original, runs.original, runs.feeds),
        (pair.port, runs.port, [as_port(runs.way, feed) for feed in runs.feeds]),
    )
    for place, (model, ran, given) in enumerate(sides):
        name = drawing(model.graph)
        if name is None or ran.outputs is None:
            continue
        again = run_model(model, given, scratch / f"again{place}", timeout)
        if again.outputs is not None and unsteady(ran.outputs, again.outputs):
            return why_unsteady(str(model.document.path), name)
    return None


def run_port(path: Path, runs: Runs, scratch: Path, timeout: float) -> Ran:
    """Run another form of the port on the inputs that it had."""
    given = [as_port(runs.way, feed) for feed in runs.feeds]
    return run_model(load(path, InputShapes()), given, scratch, timeout)


def effect_of(
    pair: Pair, runs: Runs, paths: tuple[Path, Path], ran: Ran, scratch: Path, timeout: float
) -> Gap | None:
    """Return how far a correction moved a port; None where that says nothing.

    Parameters
    ----------
    pair : Pair
        Both models.
    runs : Runs
        What they gave.
    paths : tuple of Path
        The port and its corrected form.
    ran : Ran
        What the corrected form gave.
    scratch : Path
        A folder that does not exist.
    timeout : float
        Seconds for one run.
    """
    effect = gap_between(runs.port, ran)
    if effect.max_abs == 0:
        effect = _amplified(paths, runs, scratch, timeout)
    if effect.max_abs == 0 and not (_crops(pair.original) or _crops(pair.port)):
        # Nothing could take away what is wrong: nothing of the input gets through, then.
        return None
    return effect


def gap_between(original: Ran, port: Ran) -> Gap:
    """Return how far two runs are apart."""
    if port.outputs is None or original.outputs is None:
        return gap_of(f"the port does not run: {port.error}")
    return gap(original.outputs, port.outputs)


def _amplified(paths: tuple[Path, Path], runs: Runs, scratch: Path, timeout: float) -> Gap:
    """Return how far a port and its corrected form are apart on large inputs.

    In a deep network that is not trained, little of an input gets through to the outputs.
    """
    large = [
        {name: array * array.dtype.type(scale) for name, array in feed.items()}
        for feed in runs.feeds[:1]
        for scale in _SCALES
        if all(array.dtype == np.float32 for array in feed.values())
    ]
    if not large:
        return Gap()
    scaled = replace(runs, feeds=large)
    first, second = (
        run_port(path, scaled, scratch / str(place), timeout) for place, path in enumerate(paths)
    )
    return Gap() if first.outputs is None or second.outputs is None else gap_between(first, second)


def _crops(model: Loaded) -> bool:
    """Tell whether something in a model may take away what wrong padding adds."""
    return any(
        visit.op.op_type in _CROPS
        and any(len(visit.graph.tensor(name).shape or ()) > 2 for name in visit.op.inputs[:1])
        for visit in walk(model.graph)
    )
