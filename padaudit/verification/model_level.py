"""Level 2: two ONNX models whole, in onnxruntime, on the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from padaudit.errors import UsageError
from padaudit.formats.onnx.shapes import tensor_info
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open
from padaudit.verification.compare import Difference, compare_arrays, merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.inputs import InputSpec, Sizes, generate, open_sizes
from padaudit.verification.runner import Array, Job, RunOutcome, run

Feed = Mapping[str, Array]
FeedPair = tuple[Feed, Feed]
KINDS = ("random", "border", "constant")
SEED = 0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two results may be: ``|a - b| <= atol + rtol * |b|``."""

    rtol: float = 0.0
    atol: float = 0.0

    def __str__(self) -> str:
        if self.rtol == self.atol == 0.0:
            return "tolerance 0"
        return f"rtol {self.rtol:g}, atol {self.atol:g}"


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
    by_position: bool = False,
) -> Verification:
    """Run two models on the same inputs, without graph optimisations, and compare all outputs.

    Parameters
    ----------
    pair : ModelPair
        The models.
    feeds : sequence of pairs of Mapping
        The same inputs under the names of either model; each pair is run on its own, so
        that one that fails costs no other.
    tolerance : Tolerance
        How far apart outputs may be.
    timeout : float
        Seconds for one run.
    by_position : bool
        Whether outputs are matched by position, whatever their names.
    """
    models = (pair.original, pair.rewritten)
    jobs = [Job(model, (feed,)) for both in feeds for model, feed in zip(models, both, strict=True)]
    outcomes = run(jobs, timeout=timeout)
    found: list[Difference] = []
    failures: list[str] = []
    for original, rewritten in zip(outcomes[::2], outcomes[1::2], strict=True):
        if original.outputs is None:
            failures.append(f"onnxruntime can't run the original: {original.error}")
            continue
        if rewritten.outputs is None:
            reason = f"the original runs, but the rewritten model does not: {rewritten.error}"
            return Verification(Status.DIFFERENT, (), None, reason)
        difference = _difference(original, rewritten, tolerance, by_position)
        found.append(difference)
        if not difference.equal:
            evidence = _evidence(original.runtime, found, len(original.output_names), tolerance)
            name = _first_unequal(original, rewritten, tolerance)
            reason = f"output '{name}' differs: {difference.reason}"
            return Verification(Status.DIFFERENT, (evidence,), name, reason)
    missed = tuple(dict.fromkeys(failures))
    if not found:
        return Verification(
            Status.UNVERIFIED, (), None, missed[0] if missed else "no input", missed
        )
    ran = next(item for item in outcomes if item.outputs is not None)
    evidence = _evidence(ran.runtime, found, len(ran.output_names), tolerance)
    return Verification(Status.EQUIVALENT, (evidence,), not_covered=missed)


def model_feeds(model: ModelProto, input_shapes: InputShapes) -> list[dict[str, Array]]:
    """Return the inputs to compare a model on: every kind, at several sizes where some are open.

    Raises
    ------
    UsageError
        If no values can be made up for an input.
    """
    specs = input_specs(model, input_shapes)
    return [feed for sizes in open_sizes(specs) for feed in feeds_at(specs, sizes)]


def feeds_at(specs: Sequence[InputSpec], sizes: Sizes) -> Iterator[dict[str, Array]]:
    """Yield one set of inputs of each kind."""
    for kind in KINDS:
        yield generate(specs, kind, SEED, sizes)


def input_specs(model: ModelProto, input_shapes: InputShapes) -> list[InputSpec]:
    """Return the inputs that a model must be given (weights have values of their own)."""
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [value for value in model.graph.input if value.name not in weights]
    declared = {value.name: tensor_info(value.type) for value in values}
    chosen = input_shapes.by_name(declared, "the model")
    specs = []
    for value in values:
        info = declared[value.name]
        shape = chosen[value.name].shape if value.name in chosen else info.shape
        if shape is None:
            raise UsageError(f"input '{value.name}' has no known rank; give it with --input-shape")
        dims = tuple(dim.name if isinstance(dim, Open) else dim for dim in shape)
        specs.append(InputSpec(value.name, info.dtype or "str", dims))  # type: ignore[arg-type]
    return specs


def same_feeds(feeds: Sequence[Feed]) -> list[FeedPair]:
    """Return feeds for two models whose inputs have the same names."""
    return [(feed, feed) for feed in feeds]


def _difference(
    left: RunOutcome, right: RunOutcome, tolerance: Tolerance, by_position: bool
) -> Difference:
    counts = len(left.output_names), len(right.output_names)
    if counts[0] != counts[1] or not (by_position or left.output_names == right.output_names):
        names = f"outputs {left.output_names} against {right.output_names}"
        return Difference(float("inf"), 0, False, None, names)
    return merge(_each(left, right, tolerance))


def _each(left: RunOutcome, right: RunOutcome, tolerance: Tolerance) -> Iterator[Difference]:
    for a, b in zip((left.outputs or ((),))[0], (right.outputs or ((),))[0], strict=True):
        yield compare_arrays(a, b, tolerance.rtol, tolerance.atol)


def _first_unequal(left: RunOutcome, right: RunOutcome, tolerance: Tolerance) -> str:
    each = zip(left.output_names, _each(left, right, tolerance), strict=False)
    return next((name for name, item in each if not item.equal), "?")


def _evidence(
    runtime: str, found: Sequence[Difference], outputs: int, tolerance: Tolerance
) -> Evidence:
    total = merge(found)
    return Evidence(
        "model",
        runtime,
        total.max_abs,
        total.max_ulp,
        {"inputs": len(found), "outputs": outputs},
        f"both models whole, graph optimisations off, {tolerance}",
    )
