"""A Keras model on several backends, before and after its padding is made explicit."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from padaudit.errors import InputError, MissingDependencyError, UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.run import load, rewrite_file
from padaudit.scratch import scratch_folder
from padaudit.verification.backend_runs import BackendRun, run_backend
from padaudit.verification.backend_worker import LayerPath
from padaudit.verification.compare import Difference, compare_arrays, merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.keras_level import SOURCE_RTOL, keras_specs
from padaudit.verification.model_level import Tolerance, feeds_to_try
from padaudit.verification.runner import USUAL, Array, Limits

PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "tensorflow": ("tensorflow",),
    "torch": ("torch",),
    "jax": ("jax",),
    "numpy": ("jax",),
}
"""What each backend needs beside Keras (its numpy backend convolves with jax)."""
ALL: Final = "all"
VARIANTS: Final = ("original", "explicit")
AGREES, DIFFERS, FAILED = "agrees", "differs", "failed"
Key = tuple[str, str]
"""A variant and a backend."""
Taps = Mapping[LayerPath, tuple[Array, ...]]
_CALL: Final = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs against each other.

    Parameters
    ----------
    a, b : str
        The backends.
    status : str
        ``agrees``, ``differs`` or ``failed`` (one of the two did not run).
    max_abs : float
        Largest absolute difference of any output.
    site : str or None
        The first padded layer whose output differs, where it could be found.
    reason : str
        What differs or failed, one clause; empty where they agree.
    """

    a: str
    b: str
    status: str
    max_abs: float = 0.0
    site: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BackendReport:
    """How a model does on several backends.

    Parameters
    ----------
    backends : tuple of str
        In the order that was asked for; the first is the reference.
    runtimes : dict
        Versions by backend.
    pairs : dict
        By variant (``original``, ``explicit``): every pair of backends.
    rewrites : tuple of Comparison
        The original against the explicit model, on each backend.
    plan : Plan
        What was made explicit and what was kept.
    tolerance : Tolerance
        ``rtol`` is relative to the largest magnitude of an output.
    verification : Verification
        Equivalent if the explicit model agrees on all backends that can run it, and with
        the original on the first one.
    """

    backends: tuple[str, ...]
    runtimes: dict[str, str]
    pairs: dict[str, tuple[Comparison, ...]]
    rewrites: tuple[Comparison, ...]
    plan: Plan
    tolerance: Tolerance
    verification: Verification


def installed_backends() -> tuple[str, ...]:
    """Return the Keras backends whose packages are installed."""
    return tuple(name for name in PACKAGES if _missing(name) is None)


def chosen_backends(names: Iterable[str]) -> tuple[str, ...]:
    """Return the backends that are meant by names (``all``: those installed).

    Raises
    ------
    UsageError
        If a name is no backend of Keras, or there are not two to compare.
    MissingDependencyError
        If a backend's package is not installed.
    """
    asked = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if asked == (ALL,):
        asked = installed_backends()
    for name in asked:
        if name not in PACKAGES:
            known = ", ".join((*PACKAGES, ALL))
            raise UsageError(f"--backends: Keras has no backend '{name}'; there are {known}")
        package = _missing(name)
        if package is not None:
            raise MissingDependencyError(package, f"the {name} backend of Keras")
    if len(asked) < 2:
        found = f"only {asked[0]}" if asked else "none"
        raise UsageError(f"--backends compares two or more backends; {found} is here to run")
    return asked


