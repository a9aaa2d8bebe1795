"""Writing an ONNX model: new bytes, and ranges copied from the file it was read from."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from padaudit.errors import InputError
from padaudit.formats.onnx.document import OnnxDocument
from padaudit.formats.onnx.protos import ModelProto
from padaudit.formats.onnx.splice import Content, Span

_CHUNK_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class RewrittenOnnx:
    """An ONNX model with edits: its content, mostly ranges of the original.

    Parameters
    ----------
    original : OnnxDocument
        What was edited.
    content : tuple of (bytes or Span)
        The serialised new model.
    """

    original: OnnxDocument
    content: Content
    format: str = "onnx"

    @property
    def path(self) -> Path | None:
        """The original's file."""
        return self.original.path

    @property
    def model(self) -> ModelProto:
        """The whole new model, weights included (external ones are referenced)."""
        model: ModelProto = ModelProto.FromString(self.serialized())
        return model

    def serialized(self) -> bytes:
        """Return the whole new model as bytes."""
        source = self.original.buffer()
        return b"".join(
            source[piece.start : piece.end] if isinstance(piece, Span) else piece
            for piece in self.content
        )


def write_onnx(document: OnnxDocument | RewrittenOnnx, target: Path) -> None:
    """Write a model; what did not change is copied from file to file.

    Raises
    ------
    InputError
        If the original changed on disk since it was read.
    """
    rewritten = document if isinstance(document, RewrittenOnnx) else _unchanged(document)
    original = rewritten.original
    if original.path is None or not isinstance(original.source, mmap.mmap):
        target.write_bytes(rewritten.serialized())
        return
    size = len(original.source)
    with original.path.open("rb") as source, target.open("wb") as file:
        if os.fstat(source.fileno()).st_size != size:
            cause = "it changed while it was read"
            raise InputError(original.path, cause, "run padaudit again")
        for piece in rewritten.content:
            if isinstance(piece, Span):
                _copy(source, file, piece)
            else:
                file.write(piece)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, inside the kernel where the system can."""
    with source.open("rb") as old, target.open("wb") as new:
        _copy(old, new, Span(0, os.fstat(old.fileno()).st_size))


def data_files(document: OnnxDocument | RewrittenOnnx) -> Iterator[str]:
    """Yield the locations of a model's external data, relative to its folder."""
    original = document.original if isinstance(document, RewrittenOnnx) else document
    for file in original.data_files:
        yield file.location


def _unchanged(document: OnnxDocument) -> RewrittenOnnx:
    return RewrittenOnnx(document, (Span(0, len(document.buffer())),))


def _copy(source: BinaryIO, target: BinaryIO, span: Span) -> None:
    """Copy a range between files, inside the kernel where the system can."""
    if span.end - span.start < _CHUNK_BYTES or not hasattr(os, "copy_file_range"):
        _copy_chunks(source, target, span.start, span.end)
        return
    target.flush()
    at = span.start
    try:
        while at < span.end:
            count = os.copy_file_range(
                source.fileno(), target.fileno(), span.end - at, offset_src=at
            )
            if count == 0:
                break
            at += count
    except OSError:  # not between these file systems
        pass
    target.seek(0, os.SEEK_END)
    _copy_chunks(source, target, at, span.end)


def _copy_chunks(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    while start < end:
        chunk = source.read(min(_CHUNK_BYTES, end - start))
        if not chunk:
            raise OSError("the model's file ended early")
        target.write(chunk)
        start += len(chunk)
