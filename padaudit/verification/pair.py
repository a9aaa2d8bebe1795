"""Any two models against each other: ONNX or Keras, on the same inputs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from padaudit.errors import InputError, UsageError
from padaudit.formats.detect import read_document
from padaudit.formats.document import Document
from padaudit.formats.keras.engine import require, run_keras
from padaudit.formats.onnx.document import read_onnx
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.evidence import Verification
from padaudit.verification.inputs import InputSpec, generate, open_sizes
from padaudit.verification.keras_level import SOURCE_RTOL
from padaudit.verification.model_level import (
    KINDS,
    SEED,
    ModelPair,
    Tolerance,
    compare_models,
    input_specs,
)
from padaudit.verification.runner import Array


@dataclass(frozen=True, slots=True)
class _Runnable:
    """A model as onnxruntime gets it, and its inputs."""

    model: Path
    specs: list[InputSpec]


def verify_files(
    first: Path,
    second: Path,
    input_shapes: InputShapes,
    tolerance: Tolerance | None = None,
    timeout: float = 600.0,
) -> Verification:
    """Compare two model files on random, border and constant inputs.

    Parameters
    ----------
    first, second : Path
        Keras or ONNX files; Keras models are translated with tf2onnx.
    input_shapes : InputShapes
        Sizes that the user fixes.
    tolerance : Tolerance, optional
        Exact for two models of one format by default, else `SOURCE_RTOL`.
    timeout : float
        Seconds for one run.

    Raises
    ------
    InputError
        If a file can't be read or translated, or their inputs do not fit together.
    MissingDependencyError
        If a Keras model is given and the packages to translate it are missing.
    """
    documents = [read_document(first), read_document(second)]
    if tolerance is None:
        same = len({document.format.split("-")[0] for document in documents}) == 1
        tolerance = Tolerance() if same else Tolerance(SOURCE_RTOL, SOURCE_RTOL)
    with tempfile.TemporaryDirectory(prefix="padaudit-") as name:
        pair = [
            _runnable(path, document, Path(name) / str(index), input_shapes, timeout)
            for index, (path, document) in enumerate(zip((first, second), documents, strict=True))
        ]
        feeds = _feeds(pair, second)
        return compare_models(
            ModelPair(pair[0].model, pair[1].model), feeds, tolerance, timeout, by_position=True
        )


def _runnable(
    path: Path, document: Document, scratch: Path, input_shapes: InputShapes, timeout: float
) -> _Runnable:
    model = path
    if document.format != "onnx":
        require(f"running {path}")
        scratch.mkdir()
        result = run_keras([path], [], scratch, timeout=timeout, predict=False)[0]
        if result.onnx is None:
            raise InputError(path, result.errors[0], "rewrite it to ONNX where that works")
        model = result.onnx
    return _Runnable(model, input_specs(read_onnx(model).model, input_shapes))


def _feeds(pair: list[_Runnable], second: Path) -> list[tuple[dict[str, Array], dict[str, Array]]]:
    """Make inputs for the first model, and hand the same ones to the second by position."""
    ours, theirs = (runnable.specs for runnable in pair)
    ranks = [[len(spec.shape) for spec in specs] for specs in (ours, theirs)]
    if ranks[0] != ranks[1]:
        raise UsageError(
            f"{second}: its inputs have {ranks[1]} axes, those of the first model {ranks[0]}"
        )
    fixed = [_narrowed(*specs) for specs in zip(ours, theirs, strict=True)]
    names = [spec.name for spec in theirs]
    made = [generate(fixed, kind, SEED, sizes) for sizes in open_sizes(fixed) for kind in KINDS]
    return [(feed, dict(zip(names, feed.values(), strict=True))) for feed in made]


def _narrowed(ours: InputSpec, theirs: InputSpec) -> InputSpec:
    """An axis that is open in one model takes the other's size."""
    axes = zip(ours.shape, theirs.shape, strict=True)
    shape = tuple(a if isinstance(a, int) else b for a, b in axes)
    return InputSpec(ours.name, ours.dtype, shape)