def compare_backends(
    path: Path,
    backends: Sequence[str],
    input_shapes: InputShapes | None = None,
    tolerance: Tolerance | None = None,
    limits: Limits = USUAL,
) -> BackendReport:
    """Run a Keras file and its explicit form on backends, and compare all results.

    Parameters
    ----------
    path : Path
        A Keras file.
    backends : sequence of str
        Names of `PACKAGES`; the first is the reference.
    input_shapes : InputShapes, optional
        Sizes that the user fixes.
    tolerance : Tolerance, optional
        ``rtol`` is relative to the largest magnitude of an output; `SOURCE_RTOL` by default.
    limits : Limits
        What one backend may take to run both forms of the model.

    Raises
    ------
    InputError
        If the file can't be read, or is no Keras model.
    UsageError
        If no inputs can be made up for it.
    MissingDependencyError
        See `chosen_backends`.
    """
    names = chosen_backends(backends)
    shapes = input_shapes or InputShapes()
    model = load(path, shapes)
    if model.document.format == "onnx":
        advice = "give the Keras file that it was made from"
        raise InputError(path, "an ONNX model has no Keras backends", advice)
    tries = [[list(feed.values()) for feed in feeds] for feeds in feeds_to_try(keras_specs(model))]
    with scratch_folder() as scratch:
        target = scratch / f"explicit{path.suffix}"
        options = Options(input_shapes=shapes, verify="none")
        plan = rewrite_file(path, target, options).plan
        judge = _Judge([path, target], names, tries, model.sites, limits, _tolerance(tolerance))
        return judge.report(plan)


def _tolerance(given: Tolerance | None) -> Tolerance:
    return replace(given or Tolerance(SOURCE_RTOL, SOURCE_RTOL), scaled=True)


class _Judge:
    """The runs of both forms on all backends, and what they say about each other."""

    def __init__(
        self,
        files: Sequence[Path],
        names: Sequence[str],
        tries: Sequence[Sequence[Sequence[Array]]],
        sites: Sequence[PaddingSite],
        limits: Limits,
        tolerance: Tolerance,
    ) -> None:
        self.files, self.names, self.sites = files, names, sites
        self.limits, self.tolerance = limits, tolerance
        self.feeds, ran = _fitting(files, names, tries, limits)
        self.runs: dict[Key, BackendRun] = {}
        for name in names:
            found = ran[name] if name in ran else run_backend(name, files, self.feeds, limits)
            self.runs |= {
                (variant, name): run for variant, run in zip(VARIANTS, found, strict=True)
            }
        self.taps: dict[tuple[Key, int], Taps] = {}

    def report(self, plan: Plan) -> BackendReport:
        """Compare all runs."""
        pairs = {
            variant: tuple(
                self._compare((variant, a), (variant, b))
                for a, b in itertools.combinations(self.names, 2)
            )
            for variant in VARIANTS
        }
        rewrites = tuple(
            self._compare((VARIANTS[0], name), (VARIANTS[1], name)) for name in self.names
        )
        runtimes = {name: self.runs[VARIANTS[1], name].runtime for name in self.names}
        verdict = self._verdict(pairs[VARIANTS[1]], rewrites)
        return BackendReport(
            tuple(self.names), runtimes, pairs, rewrites, plan, self.tolerance, verdict
        )

    def _compare(self, a: Key, b: Key) -> Comparison:
        left, right = self.runs[a], self.runs[b]
        for key, run in ((a, left), (b, right)):
            if run.outputs is None:
                return Comparison(a[1], b[1], FAILED, reason=f"{key[1]} can't run it: {run.error}")
        each = [
            merge(map(self._difference, *pair))
            for pair in zip(left.outputs or (), right.outputs or (), strict=True)
        ]
        total = merge(each)
        if total.equal:
            return Comparison(a[1], b[1], AGREES, total.max_abs)
        feed = next(number for number, item in enumerate(each) if not item.equal)
        site = self._first_site(a, b, feed)
        return Comparison(a[1], b[1], DIFFERS, total.max_abs, site, total.reason)

    def _difference(self, a: Array, b: Array) -> Difference:
        reference, result = same_width(a, b)
        return compare_arrays(result, reference, *self.tolerance.bounds(reference))

    def _first_site(self, a: Key, b: Key, feed: int) -> str | None:
        """Return the first padded layer, in the order of the model, whose outputs differ."""
        left, right = self._tapped(a, feed), self._tapped(b, feed)
        for site in self.sites:
            ours, theirs = (taps.get(layer_path(site), ()) for taps in (left, right))
            if len(ours) == len(theirs) and not merge(map(self._difference, ours, theirs)).equal:
                return site.id
        return None

    def _tapped(self, key: Key, feed: int) -> Taps:
        """Run both forms once more, for what their padded layers return."""
        if (key, feed) not in self.taps:
            paths = list(dict.fromkeys(layer_path(site) for site in self.sites))
            feeds = [self.feeds[feed]]
            runs = run_backend(key[1], self.files, feeds, self.limits, paths)
            for variant, run in zip(VARIANTS, runs, strict=True):
                self.taps[(variant, key[1]), feed] = run.taps or {}
        return self.taps[key, feed]

    def _verdict(
        self, explicit: Sequence[Comparison], rewrites: Sequence[Comparison]
    ) -> Verification:
        ran = [item for item in explicit if item.status != FAILED]
        failed = [item.reason for item in (*explicit, *rewrites) if item.status == FAILED]
        missed = tuple(dict.fromkeys(failed))
        if not ran:
            reason = "the explicit model does not run on two backends"
            return Verification(Status.UNVERIFIED, (), None, reason, missed)
        compared = [*ran, *(item for item in rewrites[:1] if item.status != FAILED)]
        worst = next((item for item in compared if item.status == DIFFERS), None)
        detail = f"the explicit model on every backend, and the original on {self.names[0]}"
        evidence = Evidence(
            "backends",
            ", ".join(self.runs[VARIANTS[1], name].runtime for name in self.names),
            max(item.max_abs for item in compared),
            counts={"inputs": len(self.feeds), "pairs": len(compared)},
            detail=f"{detail}, {self.tolerance} of the largest magnitude",
        )
        if worst is None:
            return Verification(Status.EQUIVALENT, (evidence,), not_covered=missed)
        sides = f"on {worst.a} and {worst.b}" if worst in ran else f"from the original on {worst.a}"
        reason = f"the explicit model differs {sides}: {worst.reason}"
        return Verification(Status.DIFFERENT, (evidence,), worst.site, reason, missed)


