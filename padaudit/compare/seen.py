"""One run of a model, for amounts and sizes that only a run shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from padaudit.compare.around_onnx import unsettled_amounts
from padaudit.compare.feeds import Feed
from padaudit.compare.values import Values
from padaudit.formats.onnx.constants import Constants
from padaudit.formats.onnx.write import write_onnx
from padaudit.ir.dims import Shape
from padaudit.ir.site import PaddingSite
from padaudit.verification.runner import Job, Limits
from padaudit.verification.taps import Tap, with_outputs

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run showed: amounts of Pads and Slices, and shapes around padded operators."""

    values: Mapping[str, Array] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)


def unsettled(model: Loaded) -> list[str]:
    """Return the tensors with amounts of Pads and Slices that only a run of the model shows."""
    document: Any = model.document
    if document.format != "onnx":
        return []
    return unsettled_amounts(Values(Constants.beside(document), model.graph), model.graph)


def _is_sized(site: PaddingSite) -> bool:
    return all(isinstance(size, int) for size in site.output_size)


def observe(model: Loaded, feed: Feed, scratch: Path, limits: Limits) -> Seen:
    """Run an ONNX model once; what it does not show stays unknown."""
    document: Any = model.document
    amounts = unsettled(model)
    outer = [site for site in model.sites if not site.scope]
    read = {site.op.inputs[0] for site in outer}
    # What stands behind an operator crops nothing that is known before its output's size is.
    read |= {site.op.outputs[0] for site in outer if not _is_sized(site)}
    names = sorted({*amounts, *read} - set(model.graph.inputs))
    folder = document.path.parent if document.data_files else scratch
    path = folder / f".observed.{os.getpid()}.onnx"
    try:
        write_onnx(with_outputs(document, [Tap(name) for name in names]), path)
        outcome = limits.run([Job(path, (feed,), tuple(names))])[0]
    finally:
        path.unlink(missing_ok=True)
    if outcome.outputs is None:
        return Seen()
    arrays = dict(zip(outcome.output_names, outcome.outputs[0], strict=True))
    return Seen(
        {name: arrays[name] for name in amounts},
        {name: array.shape for name, array in arrays.items() if name in read},
    )
