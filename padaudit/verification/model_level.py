"""Level 2: two ONNX models whole, in onnxruntime, on the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from onnx import ModelProto

from padaudit.errors import UsageError
from padaudit.formats.onnx.shapes import tensor_info
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open
from padaudit.verification.compare import Difference, compare_arrays, merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.inputs import (
    OTHER_SIZES,
    InputSpec,
    NoValuesError,
    Sizes,
    element_type,
    generate,
    open_sizes,
)
from padaudit.verification.providers import CPU, in_use
from padaudit.verification.runner import Array, Job, RunOutcome, run
from padaudit.verification.telling import doubts
from padaudit.verification.unsteady import unsteady, why_unsteady

Feed = Mapping[str, Array]
FeedPair = tuple[Feed, Feed]
KINDS = ("random", "border", "constant")
SEED = 0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two results may be: ``|a - b| <= atol + rtol * |b|``.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute.
    scaled : bool
        Whether ``rtol`` is of the largest magnitude of the whole array instead of ``|b|``:
        two runtimes sum in different orders, and small elements are sums of large ones.
    """

    rtol: float = 0.0
    atol: float = 0.0
    scaled: bool = False

    def bounds(self, reference: Array) -> tuple[float, float]:
        """Return the relative and the absolute bound for one array.

        A scaled bound is never finer than a few roundings of the array's type.
        """
        if not self.scaled or self.rtol == 0.0 or reference.size == 0:
            return self.rtol, self.atol
        if reference.dtype.kind != "f" and reference.dtype.name != "bfloat16":
            return 0.0, 0.0
        scale = float(np.nan_to_num(np.abs(reference.astype(np.float64))).max())
        rtol = max(self.rtol, _ROUNDINGS * _eps(reference.dtype))
        return 0.0, self.atol + rtol * scale

    def for_type(self, name: str | None) -> Tolerance:
        """Return a scaled tolerance that allows for layers computing in a type (None: float32)."""
        if name is None:
            return self
        return replace(self, rtol=max(self.rtol, _ROUNDINGS * _eps(element_type(name))))

    def __str__(self) -> str:
        if self.rtol == self.atol == 0.0:
            return "tolerance 0"
        of = " of the largest magnitude" if self.scaled else ""
        return f"rtol {self.rtol:g}{of}, atol {self.atol:g}"


def _eps(dtype: np.dtype[Any]) -> float:
    return 2.0**-7 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)


_ROUNDINGS: Final = 8
"""Tolerance in roundings of an output's type, where that is coarser (float16)."""


NO_ELEMENTS: Final = "nothing could be compared: no output holds an element"
OTHER_RTOL: Final = 1e-3
"""Of an output's largest magnitude: what two graphs may be apart on another provider than the
CPU's, which may give a part of one of them to another device, fuse it, or round to TF32."""


