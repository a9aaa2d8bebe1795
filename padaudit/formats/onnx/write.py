"""Writing an ONNX model."""

from __future__ import annotations

from pathlib import Path

from padaudit.errors import InputError
from padaudit.formats.onnx.document import OnnxDocument, external_tensors


def write_onnx(document: OnnxDocument, target: Path, home: Path) -> None:
    """Write a model to ``target``, to be moved to the folder ``home`` later.

    Raises
    ------
    InputError
        If the model's weights are in other files and ``home`` is not their folder.
    """
    source = document.path
    if source is not None and home.resolve() != source.resolve().parent:
        tensor = next(external_tensors(document.model), None)
        if tensor is not None:
            cause = f"its weights are in other files beside it (tensor '{tensor.name}')"
            raise InputError(source, cause, "write the output into the same folder")
    target.write_bytes(document.model.SerializeToString(deterministic=True))
