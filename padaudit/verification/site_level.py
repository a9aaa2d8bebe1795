"""Level 1: every rewritten site alone, on integers, exact.

The rewritten form runs in onnxruntime. The original's result comes from the numpy oracle,
and from onnxruntime too where that is known to compute it rightly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

import numpy as np

from padaudit.formats.document import Document
from padaudit.formats.keras.places import Place
from padaudit.formats.onnx.constants import Constants
from padaudit.ir.dims import Dim, plain
from padaudit.ir.graph import Graph
from padaudit.ir.site import Family, PaddingSite, Window
from padaudit.padding.amounts import effective_kernel, window_output
from padaudit.rewriting.edit import Edit
from padaudit.verification.compare import Difference, compare_arrays, merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.keras_forms import Form, FormError, form_ahead, form_behind
from padaudit.verification.keras_sites import keras_kit, original_site, rewritten_site
from padaudit.verification.kits import kit_of
from padaudit.verification.kits.kit import Array, Kit, meaning_of
from padaudit.verification.known_errors import onnxruntime_errs, refused_by_onnxruntime
from padaudit.verification.providers import CPU
from padaudit.verification.runner import Job, RunOutcome, run
from padaudit.verification.site_models import NoModelError, onnx_site_model

MAX_AXIS: Final = 256
MAX_ELEMENTS: Final = 1 << 24
MAX_PRODUCT: Final = 64
SEED: Final = 11


@dataclass(frozen=True, slots=True)
class SitePair:
    """A site as it was, what was done to it, and how it stands in the rewritten model."""

    before: PaddingSite
    after: PaddingSite
    edit: Edit


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models.

    Parameters
    ----------
    document : Document
        Its definition.
    graphs : Mapping
        By ``id(op)``, the graph that holds an operator.
    places : Mapping
        Keras: by ``id(op)``, where layers for an operator stand.
    """

    document: Document
    graphs: Mapping[int, Graph]
    places: Mapping[int, Place] = field(default_factory=dict)

    def constants(self) -> Constants | None:
        """Return the constants of an ONNX model."""
        model = getattr(self.document, "model", None)
        return Constants(model) if self.document.format == "onnx" else None  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Trial:
    pair: SitePair
    kit: Kit
    inputs: tuple[Array, ...]
    rewritten: Job
    original: Job | None


def prove_sites(
    pairs: Sequence[SitePair],
    before: Side,
    after: Side,
    timeout: float,
    memory_mb: int | None = None,
) -> Verification:
    """Prove every pair; sites of equal signature are proven once.

    Parameters
    ----------
    pairs : sequence of SitePair
        What to prove.
    before, after : Side
        The original and the rewritten model, whose own nodes are run.
    timeout : float
        Seconds for one trial.
    memory_mb : int, optional
        Memory of the process that runs them, in MiB.
    """
    trials: dict[Any, _Trial] = {}
    constants = (before.constants(), after.constants())
    for pair in pairs:
        window = pair.before.window
        if window is None or _kept(pair.after.window, pair.edit) != window:
            reason = f"the window of '{pair.before.id}' changed"
            return Verification(Status.DIFFERENT, (), pair.before.id, reason)
        try:
            trial = _trial(pair, window, (before, after), constants)
        except NoModelError as error:
            return Verification(Status.UNVERIFIED, (), pair.before.id, str(error))
        except FormError as error:
            return Verification(Status.DIFFERENT, (), pair.before.id, str(error))
        trials.setdefault(_signature(trial), trial)
    jobs = [job for trial in trials.values() for job in (trial.rewritten, trial.original) if job]
    # Whole numbers are exact there; another provider may round them to fewer bits.
    outcomes = iter(run(jobs, timeout=timeout, memory_mb=memory_mb, provider=CPU))
    return _widened(_judge(list(trials.values()), outcomes, len(pairs)), pairs)


def _widened(verdict: Verification, pairs: Sequence[SitePair]) -> Verification:
    """Say of which types the operators are that run in float32 here."""
    types = sorted({pair.before.dtype or "" for pair in pairs} & _OTHER_FLOATS)
    if not types:
        return verdict
    said = f", {' and '.join(types)} as float32"
    evidence = (replace(item, detail=item.detail + said) for item in verdict.evidence)
    return replace(verdict, evidence=tuple(evidence))


_OTHER_FLOATS: Final = frozenset({"float16", "bfloat16", "float64"})


