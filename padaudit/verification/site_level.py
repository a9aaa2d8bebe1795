"""Level 1: every rewritten site alone, on integers, exact.

The rewritten form runs in onnxruntime. The original's result comes from the numpy oracle,
and from onnxruntime too where that is known to compute it rightly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from padaudit.formats.document import Document
from padaudit.ir.dims import Dim
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Padding, PaddingSite, Window
from padaudit.padding.amounts import AxisPads, effective_kernel
from padaudit.verification import oracle
from padaudit.verification.compare import Difference, compare_arrays, merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.known_errors import onnxruntime_errs, refused_by_onnxruntime
from padaudit.verification.runner import Job, RunOutcome, run
from padaudit.verification.site_models import (
    SiteWeights,
    explicit_site_model,
    implicit_site_model,
    onnx_site_model,
    site_weights,
    small_integers,
)

MAX_AXIS: Final = 256
MAX_PRODUCT: Final = 64
_AUTO_PAD: Final = {Padding.SAME_UPPER: "SAME_UPPER", Padding.SAME_LOWER: "SAME_LOWER"}


@dataclass(frozen=True, slots=True)
class SitePair:
    """A site as it was, and as it stands in the rewritten model."""

    before: PaddingSite
    after: PaddingSite


@dataclass(frozen=True, slots=True)
class _Trial:
    pair: SitePair
    window: Window
    weights: SiteWeights
    inputs: tuple[npt.NDArray[np.float64], ...]
    rewritten: Job
    original: Job | None


def prove_sites(
    pairs: Sequence[SitePair],
    document: Document,
    graphs: Mapping[int, Graph],
    timeout: float,
) -> Verification:
    """Prove every pair; sites of equal signature are proven once.

    Parameters
    ----------
    pairs : sequence of SitePair
        What to prove.
    document : Document
        The rewritten model, whose own nodes are run.
    graphs : Mapping
        By ``id(op)``, the graph of the rewritten model that holds an operator.
    """
    trials: dict[Any, _Trial] = {}
    for pair in pairs:
        window = pair.before.window
        if window is None or pair.after.window != window:
            reason = f"the window of '{pair.before.id}' changed"
            return Verification(Status.DIFFERENT, (), pair.before.id, reason)
        graph = graphs[id(pair.after.op)]
        trial = _trial(pair, window, document, graph)
        trials.setdefault(_signature(trial), trial)
    jobs = [job for trial in trials.values() for job in (trial.rewritten, trial.original) if job]
    return _judge(list(trials.values()), iter(run(jobs, timeout=timeout)), len(pairs))


def _judge(trials: Sequence[_Trial], outcomes: Iterator[RunOutcome], sites: int) -> Verification:
    found: list[Difference] = []
    runtime, cases = "onnxruntime", 0
    for trial in trials:
        rewritten = next(outcomes)
        original = next(outcomes) if trial.original else None
        runtime, site = rewritten.runtime, trial.pair.before.id
        if rewritten.outputs is None:
            reason = f"the rewritten form of '{site}' does not run: {rewritten.error}"
            return Verification(Status.UNVERIFIED, (), site, reason)
        difference = merge(_differences(trial, rewritten, original))
        cases += len(trial.inputs)
        found.append(difference)
        if not difference.equal:
            evidence = _evidence(runtime, sites, cases, len(trials), difference)
            reason = f"the rewritten form of '{site}' computes something else"
            return Verification(Status.DIFFERENT, (evidence,), site, reason)
    evidence = _evidence(runtime, sites, cases, len(trials), merge(found))
    return Verification(Status.EQUIVALENT, (evidence,))


def _differences(
    trial: _Trial, rewritten: RunOutcome, original: RunOutcome | None
) -> Iterator[Difference]:
    for index, data in enumerate(trial.inputs):
        expected = oracle.convolve(
            data,
            trial.weights.kernel,
            trial.weights.bias if _has_bias(trial) else None,
            strides=trial.window.strides,
            dilations=trial.window.dilations,
            group=trial.weights.group,
            mode=trial.pair.before.padding.value,
        )
        got = (rewritten.outputs or ())[index][0].astype(np.float64)
        yield compare_arrays(expected, got)
        if original is not None and original.outputs is not None:
            with_bias = original.outputs[index][0].astype(np.float64)
            bias = trial.weights.bias.reshape(1, -1, *(1,) * trial.window.rank)
            yield compare_arrays(with_bias if _has_bias(trial) else with_bias - bias, got)


def _has_bias(trial: _Trial) -> bool:
    return trial.pair.after.framework == "keras" or len(trial.pair.after.op.inputs) > 2


def _evidence(runtime: str, sites: int, cases: int, forms: int, difference: Difference) -> Evidence:
    return Evidence(
        "site",
        runtime,
        difference.max_abs,
        difference.max_ulp,
        {"sites": sites, "forms": forms, "cases": cases},
        "each operator alone, integer weights and inputs, against an independent numpy oracle",
    )


def _trial(pair: SitePair, window: Window, document: Document, graph: Graph) -> _Trial:
    weights = site_weights(window, _group(pair.before))
    shapes = list(size_cases(pair.before.input_size, window))
    inputs = tuple(small_integers((1, weights.channels, *shape), seed=11) for shape in shapes)
    feeds = tuple({"x": data.astype(np.float32)} for data in inputs)
    if pair.after.framework == "onnx":
        model = onnx_site_model(document, graph, pair.after, weights)  # type: ignore[arg-type]
    else:
        model = explicit_site_model(window, weights, explicit_amounts(pair.after, graph))
    original = None
    mode = _AUTO_PAD.get(pair.before.padding)
    if mode and not onnxruntime_errs(pair.before) and not refused_by_onnxruntime(pair.before):
        original = Job(implicit_site_model(window, weights, mode), feeds)
    return _Trial(pair, window, weights, inputs, Job(model, feeds), original)


def explicit_amounts(site: PaddingSite, graph: Graph) -> tuple[AxisPads, ...]:
    """Return what a Keras layer's own padding and a ZeroPadding layer before it add up to."""
    own = site.pads or ((0, 0),) * len(site.spatial_axes)
    layer = graph.producer(site.op.inputs[0])
    if layer is None or not layer.op_type.startswith("ZeroPadding"):
        return own
    ahead = zero_padding_amounts(layer, len(own))
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(own, ahead, strict=True))


