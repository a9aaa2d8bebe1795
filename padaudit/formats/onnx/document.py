"""ONNX files: the document, and where a node stands in it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from padaudit.errors import InputError
from padaudit.formats.onnx.external import DataFile, check_external_data
from padaudit.formats.onnx.locate import Steps
from padaudit.formats.onnx.protos import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
)
from padaudit.formats.onnx.skeleton import may_have_external_data, skeleton_bytes
from padaudit.formats.onnx.wire import Buffer, WireError

_FETCH_AGAIN: Final = "copy or download it again"
Container = GraphProto | FunctionProto


@dataclass(frozen=True, slots=True)
class NodeOrigin:
    """Where a node stands: steps from the model to its container, and its index there.

    A step is ``("graph",)``, ``("function", index)`` or ``("body", node index, attribute)``.
    """

    steps: Steps
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
        Its structure. The values of large tensors are left in the file (see
        `padaudit.formats.onnx.skeleton`) where there is one.
    source : bytes or mmap, optional
        The file's content.
    data_files : tuple of DataFile
        The files beside it that hold tensors.
    """

    path: Path | None
    model: ModelProto
    source: Buffer | None = field(default=None, repr=False)
    data_files: tuple[DataFile, ...] = ()
    format: str = "onnx"

    def buffer(self) -> Buffer:
        """Return the serialised model."""
        return self.source if self.source is not None else self.model.SerializeToString()


def read_onnx(path: Path) -> OnnxDocument:
    """Read the structure of an ONNX file; neither large tensors nor external data.

    Raises
    ------
    InputError
        If the file is no ONNX model, or refers to data outside its folder.
    """
    try:
        source = _mapped(path)
        skeleton = skeleton_bytes(source)
        model = ModelProto.FromString(skeleton)
    except (DecodeError, WireError, ValueError) as error:
        reason = f": {error}" if isinstance(error, WireError) else ""
        cause = f"it is no ONNX model, or is truncated or damaged (invalid protobuf{reason})"
        raise InputError(path, cause, _FETCH_AGAIN) from error
    if not model.HasField("graph") or model.ir_version < 1:
        raise InputError(path, "it holds no ONNX model (no graph)", _FETCH_AGAIN)
    external = check_external_data(path, model) if may_have_external_data(skeleton) else ()
    return OnnxDocument(path, model, source, external)


def _mapped(path: Path) -> Buffer:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def opset_of(imports: Sequence[OperatorSetIdProto]) -> int:
    """Return the version of the default domain among opset imports."""
    return next((item.version for item in imports if item.domain in ("", "ai.onnx")), 1)


def opset_at(model: ModelProto, origin: NodeOrigin) -> int:
    """Return the opset that holds at a node: a function's own, bodies in it included."""
    kind, *where = origin.steps[0]
    if kind == "function":
        return opset_of(model.functions[int(where[0])].opset_import)
    return opset_of(model.opset_import)


def container_at(model: ModelProto, steps: Steps) -> Container:
    """Return the graph, body or function of a model at the end of some steps."""
    container: Container = model.graph
    for kind, *where in steps:
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


def has_body(node: NodeProto) -> bool:
    """Tell whether a node holds a subgraph."""
    return any(attribute.type == AttributeProto.GRAPH for attribute in node.attribute)


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