def _fitting(
    files: Sequence[Path],
    names: Sequence[str],
    tries: Sequence[Sequence[Sequence[Array]]],
    limits: Limits,
) -> tuple[Sequence[Sequence[Array]], dict[str, list[BackendRun]]]:
    """Return the first inputs on which the original runs, and what backends made of those.

    The backends are asked in order; where it runs on none, the usual inputs are returned.
    """
    usual: dict[str, list[BackendRun]] = {}
    for name in names:
        for feeds in tries:
            found = run_backend(name, files, feeds, limits)
            if feeds is tries[0]:
                usual[name] = found
            if found[0].outputs is not None:
                return feeds, usual if feeds is tries[0] else {name: found}
            if found[0].died:
                break
    return tries[0], usual


def layer_path(site: PaddingSite) -> LayerPath:
    """Return the names of the layers that hold a site's layer, and its own.

    A layer's further calls are named after the first one, with a number.
    """
    return tuple(_CALL.sub("", part) for part in (*site.scope, site.op.name))


def same_width(a: Array, b: Array) -> tuple[Array, Array]:
    """Return two arrays in the narrower of their types, where both are of one kind.

    Backends differ in how wide their integers and floats are (JAX has no 64 bits by default).
    """
    if a.dtype.kind != b.dtype.kind or a.dtype == b.dtype or a.dtype.kind not in "iuf":
        return a, b
    narrow = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
    return a.astype(narrow), b.astype(narrow)


def _missing(backend: str) -> str | None:
    needed = ("keras", *PACKAGES[backend])
    return next((name for name in needed if importlib.util.find_spec(name) is None), None)