def zero_padding_amounts(layer: Op, rank: int) -> tuple[AxisPads, ...]:
    """Return the amounts of a ZeroPadding layer, in the form in which padaudit writes them."""
    padding = layer.attributes["padding"]
    if all(isinstance(item, int) for item in padding):
        if len(padding) == 2 * rank:
            return tuple((padding[2 * i], padding[2 * i + 1]) for i in range(rank))
        return tuple((item, item) for item in padding)
    return tuple((before, after) for before, after in padding)


def size_cases(sizes: Sequence[Dim], window: Window) -> Iterator[tuple[int, ...]]:
    """Yield the input sizes that prove a site.

    A known size stands for itself (above `MAX_AXIS`, for a smaller one with the same
    remainder by the stride: the amounts are the same). An open axis takes every size from
    1 to the effective kernel plus two strides: all remainders, and all sizes too small
    for the kernel. Several open axes are combined, or rotated against each other where
    the product would exceed `MAX_PRODUCT`.
    """
    choices = [_axis_sizes(size, window, axis) for axis, size in enumerate(sizes)]
    count = int(np.prod([len(choice) for choice in choices]))
    if count <= MAX_PRODUCT:
        yield from product(*choices)
        return
    longest = max(len(choice) for choice in choices)
    for step in range(longest):
        yield tuple(choice[(step + 3 * axis) % len(choice)] for axis, choice in enumerate(choices))


def _axis_sizes(size: Dim, window: Window, axis: int) -> list[int]:
    stride = window.strides[axis]
    extent = effective_kernel(window.kernel_shape[axis], window.dilations[axis])
    if not isinstance(size, int):
        return list(range(1, extent + 2 * stride + 1))
    limit = max(MAX_AXIS, extent + 2 * stride)
    return [size if size <= limit else limit - (limit - size) % stride]


def _group(site: PaddingSite) -> int:
    depthwise = site.op.op_type.startswith(("Depthwise", "Separable"))
    return 2 if depthwise else site.group


def _signature(trial: _Trial) -> Any:
    """What is run, and against what: equal forms are run once."""
    site = trial.pair.before
    return (trial.rewritten.model, site.padding, site.window, site.input_size)
