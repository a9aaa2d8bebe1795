"""Levels 2 and 3 for Keras models: translated and run in onnxruntime, and in Keras itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from padaudit.errors import UsageError
from padaudit.formats.keras.engine import KerasRun, missing_package, run_keras
from padaudit.formats.keras.modern import holds_no_code
from padaudit.formats.keras.translation.marks import Layout
from padaudit.ir.dims import Open
from padaudit.verification.compare import compare_arrays, merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.inputs import InputSpec
from padaudit.verification.model_level import (
    ModelPair,
    Tolerance,
    compare_models,
    feeds_of,
    on_provider,
    same_feeds,
)
from padaudit.verification.runner import Array, Job, run
from padaudit.verification.samples import own_feeds
from padaudit.verification.telling import doubts

if TYPE_CHECKING:
    from padaudit.rewriting.options import Options
    from padaudit.rewriting.run import Loaded

SOURCE_RTOL: Final = 1e-4
"""Relative to the largest magnitude of an output: two runtimes sum in different orders."""

TRANSLATION_RTOL: Final = 1e-5
"""The same for a translation of padaudit's own."""
MODERN_RTOL: Final = 1e-5
"""The same between tf-keras and Keras 3, whose layers sum in different orders too."""

Feeds = dict[str, Array]


def prove_keras_pair(model: Loaded, written: Path, scratch: Path, options: Options) -> Verification:
    """Prove a rewritten Keras file: translated, in onnxruntime, and as it is, in Keras."""
    package = missing_package()
    if package is not None:
        reason = (
            f"the models were not run whole: {package} is not installed "
            "(pip install 'padaudit[keras]')"
        )
        return Verification(Status.UNVERIFIED, reason=reason)
    try:
        feeds = keras_feeds(model, options.inputs)
    except UsageError as error:
        return Verification(Status.UNVERIFIED, reason=str(error))
    if options.modernize:
        return _modernized(model, written, feeds, scratch, options)
    original, rewritten = run_keras(
        [model.document.path or written, written],
        [list(feed.values()) for feed in feeds],
        scratch,
        timeout=options.timeout,
    )
    from padaudit.verification.proof import EXACT, join

    source = compare_sources(original, rewritten.outputs, EXACT, rewritten.runtime, "Keras")
    translated = _as_onnx(original, rewritten, feeds, options)
    if source.status is Status.EQUIVALENT and not translated.evidence:
        # Keras itself has judged; what does not run here is tf2onnx's work.
        reason = f"the translations were not compared: {translated.reason}"
        translated = Verification(Status.UNVERIFIED, reason=reason)
    return join([translated, source])


def _modernized(
    model: Loaded, written: Path, feeds: list[Feeds], scratch: Path, options: Options
) -> Verification:
    """Compare the old file in the Keras that loads it with the mended one in Keras 3."""
    source = model.document.path or written
    arrays = [list(feed.values()) for feed in feeds]
    original, rewritten = run_keras(
        [source, written], arrays, scratch, timeout=options.timeout, translate=False
    )
    if rewritten.outputs is None:
        reason = f"Keras 3 does not load the result: {' '.join(rewritten.errors)}"
        return Verification(Status.UNVERIFIED, reason=reason)
    if original.outputs is None:
        original = run_unmended(source, feeds, scratch, options) or original
    tolerance = Tolerance(MODERN_RTOL, scaled=True)
    return compare_sources(original, rewritten.outputs, tolerance, rewritten.runtime, "Keras 3")


def run_unmended(
    source: Path, feeds: Sequence[Feeds], scratch: Path, options: Options
) -> KerasRun | None:
    """Run a file of Keras 2 as it was in tf-keras.

    Parameters
    ----------
    source : Path
        The file.
    feeds : sequence of Feeds
        The inputs.
    scratch : Path
        A folder that the caller removes.
    options : Options
        ``trust_model`` says whether code of the file may be run.

    Returns
    -------
    KerasRun or None
        None if that may run code of the file, and is not to.
    """
    if not (options.trust_model or holds_no_code(source)):
        return None
    folder = scratch / "legacy"
    folder.mkdir()
    arrays = [list(feed.values()) for feed in feeds]
    return run_keras(
        [source], arrays, folder, timeout=options.timeout, translate=False, legacy=True
    )[0]