def _judge(trials: Sequence[_Trial], outcomes: Iterator[RunOutcome], sites: int) -> Verification:
    found: list[Difference] = []
    runtime, cases = "onnxruntime", 0
    for trial in trials:
        rewritten = next(outcomes)
        original = next(outcomes) if trial.original else None
        runtime, site = rewritten.runtime, trial.pair.before.id
        if rewritten.outputs is None:
            reason = f"the rewritten form of '{site}' does not run: {rewritten.error}"
            ran = original is not None and original.outputs is not None
            status = Status.DIFFERENT if ran and not rewritten.unable else Status.UNVERIFIED
            return Verification(status, (), site, reason)
        difference = merge(_differences(trial, rewritten, original))
        cases += len(trial.inputs)
        found.append(difference)
        if not difference.equal:
            evidence = _evidence(runtime, sites, cases, trials, difference)
            reason = f"the rewritten form of '{site}' computes something else"
            return Verification(Status.DIFFERENT, (evidence,), site, reason)
    evidence = _evidence(runtime, sites, cases, trials, merge(found))
    return Verification(Status.EQUIVALENT, (evidence,))


def _differences(
    trial: _Trial, rewritten: RunOutcome, original: RunOutcome | None
) -> Iterator[Difference]:
    """Compare what ran with the oracle, and with the original where that ran too."""
    kit = trial.kit
    for index, data in enumerate(trial.inputs):
        got = (rewritten.outputs or ())[index]
        expected = kit.expected(data)
        # What a window gives that holds no element at all is not defined by any standard.
        undefined = ~np.isfinite(np.asarray(expected[0], np.float64))
        for wanted, value in zip(expected, got, strict=True):
            seen = _channels_first(trial.pair.after, value).astype(np.float64)
            right = _rounded(np.asarray(wanted, np.float64), kit)
            if seen.shape == right.shape:
                seen, right = np.where(undefined, 0, seen), np.where(undefined, 0, right)
            yield compare_arrays(seen, right, kit.rtol, kit.atol)
        if original is not None and original.outputs is not None:
            for before, after in zip(original.outputs[index], got, strict=True):
                yield _apart(before, after, kit)


def _apart(before: Array, after: Array, kit: Kit) -> Difference:
    """Compare two runs; where rounding is left open they may differ by both their errors."""
    if kit.atol:
        before, after = before.astype(np.float64), after.astype(np.float64)
    return compare_arrays(before, after, kit.rtol, 2 * kit.atol)


def _rounded(expected: Array, kit: Kit) -> Array:
    """The oracle is in float64; a float32 result can't be nearer than its rounding."""
    return expected.astype(np.float32).astype(np.float64) if kit.rtol else expected


def _evidence(
    runtime: str, sites: int, cases: int, trials: Sequence[_Trial], difference: Difference
) -> Evidence:
    return Evidence(
        "site",
        runtime,
        difference.max_abs,
        difference.max_ulp,
        {"sites": sites, "forms": len(trials), "cases": cases},
        f"each operator alone, channels cropped to {_channels(trials)}, integer weights and inputs "
        "(everywhere, and at the border alone), against an independent numpy oracle",
        {"seed": SEED, "forms": [_setup(trial) for trial in trials]},
    )


def _channels(trials: Sequence[_Trial]) -> str:
    counts = sorted({trial.kit.channels for trial in trials})
    return " or ".join(map(str, counts))


def _setup(trial: _Trial) -> dict[str, Any]:
    """Return what an audit trail has to know of a trial, and of what it was cropped from."""
    site = trial.pair.before
    return {
        "site": site.id,
        "in_model": {"input_size": [plain(dim) for dim in site.input_size], "group": site.group},
        "input_shapes": [list(data.shape) for data in trial.inputs],
        "tolerance": {"rtol": trial.kit.rtol, "atol": trial.kit.atol},
        "original_run_too": trial.original is not None,
    }


def _trial(
    pair: SitePair,
    window: Window,
    sides: tuple[Side, Side],
    constants: tuple[Constants | None, Constants | None],
) -> _Trial:
    site = pair.before
    sizes = _unfolded(pair.edit) if pair.edit.folded else site.input_size
    exact = site.derived or pair.edit.folded is not None
    shapes = list(size_cases(sizes, window, None if exact else MAX_AXIS))
    if not site.implicit or pair.edit.folded is not None:
        shapes = [shape for shape in shapes if _fits(shape, window, pair.edit)]
    if not shapes or max(math.prod(shape) for shape in shapes) > MAX_ELEMENTS:
        raise NoModelError(f"'{site.id}' is too large to be tried alone")
    old, new = constants
    if old is None or new is None:
        return _keras_trial(pair, window, sides, shapes)
    graphs = sides[0].graphs[id(site.op)], sides[1].graphs[id(pair.after.op)]
    kit = kit_of(pair.edit, window, graphs[0])
    inputs = tuple(kit.samples(shape, SEED) for shape in shapes)
    feeds = tuple({"x": _laid_out(site, data).astype(kit.dtype)} for data in inputs)
    # Where nothing is padded no Pad was put in, and one that is read is the model's own.
    rewired = pair.after.op.inputs[0] != site.op.inputs[0]
    padded = pair.edit.strategy in _WITH_PAD and rewired
    results = site.op.outputs if pair.edit.strategy in WITH_SLICE else ()
    model = onnx_site_model(new, graphs[1], pair.after, kit, padded, results)
    original = None
    if not onnxruntime_errs(site) and not refused_by_onnxruntime(site):
        folded = pair.edit.folded is not None
        original = Job(onnx_site_model(old, graphs[0], site, kit, folded), feeds)
    return _Trial(pair, kit, inputs, Job(model, feeds), original)


