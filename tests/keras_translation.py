"""Keras models translated in this process, and compared with what Keras itself computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from padaudit.formats.keras.translation.channels import channels_first_on_cpu
from padaudit.formats.keras.translation.export import export, packed
from padaudit.formats.keras.translation.marks import Layout, Mark
from padaudit.formats.onnx.document import read_onnx
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.output import write_document
from padaudit.rewriting.run import Loaded, load, loaded
from padaudit.rewriting.translated import Settled, settle
from padaudit.verification.evidence import Status
from padaudit.verification.translation_level import prove_nodes

RTOL = 1e-5
"""Relative to the largest magnitude of an output."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A translated model: what Keras read, what became of it, and the file."""

    model: Any
    original: Loaded
    translated: Loaded
    marks: tuple[Mark, ...]
    settled: Settled
    path: Path

    @property
    def proto(self) -> onnx.ModelProto:
        return onnx.load(self.path)


def varied(model: Any) -> Any:
    """Give a model distinct random weights, biases and batch statistics included."""
    rng = np.random.default_rng(5)
    for variable in model.weights:
        name = variable.name.rpartition("/")[2].partition(":")[0]
        if name in ("bias", "beta", "moving_mean"):
            variable.assign(rng.normal(0, 0.3, variable.shape))
        if name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 2, variable.shape))
    return model


def translated(
    model: Any,
    folder: Path,
    options: Options | None = None,
    *,
    opset: int = 17,
    shapes: list[list[int | None]] | None = None,
    layout: Layout | None = None,
    legacy: Any = None,
) -> Case:
    """Save a model, and translate what Keras (or ``legacy``: tf-keras) loads from the file."""
    source = folder / ("model.h5" if legacy else "model.keras")
    model.save(source)
    again = (legacy or keras).models.load_model(source, compile=False)
    proto, marks = export(again, opset, shapes, layout or Layout(), bool(legacy))
    onnx.save(proto, folder / "marked.onnx")
    before = loaded(read_onnx(folder / "marked.onnx"), InputShapes())
    original = load(source, InputShapes())
    settled = settle(original, before, marks, options or Options())
    write_document(settled.applied.document, folder / "explicit.onnx")
    return Case(again, original, before, marks, settled, folder / "explicit.onnx")


def feeds(model: Any, shapes: Sequence[Sequence[int]]) -> list[Array]:
    """Return data of both signs for the inputs of a model."""
    rng = np.random.default_rng(7)
    types = [np.dtype(getattr(t.dtype, "name", t.dtype)) for t in model.inputs]
    return [rng.normal(size=tuple(shape)).astype(t) for shape, t in zip(shapes, types, strict=True)]


def predicted(model: Any, given: Sequence[Array]) -> list[Array]:
    """Return what Keras computes."""
    with channels_first_on_cpu():
        outputs = model(packed(model, list(given)), training=False)
    return [np.asarray(value) for value in keras.tree.flatten(outputs)]


def ran(path: Path, given: Sequence[Array]) -> list[Array]:
    """Return what onnxruntime computes, with its optimisations."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return list(session.run(None, dict(zip(names, given, strict=True))))


def assert_near(expected: Sequence[Array], got: Sequence[Array], rtol: float = RTOL) -> None:
    """Compare outputs: types, shapes, and values relative to the largest magnitude."""
    assert len(expected) == len(got)
    for ours, theirs in zip(expected, got, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        scale = np.abs(ours).max(initial=0)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=rtol * max(scale, 1e-6))


def assert_explicit(case: Case) -> None:
    """Check that every site is reported as rewritten, is proven, and nothing implicit is left."""
    assert case.settled.contradiction is None
    assert not case.settled.report.kept
    edited = {edit.site.id for edit in case.settled.report.edits}
    assert {site.id for site in case.original.sites if site.implicit} <= edited
    left = load(case.path, InputShapes()).sites
    assert not [site.id for site in left if site.implicit]
    for level in prove_nodes(case.translated, case.path, case.settled, case.marks, 300):
        assert level.status is Status.EQUIVALENT, level
    onnx.checker.check_model(case.path, full_check=True)