def on_provider(tolerance: Tolerance) -> Tolerance:
    """Return a tolerance for whole models, as coarse as the provider in use makes necessary."""
    if in_use() == CPU or tolerance.rtol >= OTHER_RTOL:
        return tolerance
    return Tolerance(OTHER_RTOL, tolerance.atol, scaled=True)


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Two models as onnxruntime gets them: files, or serialised."""

    original: Path | bytes
    rewritten: Path | bytes


def compare_models(
    pair: ModelPair,
    feeds: Sequence[FeedPair],
    tolerance: Tolerance,
    timeout: float,
    memory_mb: int | None = None,
) -> Verification:
    """Run two models on the same inputs, without graph optimisations, and compare all outputs.

    Each model is loaded once, in a process of its own, one after the other.

    Parameters
    ----------
    pair : ModelPair
        The models.
    feeds : sequence of pairs of Mapping
        The same inputs under the names of either model.
    tolerance : Tolerance
        How far apart outputs may be.
    timeout : float
        Seconds for one run.
    memory_mb : int, optional
        Memory of a run in MiB.
    """
    originals = run_each(pair.original, [a for a, _ in feeds], timeout, memory_mb)
    ran = [place for place, item in enumerate(originals) if item.outputs is not None]
    given = [feeds[place][1] for place in ran]
    results = run_each(pair.rewritten, given, timeout, memory_mb)
    verdict = _compared(originals, results, given, tolerance)
    if verdict.first_difference is None:
        return verdict
    again = run_each(pair.original, [a for a, _ in feeds], timeout, memory_mb)
    random = unsteady(
        *([(item.outputs or (None,))[0] for item in run] for run in (originals, again))
    )
    if not random:
        return verdict
    rest = _compared(originals, results, given, tolerance, random)
    if rest.status is Status.DIFFERENT:
        return rest
    return Verification(Status.UNVERIFIED, (), None, why_unsteady("the model"), rest.not_covered)


def _compared(
    originals: Sequence[RunOutcome],
    results: Sequence[RunOutcome],
    given: Sequence[Feed],
    tolerance: Tolerance,
    without: Set[int] = frozenset(),
) -> Verification:
    """Compare the runs of the original with those of the rewritten model, where it ran."""
    failures = [
        f"onnxruntime can't run the original: {item.error}"
        for item in originals
        if item.outputs is None
    ]
    missed = tuple(dict.fromkeys(failures))
    ran = [item for item in originals if item.outputs is not None]
    if not ran:
        reason = missed[0] if missed else "no input"
        return Verification(Status.UNVERIFIED, (), None, reason, missed)
    if not any(array.size for item in ran for array in (item.outputs or ((),))[0]):
        return Verification(Status.UNVERIFIED, (), None, NO_ELEMENTS, missed)
    found: list[Difference] = []
    for original, rewritten in zip(ran, results, strict=True):
        if rewritten.outputs is None:
            return _does_not_run(rewritten, missed)
        each = _each(original, rewritten, tolerance, without)
        found.append(merge(each.values()))
        if not found[-1].equal:
            evidence = _evidence((original, rewritten), found, given[: len(found)], tolerance)
            name = next(name for name, item in each.items() if not item.equal)
            reason = f"output '{name}' differs: {found[-1].reason}"
            return Verification(Status.DIFFERENT, (evidence,), name, reason)
    evidence = _evidence((ran[0], results[0]), found, given, tolerance)
    outputs = [(item.outputs or (None,))[0] for item in results]
    missed += doubts(outputs, tolerance)
    return Verification(Status.EQUIVALENT, (evidence,), not_covered=missed)


def _does_not_run(rewritten: RunOutcome, missed: tuple[str, ...]) -> Verification:
    """Judge a rewritten model that fails where the original runs: a limit may have ended it."""
    reason = f"the original runs, but the rewritten model does not: {rewritten.error}"
    if rewritten.unable:
        return Verification(Status.UNVERIFIED, (), None, reason, missed, decides=True)
    return Verification(Status.DIFFERENT, (), None, reason)


def run_each(
    model: Path | bytes,
    feeds: Sequence[Feed],
    timeout: float,
    memory_mb: int | None = None,
    outputs: tuple[str, ...] | None = None,
) -> list[RunOutcome]:
    """Run a model on several sets of inputs, loaded once; one that fails costs no other.

    ``outputs`` names those that are wanted; all if None.
    """
    if not feeds:
        return []
    whole = run([Job(model, tuple(feeds), outputs)], timeout=timeout, memory_mb=memory_mb)[0]
    if whole.outputs is not None:
        return [replace(whole, outputs=(values,)) for values in whole.outputs]
    if len(feeds) == 1:
        return [whole]
    jobs = [Job(model, (feed,), outputs) for feed in feeds]
    return run(jobs, timeout=timeout, memory_mb=memory_mb)


def feeds_of(
    specs: Sequence[InputSpec], own: Sequence[dict[str, Array]] = ()
) -> list[dict[str, Array]]:
    """Return the inputs to compare a model on: every kind, at several sizes where some are open.

    Parameters
    ----------
    specs : sequence of InputSpec
        The model's inputs.
    own : sequence of dict
        The user's own inputs, which come behind those that are made up.

    Raises
    ------
    UsageError
        If no values can be made up for an input, and there are none of the user's own.
    """
    try:
        made = [feed for sizes in open_sizes(specs) for feed in feeds_at(specs, sizes)]
    except UsageError:
        if not own:
            raise
        made = []
    return [*made, *own]


def feeds_to_try(
    specs: Sequence[InputSpec], own: Sequence[dict[str, Array]] = ()
) -> list[list[dict[str, Array]]]:
    """Return `feeds_of` at the usual sizes and, if some are open, at those of `OTHER_SIZES`."""
    usual = feeds_of(specs, own)
    if len(usual) == len(own) or not any(open_sizes(specs)):
        return [usual]
    others = (open_sizes(specs, base) for base in OTHER_SIZES)
    made = ([feed for sizes in each for feed in feeds_at(specs, sizes)] for each in others)
    return [usual, *([*feeds, *own] for feeds in made)]


def feeds_at(specs: Sequence[InputSpec], sizes: Sizes) -> Iterator[dict[str, Array]]:
    """Yield one set of inputs of each kind."""
    for kind in KINDS:
        yield generate(specs, kind, SEED, sizes)


def input_names(model: ModelProto) -> list[str]:
    """Return the names of the inputs that a model must be given."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


