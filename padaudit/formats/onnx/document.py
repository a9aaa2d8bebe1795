"""ONNX files: reading the protobuf, and where a node stands in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from padaudit.errors import InputError, LimitError

MAX_FILE_BYTES: Final = 2**31 - 1
LARGE_TENSOR_BYTES: Final = 4096
_FETCH_AGAIN: Final = "copy or download it again"
Container = GraphProto | FunctionProto


@dataclass(frozen=True, slots=True)
class NodeOrigin:
    """Where a node stands: steps from the model to its container, and its index there.

    A step is ``("graph",)``, ``("function", index)`` or ``("body", node index, attribute)``.
    """

    steps: tuple[tuple[str | int, ...], ...]
    index: int
    node: NodeProto = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class OnnxDocument:
    """An ONNX model as it stands in its file.

    Parameters
    ----------
    path : Path or None
        The file; None for a model that came from memory.
    model : ModelProto
        External data is referenced, not loaded.
    """

    path: Path | None
    model: ModelProto
    format: str = "onnx"


def read_onnx(path: Path) -> OnnxDocument:
    """Read an ONNX file without its external data.

    Raises
    ------
    InputError
        If the file is no ONNX model, or refers to data outside its folder.
    LimitError
        If it is larger than protobuf can hold.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        cause = f"the file has {size} bytes, more than a protobuf can hold ({MAX_FILE_BYTES})"
        raise LimitError(path, cause, "store the weights as external data")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError) as error:
        cause = "it is no ONNX model, or is truncated or damaged (invalid protobuf)"
        raise InputError(path, cause, _FETCH_AGAIN) from error
    if not model.HasField("graph") or model.ir_version < 1:
        raise InputError(path, "it holds no ONNX model (no graph)", _FETCH_AGAIN)
    document = OnnxDocument(path, model)
    for tensor in external_tensors(model):
        _refuse_foreign_data(path, tensor)
    return document


def opset_of(imports: Sequence[onnx.OperatorSetIdProto]) -> int:
    """Return the version of the default domain among opset imports."""
    return next((item.version for item in imports if item.domain in ("", "ai.onnx")), 1)


def opset_at(model: ModelProto, origin: NodeOrigin) -> int:
    """Return the opset that holds at a node: a function's own, bodies in it included."""
    kind, *where = origin.steps[0]
    if kind == "function":
        return opset_of(model.functions[int(where[0])].opset_import)
    return opset_of(model.opset_import)


def container_of(model: ModelProto, origin: NodeOrigin) -> Container:
    """Return the graph or function of a model (or of a copy of it) that holds a node."""
    container: Container = model.graph
    for kind, *where in origin.steps:
        if kind == "function":
            container = model.functions[int(where[0])]
        elif kind == "body":
            node = container.node[int(where[0])]
            container = next(item.g for item in node.attribute if item.name == where[1])
    return container


def bodies(node: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    """Yield the subgraphs of a node with the names of their attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.name, attribute.g


def plain_attributes(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values (graphs and tensors are left out)."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        kind = attribute.type
        if kind == AttributeProto.INT:
            values[attribute.name] = attribute.i
        elif kind == AttributeProto.FLOAT:
            values[attribute.name] = attribute.f
        elif kind == AttributeProto.STRING:
            values[attribute.name] = attribute.s.decode("utf-8", "replace")
        elif kind == AttributeProto.INTS:
            values[attribute.name] = list(attribute.ints)
        elif kind == AttributeProto.FLOATS:
            values[attribute.name] = list(attribute.floats)
    return values


def external_location(tensor: TensorProto) -> str:
    """Return the file that holds a tensor's external data, as the model writes it."""
    entries: Mapping[str, str] = {item.key: item.value for item in tensor.external_data}
    return entries.get("location", "")


def external_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every initializer, bodies included, whose data is in another file."""
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                yield tensor


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for _, body in bodies(node):
            yield from _graphs(body)


def _refuse_foreign_data(path: Path, tensor: TensorProto) -> None:
    location = external_location(tensor)
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    folder = path.resolve().parent
    inside = (
        location
        and not posix.is_absolute()
        and not windows.is_absolute()
        and ".." not in (*posix.parts, *windows.parts)
        and (folder / location).resolve().is_relative_to(folder)
    )
    if not inside:
        cause = (
            f"its tensor '{tensor.name}' refers to data outside the model's folder ({location!r})"
        )
        raise InputError(path, cause, "put the data file beside the model")
