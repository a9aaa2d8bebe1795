"""Level 3 for Keras models: run whole, in Keras itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from padaudit.errors import UsageError
from padaudit.formats.keras.engine import KerasRun, missing_package, run_keras
from padaudit.formats.keras.modern import (
    changed_functions,
    holds_no_code,
    is_legacy,
    modern_config,
)
from padaudit.formats.keras.precision import coarsest_type
from padaudit.ir.dims import Open
from padaudit.verification.compare import compare_arrays, merge
from padaudit.verification.evidence import Evidence, Status, Verification
from padaudit.verification.inputs import InputSpec
from padaudit.verification.model_level import (
    ModelPair,
    Tolerance,
    compare_models,
    feeds_of,
    feeds_to_try,
    on_provider,
    same_feeds,
    setup_of,
)
from padaudit.verification.runner import Array
from padaudit.verification.samples import own_feeds
from padaudit.verification.telling import TELLS_NOTHING, doubts

if TYPE_CHECKING:
    from padaudit.rewriting.options import Options
    from padaudit.rewriting.run import Loaded
    from padaudit.verification.rounding import Rounding

SOURCE_RTOL: Final = 1e-4
"""Relative to the largest magnitude of an output: two runtimes sum in different orders."""

TRANSLATED_RTOL: Final = 1e-5
"""The same between the translations of two Keras models, which may pad in another operator."""

MODERN_RTOL: Final = 1e-5
"""The same between tf-keras and Keras 3, whose layers sum in different orders too."""

Feeds = dict[str, Array]


def prove_keras_pair(model: Loaded, written: Path, scratch: Path, options: Options) -> Verification:
    """Prove a rewritten Keras file: both files run in Keras, or translated where Keras can't."""
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
    original, rewritten = _both(model.document.path or written, written, feeds, scratch, options)
    if original.stopped:
        reason = f"the original was not run whole: {original.error}"
        return Verification(Status.UNVERIFIED, reason=reason)
    if original.outputs is None and not original.died:
        files = [model.document.path or written, written]
        found = run_at_other_sizes(model, files, scratch, options)
        if found is not None:
            (original, rewritten), feeds = found
    if original.outputs is None:
        level = prove_translations(model, written, feeds, scratch, options)
        missed = f"the original was not run in Keras: {original.error}"
        return replace(level, not_covered=(*level.not_covered, missed))
    if rewritten.outputs is None:
        return _does_not_run(rewritten, "Keras runs the original, but not the rewritten model")
    return compare_sources(original, rewritten.outputs, Tolerance(), rewritten.runtime, feeds)


def _both(
    source: Path, written: Path, feeds: Sequence[Feeds], scratch: Path, options: Options
) -> tuple[KerasRun, KerasRun]:
    arrays = [list(feed.values()) for feed in feeds]
    original, rewritten = run_keras(
        [source, written], arrays, scratch, timeout=options.timeout, memory_mb=options.memory_mb
    )
    return original, rewritten


def _does_not_run(run: KerasRun, what: str) -> Verification:
    """Judge a result that does not run: a process that was stopped or died tells nothing of it."""
    status = Status.UNVERIFIED if run.died else Status.DIFFERENT
    return Verification(status, reason=f"{what}: {run.error}", decides=run.died)


def prove_translations(
    model: Loaded, written: Path, feeds: Sequence[Feeds], scratch: Path, options: Options
) -> Verification:
    """Compare the translations of two Keras files, whole in onnxruntime.

    Parameters
    ----------
    model : Loaded
        The original.
    written : Path
        The rewritten file.
    feeds : sequence of Feeds
        The inputs.
    scratch : Path
        A folder that the caller removes.
    options : Options
        Limits of one run.
    """
    from padaudit.rewriting.run import load
    from padaudit.rewriting.translate import runnable_translation

    paths = []
    for place, item in enumerate((model, load(written, options.input_shapes))):
        folder = scratch / f"translated-{place}"
        folder.mkdir()
        path = runnable_translation(item, folder, options.timeout, options.memory_mb)
        if isinstance(path, str):
            reason = f"no translation of it was run in onnxruntime: {path}"
            return Verification(Status.UNVERIFIED, reason=reason)
        paths.append(path)
    original, rewritten = paths
    _name_outputs_alike(original, rewritten)
    arrays = [list(feed.values()) for feed in feeds]
    fed = same_feeds(by_position(arrays, input_names(original)))
    pair = ModelPair(original, rewritten)
    rounded = on_provider(Tolerance(TRANSLATED_RTOL, scaled=True))
    return compare_models(pair, fed, rounded, options.timeout, options.memory_mb)


def _modernized(
    model: Loaded, written: Path, feeds: list[Feeds], scratch: Path, options: Options
) -> Verification:
    """Compare the old file in the Keras that loads it with the mended one in Keras 3."""
    source = model.document.path or written
    original, rewritten = _both(source, written, feeds, scratch, options)
    if rewritten.outputs is None:
        reason = f"Keras 3 does not run the result: {rewritten.error}"
        return Verification(Status.UNVERIFIED, reason=reason)
    old = run_unmended(source, feeds, scratch, options) if _better_judged(model, original) else None
    if old is not None and old.outputs is not None:
        original = old
    elif computes_otherwise(model):
        return Verification(Status.UNVERIFIED, reason=OTHERWISE)
    tolerance = Tolerance(MODERN_RTOL, scaled=True).for_type(precision(model))
    return compare_sources(original, rewritten.outputs, tolerance, rewritten.runtime, feeds)