def input_specs(model: ModelProto, input_shapes: InputShapes) -> list[InputSpec]:
    """Return the inputs that a model must be given (weights have values of their own)."""
    given = set(input_names(model))
    values = [value for value in model.graph.input if value.name in given]
    declared = {value.name: tensor_info(value.type) for value in values}
    chosen = input_shapes.by_name(declared, "the model")
    specs = []
    for value in values:
        info = declared[value.name]
        if not value.type.HasField("tensor_type"):
            kind = (value.type.WhichOneof("value") or "no").removesuffix("_type")
            article = "an" if kind.startswith("o") else "a"
            raise NoValuesError(
                f"input '{value.name}' is {article} {kind.replace('_', ' ')}, "
                "and only tensors can be made up"
            )
        shape = chosen[value.name].shape if value.name in chosen else info.shape
        if shape is None:
            raise UsageError(f"input '{value.name}' has no known rank; give it with --input-shape")
        dims = tuple(dim.name if isinstance(dim, Open) else dim for dim in shape)
        specs.append(InputSpec(value.name, info.dtype or "str", dims))  # type: ignore[arg-type]
    return specs


def same_feeds(feeds: Sequence[Feed]) -> list[FeedPair]:
    """Return feeds for two models whose inputs have the same names."""
    return [(feed, feed) for feed in feeds]


def _each(
    left: RunOutcome, right: RunOutcome, tolerance: Tolerance, without: Set[int]
) -> dict[str, Difference]:
    """Return how far outputs are apart, by name, without those at some positions."""
    if left.output_names != right.output_names:
        names = f"outputs {left.output_names} against {right.output_names}"
        return {"?": Difference(float("inf"), 0, False, None, names)}
    pairs = zip((left.outputs or ((),))[0], (right.outputs or ((),))[0], strict=True)
    return {
        left.output_names[place]: compare_arrays(a, b, *tolerance.bounds(b))
        for place, (a, b) in enumerate(pairs)
        if place not in without
    }


def setup_of(
    feeds: Sequence[Feed], tolerance: Tolerance, in_onnxruntime: bool = True
) -> dict[str, Any]:
    """Return what an audit trail has to know of a run: the inputs' shapes, the tolerance."""
    shapes: list[dict[str, list[Any]]] = []
    for feed in feeds:
        shape = {name: [array.dtype.name, *array.shape] for name, array in feed.items()}
        if shape not in shapes:
            shapes.append(shape)
    bounds = {"rtol": tolerance.rtol, "atol": tolerance.atol, "of_magnitude": tolerance.scaled}
    how = {"graph_optimizations": False, "provider": in_use()} if in_onnxruntime else {}
    return {"input_shapes": shapes, "tolerance": bounds, **how}


def _evidence(
    ran: tuple[RunOutcome, RunOutcome],
    found: Sequence[Difference],
    feeds: Sequence[Feed],
    tolerance: Tolerance,
) -> Evidence:
    total = merge(found)
    return Evidence(
        "model",
        " and ".join(dict.fromkeys(item.runtime for item in ran)),
        total.max_abs,
        total.max_ulp,
        {"inputs": len(found), "outputs": len(ran[0].output_names)},
        f"both models whole, graph optimisations off, {tolerance}",
        setup_of(feeds, tolerance),
    )
