"""One run of a model, to learn the sizes that shape inference loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from padaudit.errors import InputError
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Shape
from padaudit.ir.site import PaddingSite
from padaudit.verification.inputs import concrete_shape, generate
from padaudit.verification.model_level import SEED, input_specs
from padaudit.verification.runner import Job, run
from padaudit.verification.taps import Tap, tapped

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument
    from padaudit.rewriting.run import Loaded


def observed_shapes(
    model: Loaded, input_shapes: InputShapes, timeout: float
) -> Mapping[str, Shape]:
    """Run a model on zeros-and-ones of given sizes and return the shapes that its sites read.

    Parameters
    ----------
    model : Loaded
        An ONNX model; only sites of its top-level graph whose size is unknown are observed.
    input_shapes : InputShapes
        Sizes of every open input axis.
    timeout : float
        Seconds for the run.

    Raises
    ------
    InputError
        If onnxruntime can't run the model.
    UsageError
        If a size is open and not given.
    """
    wanted = sorted({site.op.inputs[0] for site in model.sites if _unknown(site)})
    if not wanted:
        return {}
    document: OnnxDocument = model.document  # type: ignore[assignment]
    specs = input_specs(document.model, input_shapes)
    for spec in specs:
        concrete_shape(spec, {})
    feed = generate(specs, "constant", SEED, {})
    with tapped(document, [Tap(name) for name in wanted]) as path:
        outcome = run([Job(path, (feed,), tuple(wanted))], timeout=timeout)[0]
    if outcome.outputs is None:
        cause = f"onnxruntime can't run it to observe its sizes: {outcome.error}"
        raise InputError(document.path or "the model", cause, "leave --observe out")
    return {
        name: array.shape
        for name, array in zip(outcome.output_names, outcome.outputs[0], strict=True)
    }


def _unknown(site: PaddingSite) -> bool:
    return site.has_unknown_size and not site.scope
