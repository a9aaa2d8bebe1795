"""Tensors whose values are in other files: which ones, and that they may be there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

from padaudit.errors import InputError
from padaudit.formats.onnx.dtypes import item_size
from padaudit.formats.onnx.protos import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
)
from padaudit.formats.onnx.skeleton import tensor_reference

_PUT_BESIDE: Final = "put the data file beside the model"
_SAVE_AGAIN: Final = "save the model with its external data again"


_PLAIN: Final = frozenset(
    {
        AttributeProto.INT,
        AttributeProto.INTS,
        AttributeProto.FLOAT,
        AttributeProto.FLOATS,
        AttributeProto.STRING,
        AttributeProto.STRINGS,
    }
)
"""The types of attributes that hold no tensor."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file beside the model that holds tensors.

    Parameters
    ----------
    location : str
        Its path relative to the model's folder, as the model writes it.
    tensor : str
        The first tensor in it.
    """

    location: str
    tensor: str


@dataclass(frozen=True, slots=True)
class _Extent:
    tensor: str
    start: int
    end: int


def check_external_data(path: Path, model: ModelProto) -> tuple[DataFile, ...]:
    """Return the data files of a model; none of them is opened.

    Raises
    ------
    InputError
        If a file is outside the model's folder (also by a link), or a tensor's range does
        not fit the file, its type and dims, or overlaps another tensor's.
    """
    extents: dict[str, list[_Extent]] = {}
    for tensor in all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL and tensor_reference(tensor) is None:
            location = _location(path, tensor)
            extents.setdefault(location, []).append(_extent(path, tensor, location))
    for location, found in extents.items():
        _refuse_overlap(path, location, found)
    return tuple(DataFile(location, found[0].tensor) for location, found in extents.items())


def all_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor that a model holds, wherever it stands."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
        for attribute in function.attribute_proto:
            yield from _of_attribute(attribute)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Sequence[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _of_attribute(attribute)


def _of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.type in _PLAIN:
        return
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
        yield from _of_graph(graph)
    for sparse in attribute.sparse_tensors:
        yield from (sparse.values, sparse.indices)
    if attribute.HasField("sparse_tensor"):
        yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def _location(path: Path, tensor: TensorProto) -> str:
    location = _entries(tensor).get("location", "")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = (
        not location
        or "\0" in location
        or posix.is_absolute()
        or bool(windows.anchor)
        or ".." in (*posix.parts, *windows.parts)
    )
    if outside or not _stays_inside(path.resolve().parent, location):
        cause = (
            f"its tensor '{tensor.name}' refers to data outside the model's folder ({location!r})"
        )
        raise InputError(path, cause, _PUT_BESIDE)
    return location


def _stays_inside(folder: Path, location: str) -> bool:
    """Tell whether neither a symbolic nor a hard link leads out of the folder."""
    try:
        file = (folder / location).resolve()
        return file.is_relative_to(folder) and (not file.exists() or file.stat().st_nlink == 1)
    except OSError:
        return False


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {item.key: item.value for item in tensor.external_data}


def _extent(path: Path, tensor: TensorProto, location: str) -> _Extent:
    """Return which bytes of its file a tensor takes; checked against the file and its type."""
    entries = _entries(tensor)
    numbers = {key: entries.get(key) for key in ("offset", "length")}
    for key, text in numbers.items():
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
            raise _misfit(path, tensor, f"an external {key} of {text!r}")
    start = int(numbers["offset"] or 0)
    needed = _bytes_needed(tensor)
    length = int(numbers["length"]) if numbers["length"] else needed
    if needed is not None and numbers["length"] and length != needed:
        raise _misfit(path, tensor, f"{length} external bytes where type and dims need {needed}")
    end = start + (length or 0)
    file = path.resolve().parent / location
    if file.is_file() and end > file.stat().st_size:
        raise _misfit(path, tensor, f"data that reaches over the end of '{location}'")
    return _Extent(tensor.name, start, end)


_DIGITS: Final = 19


def _bytes_needed(tensor: TensorProto) -> int | None:
    """Return the size of a tensor's values; None where the type has no fixed size in bytes."""
    size = item_size(tensor.data_type)
    if size is None or any(dim < 0 for dim in tensor.dims):
        return None
    return math.prod(int(dim) for dim in tensor.dims) * size


def _refuse_overlap(path: Path, location: str, found: list[_Extent]) -> None:
    """Refuse ranges that overlap; two tensors may share one and the same range."""
    ordered = sorted({(item.start, item.end): item for item in found}.items())
    for ((_, end), first), ((start, _), second) in pairwise(ordered):
        if start < end:
            cause = f"its tensors '{first.tensor}' and '{second.tensor}' overlap in '{location}'"
            raise InputError(path, cause, _SAVE_AGAIN)


def _misfit(path: Path, tensor: TensorProto, what: str) -> InputError:
    return InputError(path, f"its tensor '{tensor.name}' has {what}", _SAVE_AGAIN)
