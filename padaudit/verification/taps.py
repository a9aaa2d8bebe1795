"""An ONNX model with further tensors as outputs, to look inside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import GraphProto, ValueInfoProto

from padaudit.formats.onnx.locate import Locator, field_number
from padaudit.formats.onnx.splice import Splice, spliced
from padaudit.formats.onnx.wire import encode_message
from padaudit.formats.onnx.write import RewrittenOnnx, write_onnx

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument


@contextmanager
def tapped(document: OnnxDocument, names: Sequence[str]) -> Iterator[Path]:
    """Write a model that has further tensors of its top-level graph as outputs.

    The file is gone afterwards. It stands beside the model where that has external data,
    which onnxruntime reads beside the file only.

    Raises
    ------
    OSError
        If it can't be written there.
    """
    home = document.path.parent if document.path and document.data_files else None
    with tempfile.TemporaryDirectory(prefix="padaudit-") as scratch:
        path = (home or Path(scratch)) / f".observed.{os.getpid()}.onnx"
        try:
            write_onnx(with_outputs(document, names), path)
            yield path
        finally:
            path.unlink(missing_ok=True)


def with_outputs(document: OnnxDocument, names: Sequence[str]) -> RewrittenOnnx:
    """Return a model with further tensors of its top-level graph as outputs."""
    buffer = document.buffer()
    number = field_number(GraphProto, "output")
    place = Locator(buffer).container((("graph",),))
    present = {value.name for value in document.model.graph.output}
    content = tuple(
        encode_message(number, ValueInfoProto(name=name).SerializeToString())
        for name in names
        if name not in present
    )
    splice = Splice(place.end, place.end, content, place)
    return RewrittenOnnx(document, spliced(0, len(buffer), [splice]))