def _fits(shape: Sequence[int], window: Window, edit: Edit) -> bool:
    """Tell whether explicit padding leaves room for a window on every axis."""
    axes = zip(
        shape, window.kernel_shape, window.strides, window.dilations, edit.pads or (), strict=True
    )
    return all(window_output(*axis) > 0 for axis in axes)


def _unfolded(edit: Edit) -> tuple[Dim, ...]:
    """Return the size of what a folded Pad reads: amounts of "same" belong to what it gives."""
    site = edit.site
    ahead = [sum(a) - sum(b) for a, b in zip(edit.pads or (), site.lasting_pads or (), strict=True)]
    return tuple(
        max(size - pad, 1) if isinstance(size, int) else size
        for size, pad in zip(site.input_size, ahead, strict=True)
    )


_WITH_PAD: Final = frozenset({"onnx_pad", "onnx_computed_pad"})
"""The strategies after which a Pad in front belongs to the site."""


WITH_SLICE: Final = frozenset({"onnx_sliced_pool"})
"""The strategies after which a Slice behind takes the strides, and gives the results."""


def _kept(after: Window | None, edit: Edit) -> Window | None:
    """Return the window as it was to be kept: its strides may have gone into a Slice."""
    before = edit.site.window
    if after is None or before is None or edit.strategy not in WITH_SLICE:
        return after
    return replace(after, strides=before.strides)


def _keras_trial(
    pair: SitePair, window: Window, sides: tuple[Side, Side], shapes: Sequence[tuple[int, ...]]
) -> _Trial:
    site, after = pair.before, pair.after
    places = sides[0].places[id(site.op)], sides[1].places[id(after.op)]
    ahead = form_ahead(sides[1].document, *places, after)
    behind = Form(())
    if site.family is Family.TRANSPOSED_CONV:
        behind = form_behind(sides[1].document, *places, after)
    kit = keras_kit(pair.edit, window)
    inputs = tuple(kit.samples(shape, SEED) for shape in shapes)
    feeds = tuple({"x": data.astype(np.float32)} for data in inputs)
    model = rewritten_site(after, window, kit, ahead, behind)
    judge = None
    if not onnxruntime_errs(site) and not refused_by_onnxruntime(site):
        judge = original_site(site, window, kit)
    return _Trial(pair, kit, inputs, Job(model, feeds), Job(judge, feeds) if judge else None)


def _channels_last(site: PaddingSite) -> bool:
    return site.framework == "onnx" and site.spatial_axes[:1] == (1,)


def _laid_out(site: PaddingSite, data: Array) -> Array:
    return np.moveaxis(data, 1, -1) if _channels_last(site) else data


def _channels_first(site: PaddingSite, value: Array) -> Array:
    return np.moveaxis(value, -1, 1) if _channels_last(site) else value


def size_cases(
    sizes: Sequence[Dim], window: Window, largest: int | None = MAX_AXIS
) -> Iterator[tuple[int, ...]]:
    """Yield the input sizes that prove a site.

    A known size stands for itself (above ``largest``, for a smaller one with the same
    remainder by the stride: the amounts are the same). An open axis takes every size from
    1 to the effective kernel plus two strides: all remainders, and all sizes too small
    for the kernel. Several open axes are combined, or rotated against each other where
    the product would exceed `MAX_PRODUCT`.
    """
    choices = [_axis_sizes(size, window, axis, largest) for axis, size in enumerate(sizes)]
    count = int(np.prod([len(choice) for choice in choices]))
    if count <= MAX_PRODUCT:
        yield from product(*choices)
        return
    longest = max(len(choice) for choice in choices)
    for step in range(longest):
        yield tuple(choice[(step + 3 * axis) % len(choice)] for axis, choice in enumerate(choices))


def _axis_sizes(size: Dim, window: Window, axis: int, largest: int | None) -> list[int]:
    stride = window.strides[axis]
    extent = effective_kernel(window.kernel_shape[axis], window.dilations[axis])
    if not isinstance(size, int):
        return list(range(1, extent + 2 * stride + 1))
    if largest is None:
        return [size]
    limit = max(largest, extent + 2 * stride)
    return [size if size <= limit else limit - (limit - size) % stride]


def _signature(trial: _Trial) -> Any:
    """What is run, and against what: equal forms are run once."""
    site, original = trial.pair.before, trial.original
    return (
        trial.rewritten.model,
        original.model if original else None,
        meaning_of(trial.pair.edit),
        site.window,
        site.input_size,
    )
