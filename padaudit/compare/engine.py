"""A model of either format, ready to be run on arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from padaudit.compare.feeds import Feed
from padaudit.compare.gap import Outputs
from padaudit.errors import UsageError
from padaudit.formats.keras.engine import KerasRun, missing_package, run_keras
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.explicit_form import runnable
from padaudit.verification.inputs import InputSpec
from padaudit.verification.keras_level import by_position, input_names, keras_specs
from padaudit.verification.model_level import input_specs
from padaudit.verification.runner import Array, Job, Limits

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded


@dataclass(frozen=True, slots=True)
class Ran:
    """What a model gave: its outputs per feed, or why there are none.

    Parameters
    ----------
    outputs : list of list of ndarray, or None
        Per feed, the outputs.
    error : str
        Why there are none, one clause.
    runtime : str
        What ran it.
    note : str
        How it had to be run, one clause; else empty.
    """

    outputs: Outputs | None
    error: str = ""
    runtime: str = ""
    note: str = ""


def specs_of(model: Loaded, input_shapes: InputShapes) -> list[InputSpec]:
    """Return the inputs of a model.

    Raises
    ------
    UsageError
        If an input's rank is not known.
    """
    if model.document.format == "onnx":
        document: Any = model.document
        return input_specs(document.model, input_shapes)
    return keras_specs(model)


def run_model(
    model: Loaded,
    feeds: Sequence[Feed],
    scratch: Path,
    limits: Limits,
) -> Ran:
    """Run a model: ONNX in onnxruntime, Keras in Keras (or, if that fails, translated).

    ONNX models run with their padding made explicit.
    """
    if model.document.path is None:
        raise UsageError("only models in files can be run")
    if model.document.format != "onnx":
        return _run_keras(model, feeds, scratch, limits)
    scratch.mkdir(parents=True, exist_ok=True)
    # onnxruntime refuses some modes, and places the windows of others elsewhere than ONNX says.
    folder = Path(tempfile.mkdtemp(dir=scratch))
    form = runnable(model, folder, limits.timeout, memory_mb=limits.memory_mb)
    if isinstance(form, str):
        return Ran(None, form)
    implicit = any(site.implicit for site in form.model.sites)
    explicit = explicit_file(form.model, scratch) if implicit else None
    ran = run_onnx(explicit or form.path, feeds, limits)
    if ran.outputs is None and explicit is not None:
        ran = run_onnx(form.path, feeds, limits)
    return replace(ran, note=form.note)


def run_onnx(model: Path | bytes, feeds: Sequence[Feed], limits: Limits) -> Ran:
    """Run an ONNX model on all feeds, without graph optimisations."""
    (outcome,) = limits.run([Job(model, tuple(feeds))])
    if outcome.outputs is None:
        return Ran(None, outcome.error or "it does not run", outcome.runtime)
    return Ran(outcome.outputs, "", outcome.runtime)


def _run_keras(model: Loaded, feeds: Sequence[Feed], scratch: Path, limits: Limits) -> Ran:
    package = missing_package()
    if package is not None:
        return Ran(None, f"{package} is not installed (pip install 'padaudit[keras]')")
    scratch.mkdir(exist_ok=True)
    names = [spec.name for spec in keras_specs(model)]
    arrays = [[feed[name] for name in names] for feed in feeds]
    path = model.document.path or scratch
    result = run_keras([path], arrays, scratch, timeout=limits.timeout, memory_mb=limits.memory_mb)[
        0
    ]
    if result.outputs is not None:
        return Ran(result.outputs, "", result.runtime)
    if result.stopped:
        return Ran(None, result.error, result.runtime)
    return _run_translated(model, arrays, scratch, limits, result)


def _run_translated(
    model: Loaded,
    arrays: Sequence[Sequence[Array]],
    scratch: Path,
    limits: Limits,
    refused: KerasRun,
) -> Ran:
    """Run the translation of a model that Keras itself does not run (TensorFlow on the CPU)."""
    from padaudit.rewriting.translate import runnable_translation

    onnx = runnable_translation(model, scratch, limits.timeout, limits.memory_mb)
    if isinstance(onnx, str):
        return Ran(None, refused.error, refused.runtime)
    ran = run_onnx(onnx, by_position(arrays, input_names(onnx)), limits)
    note = f"{refused.error}; its translation was run"
    return Ran(ran.outputs, ran.error, ran.runtime, note)


def explicit_file(model: Loaded, scratch: Path) -> Path | None:
    """Write an ONNX model with explicit padding; None where its data would have to move."""
    from padaudit.rewriting.apply import apply_plan
    from padaudit.rewriting.output import write_document
    from padaudit.rewriting.plan import AUTO, make_plan

    document: Any = model.document
    if document.data_files:
        return None
    scratch.mkdir(parents=True, exist_ok=True)
    plan = make_plan(model.document, model.sites, AUTO, graph=model.graph)
    target = scratch / "explicit.onnx"
    write_document(apply_plan(model.document, plan, model.graph).document, target)
    return target
