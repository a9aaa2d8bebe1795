"""Which format a file has, by its content; and the document behind a path."""

from __future__ import annotations

import codecs
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from padaudit.errors import InputError, LimitError
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Shape
from padaudit.ir.graph import Graph

if TYPE_CHECKING:
    from padaudit.formats.document import Document

MODEL_SUFFIXES: Final = frozenset({".h5", ".hdf5", ".keras", ".onnx"})
"""Suffixes of files that are models; JSON and files without a suffix are looked into."""
TRANSLATED: Final = (
    "a SavedModel without Keras's definition: translated with tf2onnx and audited as ONNX"
)
"""What is to be said about a model that `is_translated`."""
_GRAPH_FILE: Final = "saved_model.pb"
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_ZIP: Final = b"PK\x03\x04"
_LFS: Final = b"version https://git-lfs"
_HEAD_BYTES: Final = 4096
_USER_BLOCKS: Final = (0, 512, 1024, 2048)
_JSON: Final = (b"{", b'"{', b'"\\"')
_IN_OBJECT: Final = (b'"', b"}", b"")
_FORMATS: Final = "padaudit reads Keras (.h5, .keras, .json, SavedModel) and ONNX (.onnx) models"


def read_document(path: Path, architecture: Path | None = None) -> Document:
    """Read a model's definition; the format is decided by content, not by suffix.

    Parameters
    ----------
    path : Path
        A file, or the folder of a SavedModel.
    architecture : Path, optional
        Where the definition is, if the file holds weights only.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, or no model; the message says what to do.
    UsageError
        If an architecture is given for a file that has its own.
    """
    if architecture is not None:
        from padaudit.formats.keras.architecture import read_with_architecture

        return read_with_architecture(path, architecture)
    if path.is_dir():
        return _read_folder(path)
    head = _head(path)
    if any(head[offset:].startswith(_HDF5) for offset in _USER_BLOCKS):
        from padaudit.formats.keras.hdf5 import read_h5

        return read_h5(path)
    if head.startswith(_ZIP):
        from padaudit.formats.keras.container import read_archive

        return read_archive(path)
    if is_json(head):
        from padaudit.formats.keras.json_file import read_json

        return read_json(path)
    return _read_onnx(path, head)


def is_json(head: bytes) -> bool:
    """Tell whether a file that begins so is JSON: an object, or one that was encoded twice.

    >>> is_json(b' {"class_name": "Model"}'), is_json(b"version https://git-lfs")
    (True, False)
    """
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return text.startswith(_JSON) and (text[:1] != b"{" or text[1:].lstrip()[:1] in _IN_OBJECT)


def is_saved_model(path: Path) -> bool:
    """Tell whether a folder is a SavedModel."""
    return (path / _GRAPH_FILE).is_file()


def is_translated(document: Document) -> bool:
    """Tell whether a document is the translation of a SavedModel."""
    return document.format == "onnx" and document.path is not None and document.path.is_dir()


def _read_folder(path: Path) -> Document:
    from padaudit.formats.keras.saved_model import read_saved_model

    if not is_saved_model(path):
        raise InputError(path, "it is a folder", "name a model file in it")
    return read_saved_model(path)


def _read_onnx(path: Path, head: bytes) -> Document:
    _refuse_text(path, head)
    from padaudit.formats.onnx.document import read_onnx

    try:
        return read_onnx(path)
    except LimitError:
        raise
    except InputError as error:
        if path.suffix == ".onnx":
            raise
        cause = "its content is neither HDF5, a Keras archive, JSON nor ONNX"
        raise InputError(path, cause, _FORMATS) from error


def build_graph(
    document: Document, input_shapes: InputShapes, observed: Mapping[str, Shape] | None = None
) -> Graph:
    """Build the graph of a document of either format.

    Parameters
    ----------
    document : Document
        The model's definition.
    input_shapes : InputShapes
        Sizes that the user fixes.
    observed : Mapping, optional
        Shapes that a run of the model showed, by tensor.
    """
    if document.format == "onnx":
        from padaudit.formats.onnx.read import read_graph as read_onnx_graph

        return read_onnx_graph(document, input_shapes, observed)  # type: ignore[arg-type]
    from padaudit.formats.keras.read import read_graph as read_keras_graph

    if input_shapes.engine == "keras" and document.path is not None:
        from padaudit.formats.keras.ask import asked_shapes

        observed = asked_shapes(document.path, input_shapes)
    return read_keras_graph(document, input_shapes, observed)  # type: ignore[arg-type]


def _head(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(path, "it is a pipe or device, not a file", "save the model to a file")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "check the path") from error
    except OSError as error:
        cause = f"it can't be read ({error.strerror or error})"
        raise InputError(path, cause, "check its permissions") from error
    if not head:
        raise InputError(path, "the file is empty", "copy or download it again")
    return head


def _refuse_text(path: Path, head: bytes) -> None:
    if head.startswith(_LFS):
        cause = "it is a git-LFS pointer, not the model itself"
        raise InputError(path, cause, "run 'git lfs pull' first")
    if path.suffix == ".onnx" and head[:1] == b"\x08":
        return
    try:
        text, _ = codecs.utf_8_decode(head, "strict", False)
    except UnicodeDecodeError:
        return
    if all(char.isprintable() or char.isspace() for char in text):
        raise InputError(path, "it is a text file, not a model", _FORMATS)
