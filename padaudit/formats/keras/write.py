"""Writing a Keras model: the new config into a copy of the old file."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from padaudit.errors import InputError
from padaudit.formats.keras.container import (
    CONFIG_MEMBER,
    WEIGHTS_MEMBER,
    KerasDocument,
    read_archive,
    read_h5,
)
from padaudit.formats.keras.weights import (
    Unmappable,
    order_changed,
    reorder_archive,
    reorder_h5,
)


def write_keras(document: KerasDocument, target: Path) -> None:
    """Write a model in the format of the file it was read from.

    Everything but the config is taken over as it is: weights, optimizer state, training
    config, metadata, the order and compression of archive members.

    Raises
    ------
    InputError
        If the document came from memory, so that there are no weights to take over.
    """
    if document.path is None:
        raise InputError("the model", "it has no file to take the weights from", "save it first")
    try:
        if document.format == "keras-h5":
            _write_h5(document, document.path, target)
        else:
            _write_archive(document, document.path, target)
    except Unmappable as error:
        cause = f"the rewrite would change the order in which Keras restores weights, and {error}"
        raise InputError(document.path, cause, "write ONNX instead (-o NAME.onnx)") from error


def _write_h5(document: KerasDocument, source: Path, target: Path) -> None:
    import h5py

    old = read_h5(source).config
    shutil.copyfile(source, target)
    text = json.dumps(document.config)
    with h5py.File(target, "r+") as file:
        reorder_h5(file, old, document.config)
        was_bytes = isinstance(file.attrs["model_config"], bytes)
        file.attrs["model_config"] = text.encode() if was_bytes else text


def _write_archive(document: KerasDocument, source: Path, target: Path) -> None:
    before = read_archive(source).config
    changed = order_changed(before, document.config)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        new.comment = old.comment
        for member in old.infolist():
            # zipfile writes large sizes into the copy of the header that it is given.
            header = zipfile.ZipInfo(member.filename, member.date_time)
            header.compress_type = member.compress_type
            header.external_attr = member.external_attr
            if member.filename == CONFIG_MEMBER:
                new.writestr(header, json.dumps(document.config))
                continue
            if member.filename == WEIGHTS_MEMBER and changed:
                data = _reordered(old.read(member), before, document.config)
                new.writestr(header, data)
                continue
            header.file_size = member.file_size
            with old.open(member) as stream, new.open(header, "w") as out:
                shutil.copyfileobj(stream, out, 1 << 20)


def _reordered(weights: bytes, old: dict[str, Any], new: dict[str, Any]) -> bytes:
    import h5py

    buffer = io.BytesIO(weights)
    with h5py.File(buffer, "r+") as file:
        reorder_archive(file, old, new)
    return buffer.getvalue()