OTHERWISE: Final = (
    "Keras 2 wrote the model, and Keras 3 computes its hard_sigmoid otherwise (PAD409); let "
    "tf-keras judge, with --trust-model"
)


def computes_otherwise(model: Loaded) -> bool:
    """Tell whether Keras 3 loads a model of Keras 2 and computes something else."""
    document: Any = model.document
    obstacles = modern_config(document.config)[1] if is_legacy(document) else []
    return any(item.repair == changed_functions.__name__ for item in obstacles)


def _better_judged(model: Loaded, run: KerasRun) -> bool:
    """Tell whether tf-keras should run a model as it was: Keras 3 does not, or not rightly."""
    return run.outputs is None or computes_otherwise(model)


def precision(model: Loaded) -> str | None:
    """Return the coarsest type that a Keras model computes in; None for float32."""
    return coarsest_type(model.document.config)  # type: ignore[attr-defined]


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
    limits: Any = {"timeout": options.timeout, "memory_mb": options.memory_mb}
    return run_keras([source], arrays, folder, legacy=True, **limits)[0]


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


def run_at_other_sizes(
    model: Loaded, files: Sequence[Path], scratch: Path, options: Options, legacy: bool = False
) -> tuple[list[KerasRun], list[Feeds]] | None:
    """Run Keras files at further sizes, where the first one did not run at the usual ones.

    Parameters
    ----------
    model : Loaded
        The first one.
    files : sequence of Path
        What to run.
    scratch : Path
        A folder that the caller removes.
    options : Options
        Limits of one run of all of them; the user's own inputs are tried as well.
    legacy : bool
        Whether tf-keras runs them.

    Returns
    -------
    tuple of list of KerasRun and list of Feeds, or None
        The runs, and the inputs; None if the first file runs at none of the sizes, or no
        size is open.
    """
    specs = keras_specs(model)
    limits: Any = {"timeout": options.timeout, "memory_mb": options.memory_mb}
    for number, feeds in enumerate(feeds_to_try(specs, own_feeds(options.inputs, specs))[1:]):
        folder = scratch / f"other-sizes-{number}"
        folder.mkdir()
        arrays = [list(feed.values()) for feed in feeds]
        runs = run_keras(files, arrays, folder, legacy=legacy, **limits)
        if runs[0].outputs is not None:
            return runs, [dict(feed) for feed in feeds]
    return None


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
    results: Sequence[Sequence[Array]],
    tolerance: Tolerance,
    runtime: str,
    feeds: Sequence[Feeds],
    rounding: Rounding | None = None,
) -> Verification:
    """Level 3: what the original computes in Keras against results of the rewritten model.

    Parameters
    ----------
    original : KerasRun
        What Keras made of the original.
    results : sequence of sequence of ndarray
        Per set of inputs, the outputs of the rewritten model.
    tolerance : Tolerance
        How far apart they may be.
    runtime : str
        What ran the rewritten model.
    feeds : sequence of Feeds
        The inputs.
    rounding : Rounding, optional
        Of the model on these inputs: what is allowed for where outputs differ.
    """
    if original.outputs is None:
        reason = f"the original was not run whole: {original.error}"
        return Verification(Status.UNVERIFIED, reason=reason)
    pairs = [
        (feed, place, a, b)
        for feed, (ours, theirs) in enumerate(zip(original.outputs, results, strict=True))
        for place, (a, b) in enumerate(zip(ours, theirs, strict=True))
    ]
    found = [compare_arrays(b, a, *tolerance.bounds(a)) for _, _, a, b in pairs]
    total = merge(found)
    evidence = Evidence(
        "source",
        " and ".join(dict.fromkeys((runtime, original.runtime))),
        total.max_abs,
        total.max_ulp,
        {"inputs": len(original.outputs), "outputs": len(original.outputs[0])},
        f"the original in {original.runtime} against the rewritten model in {runtime}, {tolerance}",
        setup_of(feeds, tolerance, "onnxruntime" in runtime),
    )
    if total.equal:
        missed = doubts(original.outputs, tolerance)
        return Verification(Status.EQUIVALENT, (evidence,), not_covered=missed)
    differing = [pair for pair, item in zip(pairs, found, strict=True) if not item.equal]
    excused = rounding.explains(differing) if rounding else None
    if excused is not None:
        evidence = replace(evidence, detail=f"{evidence.detail}; {excused.reason}")
        if excused.mute:
            reason = TELLS_NOTHING
            return Verification(Status.UNVERIFIED, (evidence,), None, reason, decides=True)
        return Verification(Status.EQUIVALENT, (evidence,))
    reason = f"the rewritten model differs from the original in Keras: {total.reason}"
    return Verification(Status.DIFFERENT, (evidence,), None, reason)


def by_position(feeds: Sequence[Sequence[Array]], names: Sequence[str]) -> tuple[Feeds, ...]:
    """Return arrays under the input names of a translated model."""
    return tuple(dict(zip(names, feed, strict=True)) for feed in feeds)


def input_names(model: Path) -> list[str]:
    """Return the names of an ONNX model's inputs."""
    import onnx

    return [value.name for value in onnx.load(model, load_external_data=False).graph.input]


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
