"""Both models on the same inputs, and what the correction of one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from padaudit.compare.engine import Ran, run_model
from padaudit.compare.feeds import Feed, Link, as_port
from padaudit.compare.gap import ATOL, CLEARLY, FLOOR, RTOL, Gap, Noise, gap, gap_of
from padaudit.compare.pair import Pair
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load
from padaudit.verification.model_level import FeedPair, Tolerance, on_provider
from padaudit.verification.rounding import Rounding
from padaudit.verification.runner import Limits
from padaudit.verification.telling import telling
from padaudit.verification.unsteady import drawing, unsteady, why_unsteady

_SCALES: Final = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e9)


@dataclass(frozen=True, slots=True)
class Runs:
    """What both models gave, and how far the port is from the original."""

    original: Ran
    port: Ran
    feeds: Sequence[Feed]
    way: list[Link]
    rounding: Rounding
    gap: Gap

    @property
    def telling(self) -> bool:
        """Whether any output of the original changes with its inputs."""
        tolerance = on_provider(Tolerance(RTOL, ATOL, scaled=True))
        return not self.gap.mute and telling(self.original.outputs or [], tolerance)

    def apart(self, port: Ran) -> Gap:
        """Return how far a form of the port is from the original.

        What rounding gives is measured where that may decide.
        """
        found = gap_between(self.original, port)
        return found if found.equal else self.measured(port)

    def measured(self, port: Ran) -> Gap:
        """Return the same with what rounding gives measured in any case."""
        return gap_between(self.original, port, self.rounding.bounds)


def run_pair(pair: Pair, scratch: Path, limits: Limits) -> Runs | str:
    """Run both models on the same inputs; return why the original does not run, if it doesn't."""
    ours, error = Ran(None), ""
    for made in pair.tries(pair.bases):
        ours = run_model(pair.original, made, scratch / "original", limits)
        error = error or ours.error
        if ours.outputs is not None:
            break
    if ours.outputs is None:
        return error
    models = pair.original, pair.port
    rounding = Rounding(models, made, scratch / "rounding", limits, floor=FLOOR)
    best: Runs | None = None
    for way in pair.ways:
        given = [as_port(way, feed) for feed in made]
        theirs = run_model(pair.port, given, scratch / "port", limits)
        if theirs.outputs is None and pair.port.document.format != "onnx":
            return theirs.error
        runs = Runs(ours, theirs, made, way, rounding, gap_between(ours, theirs))
        if best is None or runs.gap.relative < best.gap.relative:
            best = runs
    return best or "it has no inputs"


def differing_feed(runs: Runs, port: Ran) -> FeedPair | None:
    """Return the first inputs on which a form of the port differs, for either model."""
    if runs.original.outputs is None or port.outputs is None:
        return None
    bounds = runs.rounding.bounds or [()] * len(runs.feeds)
    results = zip(runs.feeds, runs.original.outputs, port.outputs, bounds, strict=True)
    for feed, ours, theirs, noise in results:
        if not gap([ours], [theirs], [noise] if noise else ()).equal:
            return feed, as_port(runs.way, feed)
    return None


def random_side(pair: Pair, runs: Runs, scratch: Path, limits: Limits) -> str | None:
    """Return why the outputs of a model are others at each run; None if they are not."""
    sides = (
        (pair.original, runs.original, runs.feeds),
        (pair.port, runs.port, [as_port(runs.way, feed) for feed in runs.feeds]),
    )
    for place, (model, ran, given) in enumerate(sides):
        name = drawing(model.graph)
        if name is None or ran.outputs is None:
            continue
        again = run_model(model, given, scratch / f"again{place}", limits)
        if again.outputs is not None and unsteady(ran.outputs, again.outputs):
            return why_unsteady(str(model.document.path), name)
    return None


def run_port(path: Path, runs: Runs, scratch: Path, limits: Limits) -> Ran:
    """Run another form of the port on the inputs that it had."""
    given = [as_port(runs.way, feed) for feed in runs.feeds]
    return run_model(load(path, InputShapes()), given, scratch, limits)


def effect_of(
    runs: Runs, paths: tuple[Path, Path], ran: Ran, scratch: Path, limits: Limits
) -> Gap | None:
    """Return how far a correction moved a port, no further than rounding being not at all.

    None where that says nothing: nothing of the input gets through to the outputs.

    Parameters
    ----------
    runs : Runs
        What both models gave.
    paths : tuple of Path
        The port and its corrected form.
    ran : Ran
        What the corrected form gave.
    scratch : Path
        A folder that does not exist.
    limits : Limits
        What one run may take.
    """
    after = runs.apart(ran)
    effect = replace(gap_between(runs.port, ran), noise=after.noise)
    noise = min(runs.gap.relative, after.relative)
    if effect.relative > max(CLEARLY * noise, effect.rounding):
        return effect
    large = [
        {name: array * array.dtype.type(scale) for name, array in feed.items()}
        for feed in runs.feeds[:1]
        for scale in _SCALES
        if all(array.dtype == np.float32 for array in feed.values())
    ]
    if not large:
        return Gap() if _is_alive(runs.port) else None
    return _amplified(replace(runs, feeds=large), paths, scratch, limits)


def gap_between(original: Ran, port: Ran, noise: Noise = ()) -> Gap:
    """Return how far two runs are apart; ``noise`` is that of the first one's outputs."""
    if port.outputs is None or original.outputs is None:
        return gap_of(f"the port does not run: {port.error}")
    return gap(original.outputs, port.outputs, noise)


def _amplified(runs: Runs, paths: tuple[Path, Path], scratch: Path, limits: Limits) -> Gap | None:
    """Return how far a port and its corrected form are apart on large inputs.

    In a deep network that is not trained, little of an input gets through to the outputs.
    """
    first, second = (
        run_port(path, runs, scratch / str(place), limits) for place, path in enumerate(paths)
    )
    if first.outputs is None or second.outputs is None:
        return None
    effect = gap_between(first, second)
    if effect.relative > CLEARLY * effect.rounding:
        return effect
    return Gap() if _is_alive(first) else None


def _is_alive(ran: Ran) -> bool:
    """Tell whether the outputs of a model depend on what it is given."""
    first, *others = ran.outputs or [[]]
    return any(
        a.shape != b.shape or not np.allclose(a, b, equal_nan=True)
        for other in others
        for a, b in zip(first, other, strict=True)
    )
