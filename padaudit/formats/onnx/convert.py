"""Converting an ONNX model to another opset, with onnx's own converter."""

from __future__ import annotations

from dataclasses import replace

import onnx

from padaudit.errors import InputError, UsageError
from padaudit.formats.onnx.document import OnnxDocument, opset_of


def converted(document: OnnxDocument, opset: int) -> OnnxDocument:
    """Return a model converted to an opset; the whole model is loaded for that.

    Raises
    ------
    InputError
        If onnx can't convert it.
    UsageError
        If onnx does not know the opset.
    """
    if not 1 <= opset <= onnx.defs.onnx_opset_version():
        newest = onnx.defs.onnx_opset_version()
        raise UsageError(f"--opset {opset}: the installed onnx knows 1 to {newest}")
    if opset_of(document.model.opset_import) == opset:
        return document
    buffer = document.buffer()
    model = onnx.ModelProto.FromString(buffer[:])
    if model.functions:
        cause = "it has local functions, which onnx's version converter leaves as they are"
        raise InputError(document.path or "the model", cause, "export it at the opset you need")
    try:
        model = onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        # The converter raises several unrelated types, RuntimeError and its own among them.
        reason = (str(error).splitlines() or ["?"])[0]
        cause = f"onnx can't convert it to opset {opset} ({reason})"
        advice = "export it at the opset you need"
        raise InputError(document.path or "the model", cause, advice) from error
    return replace(document, model=model, source=model.SerializeToString())
