"""Any two models against each other, ONNX or Keras, on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from padaudit.compare.engine import specs_of
from padaudit.compare.feeds import Link, links
from padaudit.errors import UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import Loaded, load
from padaudit.scratch import scratch_folder
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.explicit_form import Runnable, runnable
from padaudit.verification.inputs import InputSpec, NoValuesError
from padaudit.verification.keras_level import SOURCE_RTOL
from padaudit.verification.model_level import (
    Feed,
    Tolerance,
    feeds_to_try,
    on_provider,
)
from padaudit.verification.providers import using
from padaudit.verification.runner import USUAL, Limits
from padaudit.verification.samples import from_file
from padaudit.verification.two_models import TwoModels


def verify_files(
    first: Path,
    second: Path,
    input_shapes: InputShapes,
    tolerance: Tolerance | None = None,
    limits: Limits = USUAL,
    inputs: Path | None = None,
    provider: str | None = None,
) -> Verification:
    """Compare two model files on random, border and constant inputs, or on the user's own.

    ONNX models run in onnxruntime, with their padding made explicit (and that proven) where
    onnxruntime is known to miscompute or refuse it; Keras models run in Keras. Inputs are
    matched by name, by order, by shape; outputs too; NHWC against NCHW is found out.

    Parameters
    ----------
    first, second : Path
        Keras or ONNX files.
    input_shapes : InputShapes
        Sizes of the first model's inputs that the user fixes.
    tolerance : Tolerance, optional
        Exact for two models of one format by default, else `SOURCE_RTOL` of the largest
        magnitude of an output.
    limits : Limits
        What one run may take.
    inputs : Path, optional
        A ``.npz`` file of arrays by the names of the first model's inputs.
    provider : str, optional
        The execution provider that onnxruntime runs models on; the CPU's by default.

    Raises
    ------
    InputError
        If a file can't be read, or the arrays do not fit the first model.
    UsageError
        If an input's rank is not known, or the provider is not available.
    """
    with using(provider):
        return _verified((first, second), input_shapes, tolerance, limits, inputs)


def _verified(
    files: tuple[Path, Path],
    input_shapes: InputShapes,
    tolerance: Tolerance | None,
    limits: Limits,
    inputs: Path | None,
) -> Verification:
    first, second = files
    input_shapes = replace(input_shapes, open_only=True)
    models = load(first, input_shapes), load(second, InputShapes())
    try:
        specs = specs_of(models[0], input_shapes), specs_of(models[1], InputShapes())
        ways = _ways(*specs)
        tries = _tries(ways[0], inputs)
    except NoValuesError as error:
        return Verification(Status.UNVERIFIED, reason=str(error))
    except _UnlikeError as error:
        return Verification(Status.DIFFERENT, reason=f"their inputs do not fit: {error}")
    same = len({model.document.format.split("-")[0] for model in models}) == 1
    measured = tolerance is None and not same
    if tolerance is None:
        tolerance = on_provider(Tolerance() if same else Tolerance(SOURCE_RTOL, scaled=True))
    with scratch_folder() as scratch:
        forms = _forms(models, scratch, limits)
        if isinstance(forms, str):
            return Verification(Status.UNVERIFIED, reason=forms)
        counts = [len(model.graph.outputs) for model in models]
        if 0 in counts:
            return _without_outputs(models, counts)
        comparison = TwoModels(models, forms, tolerance, limits, inputs is None, measured)
        return comparison.verdict(ways, tries)


def _without_outputs(models: tuple[Loaded, Loaded], counts: Sequence[int]) -> Verification:
    """Judge models of which one has no outputs, and can't be run."""
    path = models[counts.index(0)].document.path
    if any(counts):
        return Verification(Status.DIFFERENT, reason=f"{path} has no outputs, and the other has")
    return Verification(Status.UNVERIFIED, reason=f"{path} has no outputs that could be compared")


class _UnlikeError(Exception):
    """The inputs of two models do not fit together."""


def _ways(ours: Sequence[InputSpec], theirs: Sequence[InputSpec]) -> list[list[Link]]:
    try:
        return links(ours, theirs)
    except UsageError as error:
        raise _UnlikeError(str(error)) from error


def _forms(
    models: tuple[Loaded, Loaded], scratch: Path, limits: Limits
) -> tuple[Runnable, Runnable] | str:
    """Return both models as they can be run, or why one can't be."""
    forms: list[Runnable] = []
    for place, model in enumerate(models):
        folder = scratch / str(place)
        folder.mkdir()
        form = runnable(model, folder, limits.timeout, memory_mb=limits.memory_mb)
        if isinstance(form, str):
            return form
        forms.append(form)
    return forms[0], forms[1]


def _tries(way: Sequence[Link], inputs: Path | None) -> list[list[Feed]]:
    """Return sets of inputs for the first model, in the order in which they are to be tried."""
    narrowed = [link.narrowed() for link in way]
    if inputs is not None:
        return [list(from_file(inputs, narrowed).feeds)]
    return [list(feeds) for feeds in feeds_to_try(narrowed)]