def keras_feeds(model: Loaded, inputs: Path | None = None) -> list[Feeds]:
    """Return the inputs to compare a Keras model on, with the user's own in a file.

    Raises
    ------
    UsageError
        If an input's rank is not known, or no values can be made up for it.
    InputError
        If the user's own do not fit.
    """
    specs = keras_specs(model)
    return feeds_of(specs, own_feeds(inputs, specs))


def keras_specs(model: Loaded) -> list[InputSpec]:
    """Return the inputs of a Keras model.

    Raises
    ------
    UsageError
        If an input's rank is not known.
    """
    specs = []
    for tensor in model.graph.inputs:
        info = model.graph.tensor(tensor)
        name = tensor.split(":")[0]
        if info.shape is None:
            raise UsageError(f"input '{name}' has no known shape; give it with --input-shape")
        dims = tuple(
            None if isinstance(dim, Open) else dim
            for dim in info.shape
            if not hasattr(dim, "cause")
        )
        specs.append(InputSpec(name, info.dtype or "float32", dims))
    return specs


def compare_sources(
    original: KerasRun,
    results: Sequence[Sequence[Array]] | None,
    tolerance: Tolerance,
    runtime: str,
    what: str,
) -> Verification:
    """Level 3: what the original computes in Keras against results of the rewritten model."""
    if original.outputs is None or results is None:
        error = original.errors[0] if original.errors else "the rewritten model does not run"
        reason = f"the original was not run whole: {error}"
        return Verification(Status.UNVERIFIED, reason=reason)
    found = [
        compare_arrays(b, a, *tolerance.bounds(a))
        for ours, theirs in zip(original.outputs, results, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    ]
    total = merge(found)
    evidence = Evidence(
        "source",
        runtime,
        total.max_abs,
        total.max_ulp,
        {"inputs": len(original.outputs), "outputs": len(original.outputs[0])},
        f"the original in {original.runtime} against the rewritten model in {what}, {tolerance}",
    )
    if total.equal:
        missed = doubts(original.outputs, tolerance)
        return Verification(Status.EQUIVALENT, (evidence,), not_covered=missed)
    reason = f"the rewritten model differs from the original in Keras: {total.reason}"
    return Verification(Status.DIFFERENT, (evidence,), None, reason)


def prove_translation(
    run: KerasRun,
    aside: Path,
    feeds: Sequence[Feeds],
    layout: Layout,
    timeout: float,
    memory_mb: int | None = None,
) -> list[Verification]:
    """Prove an ONNX model against the Keras model it was translated from.

    Parameters
    ----------
    run : KerasRun
        What Keras computed, and what tf2onnx alone made of the model if it was asked to.
    aside : Path
        The ONNX model.
    feeds : sequence of Feeds
        What Keras was run on.
    layout : Layout
        Which inputs and outputs have their channels moved in the ONNX model.
    timeout : float
        Seconds for one run.
    memory_mb : int, optional
        Memory of a run, in MiB.
    """
    given = [[_moved(value, layout) for value in feed.values()] for feed in feeds]
    results, runtime = _run_onnx(aside, given, timeout, memory_mb)
    if isinstance(results, str):
        reason = f"the output does not run: {results}"
        return [Verification(Status.DIFFERENT, reason=reason)]
    back = [[_moved(value, layout.inverse()) for value in values] for values in results]
    tolerance = on_provider(Tolerance(TRANSLATION_RTOL, scaled=True))
    levels = [compare_sources(run, back, tolerance, runtime, "onnxruntime")]
    if run.onnx is not None:
        plain_feeds = [list(feed.values()) for feed in feeds]
        plain, runtime = _run_onnx(run.onnx, plain_feeds, timeout, memory_mb)
        levels.append(_against_plain(plain, back, tolerance, runtime))
    return levels


def _run_onnx(
    model: Path, feeds: Sequence[Sequence[Array]], timeout: float, memory_mb: int | None
) -> tuple[list[list[Array]] | str, str]:
    """Run an ONNX model on inputs by position.

    Return its outputs, or why it does not run; and what ran it.
    """
    names = input_names(model)
    jobs = tuple(dict(zip(names, feed, strict=True)) for feed in feeds)
    outcome = run([Job(model, jobs)], timeout=timeout, memory_mb=memory_mb)[0]
    if outcome.outputs is None:
        return outcome.error or "it does not run", outcome.runtime
    return [list(values) for values in outcome.outputs], outcome.runtime


def _moved(value: Array, layout: Layout) -> Array:
    order = layout.order(value.ndim)
    return value if order is None else np.ascontiguousarray(value.transpose(order))


def _against_plain(
    plain: list[list[Array]] | str,
    results: list[list[Array]],
    tolerance: Tolerance,
    runtime: str,
) -> Verification:
    """Compare with what tf2onnx alone makes of the model, where that runs."""
    if isinstance(plain, str):
        reason = f"what tf2onnx alone makes of the model does not run: {plain}"
        return Verification(Status.UNVERIFIED, reason=reason)
    total = merge(
        [
            compare_arrays(b, a, *tolerance.bounds(a))
            for pair in zip(plain, results, strict=True)
            for a, b in zip(*pair, strict=True)
        ]
    )
    detail = f"what tf2onnx alone makes of the model against the output, {tolerance}"
    counts = {"inputs": len(plain), "outputs": len(plain[0])}
    evidence = Evidence("model", runtime, total.max_abs, total.max_ulp, counts, detail)
    if total.equal:
        return Verification(Status.EQUIVALENT, (evidence,))
    reason = f"the output differs from what tf2onnx alone makes of the model: {total.reason}"
    return Verification(Status.UNVERIFIED, (evidence,), None, reason)


def by_position(feeds: Sequence[Feeds], names: Sequence[str]) -> list[Feeds]:
    """Return feeds under the input names of a translated model."""
    return [dict(zip(names, feed.values(), strict=True)) for feed in feeds]


def input_names(model: Path) -> list[str]:
    """Return the names of an ONNX model's inputs."""
    import onnx

    return [value.name for value in onnx.load(model, load_external_data=False).graph.input]


def _as_onnx(
    original: KerasRun, rewritten: KerasRun, feeds: Sequence[Feeds], options: Options
) -> Verification:
    if original.onnx is None or rewritten.onnx is None:
        lost = original.onnx is None
        what, failed = ("the original", original) if lost else ("the rewritten model", rewritten)
        error = failed.errors[0] if failed.errors else "there is no translation"
        return Verification(Status.UNVERIFIED, reason=f"{what} was not run whole: {error}")
    from padaudit.verification.proof import EXACT

    names = input_names(original.onnx)
    _name_outputs_alike(original.onnx, rewritten.onnx)
    pair = ModelPair(original.onnx, rewritten.onnx)
    fed = same_feeds(by_position(feeds, names))
    return compare_models(pair, fed, on_provider(EXACT), options.timeout, options.memory_mb)


def _name_outputs_alike(original: Path, rewritten: Path) -> None:
    """Give a translation the output names of another: Keras names outputs after the last layer."""
    import onnx

    wanted = onnx.load(original, load_external_data=False).graph.output
    model = onnx.load(rewritten)
    for place, output in zip(wanted, model.graph.output, strict=True):
        if output.name != place.name:
            node = onnx.helper.make_node("Identity", [output.name], [place.name])
            model.graph.node.append(node)
            output.name = place.name
    onnx.save(model, rewritten)
