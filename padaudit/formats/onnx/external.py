"""Tensors whose values are in other files: which ones, and that they may be there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from padaudit.formats.onnx.skeleton import is_reference

_PUT_BESIDE: Final = "put the data file beside the model"
_SAVE_AGAIN: Final = "save the model with its external data again"


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
    found: dict[str, DataFile] = {}
    extents: dict[Path, list[_Extent]] = {}
    for tensor in all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL and not is_reference(tensor):
            entries = _entries(path, tensor)
            location = _location(path, tensor, entries)
            file = (path.resolve().parent / location).resolve()
            extents.setdefault(file, []).append(_extent(path, tensor, entries, file))
            found.setdefault(location, DataFile(location, tensor.name))
    for file, ranges in extents.items():
        _refuse_overlap(path, file.name, ranges)
    return tuple(found.values())


def data_copies(path: Path, locations: Iterable[str], home: Path) -> list[tuple[Path, Path]]:
    """Return from where to where a model's data files go when it moves to another folder.

    Raises
    ------
    InputError
        If a file is missing, or one of its name is there already, or a link leads elsewhere.
    """
    copies = []
    for location in locations:
        source, target = path.parent / location, home / location
        if not source.is_file():
            cause = f"its data file '{location}' is missing"
            raise InputError(path, cause, "copy it beside the model")
        if target.exists() or not _stays_inside(home.resolve(), location):
            cause = f"'{target}' is there already, or leads out of its folder"
            raise InputError(path, cause, "choose another folder")
        copies.append((source, target))
    return copies


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
    # Not by its type: onnx's own loader looks at what is there.
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
        yield from _of_graph(graph)
    for sparse in attribute.sparse_tensors:
        yield from (sparse.values, sparse.indices)
    if attribute.HasField("sparse_tensor"):
        yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def _entries(path: Path, tensor: TensorProto) -> dict[str, str]:
    entries: dict[str, str] = {}
    for item in tensor.external_data:
        if not isinstance(item.key, str) or not isinstance(item.value, str):
            raise _misfit(path, tensor, "external data whose description is no text")
        if item.key in entries:
            raise _misfit(path, tensor, f"two entries '{item.key}' of its external data")
        entries[item.key] = item.value
    return entries


def _location(path: Path, tensor: TensorProto, entries: Mapping[str, str]) -> str:
    location = entries.get("location", "")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = (
        not location
        or any(char in location for char in "\0\\")
        or posix.is_absolute()
        or bool(windows.anchor)
        or ".." in posix.parts
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
    except (OSError, RuntimeError, ValueError):
        return False


def _extent(path: Path, tensor: TensorProto, entries: Mapping[str, str], file: Path) -> _Extent:
    """Return which bytes of its file a tensor takes; checked against the file and its type."""
    numbers = {key: entries.get(key) for key in ("offset", "length")}
    for key, text in numbers.items():
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
            raise _misfit(path, tensor, f"an external {key} of {text!r}")
    if tensor.data_type == TensorProto.STRING or any(dim < 0 for dim in tensor.dims):
        raise _misfit(path, tensor, "external data, which its type and dims can't have")
    start = int(numbers["offset"] or 0)
    needed = _bytes_needed(tensor)
    length = int(numbers["length"]) if numbers["length"] else needed
    if needed is not None and length != needed:
        raise _misfit(path, tensor, f"{length} external bytes where type and dims need {needed}")
    end = start + (length or 0)
    if file.is_file() and end > file.stat().st_size:
        raise _misfit(path, tensor, f"data that reaches over the end of '{file.name}'")
    return _Extent(tensor.name, start, end)


_DIGITS: Final = 19


def _bytes_needed(tensor: TensorProto) -> int | None:
    """Return the size of a tensor's values; None where the type has no fixed size in bytes."""
    size = item_size(tensor.data_type)
    if size is None:
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
