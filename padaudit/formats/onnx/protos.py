"""onnx's message types and its shape inference, without the rest of the onnx package.

``import onnx`` takes longer than a whole `padaudit check`: it brings numpy and all of onnx's
helpers. Its message module and its compiled module work alone; they are loaded under their
own names, so that a later ``import onnx`` finds them.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from onnx import (
        AttributeProto,
        FunctionProto,
        GraphProto,
        ModelProto,
        NodeProto,
        OperatorSetIdProto,
        SparseTensorProto,
        StringStringEntryProto,
        TensorProto,
        TensorShapeProto,
        TypeProto,
        ValueInfoProto,
    )

__all__ = [
    "AttributeProto",
    "FunctionProto",
    "GraphProto",
    "ModelProto",
    "NodeProto",
    "OperatorSetIdProto",
    "SparseTensorProto",
    "StringStringEntryProto",
    "TensorProto",
    "TensorShapeProto",
    "TypeProto",
    "ValueInfoProto",
    "compiled",
]

_MESSAGES: Final = "onnx.onnx_ml_pb2"
_COMPILED: Final = "onnx.onnx_cpp2py_export"


def compiled() -> Any:
    """Return onnx's compiled module."""
    return _module(_COMPILED)


def _module(name: str) -> Any:
    """Return a module of onnx, loaded alone where that can be done."""
    if name in sys.modules:
        return sys.modules[name]
    file = None if "onnx" in sys.modules else _file(name.rpartition(".")[2])
    if file is None:
        return importlib.import_module(name)
    loader = SourceFileLoader(name, str(file)) if file.suffix == ".py" else None
    spec = spec_from_file_location(name, file, loader=loader)
    if spec is None or spec.loader is None:
        return importlib.import_module(name)
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception:
        del sys.modules[name]
        return importlib.import_module(name)
    return module


def _file(stem: str) -> Path | None:
    package = find_spec("onnx")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent
    candidates = (folder / f"{stem}{suffix}" for suffix in (".py", *EXTENSION_SUFFIXES))
    return next((file for file in candidates if file.is_file()), None)


if not TYPE_CHECKING:
    _messages = _module(_MESSAGES)
    globals().update({name: getattr(_messages, name) for name in __all__ if name != "compiled"})
