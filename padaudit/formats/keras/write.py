"""Writing a Keras model: the new config into a copy of the old file."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, Final

from padaudit.errors import InputError
from padaudit.formats.keras.container import (
    CONFIG_MEMBER,
    WEIGHTS_MEMBER,
    KerasDocument,
    opened_archive,
    read_archive,
)
from padaudit.formats.keras.hdf5 import CONFIG, opened, read_h5, write_text
from padaudit.formats.keras.json_file import read_json, write_json
from padaudit.formats.keras.modern import modern_config, renamed_layers
from padaudit.formats.keras.renaming import rename_weights
from padaudit.formats.keras.weights import (
    Unmappable,
    order_changed,
    reorder_archive,
    reorder_h5,
)

_AS_ONNX: Final = "write ONNX instead (-o NAME.onnx)"


def write_keras(document: KerasDocument, target: Path) -> None:
    """Write a model in the format of the file it was read from.

    Everything but the config is taken over as it is: weights, optimizer state, training
    config, metadata, the order and compression of archive members.

    Raises
    ------
    InputError
        If the document came from memory, so that there are no weights to take over, or from
        a format that padaudit does not write.
    """
    if document.path is None:
        raise InputError("the model", "it has no file to take the weights from", "save it first")
    writer = _WRITERS.get(document.format)
    if writer is None:
        cause = f"{document.format} is a format that padaudit does not write"
        raise InputError(document.path, cause, _AS_ONNX)
    try:
        writer(document, document.path, target)
    except Unmappable as error:
        cause = f"the rewrite would change the order in which Keras restores weights, and {error}"
        raise InputError(document.path, cause, _AS_ONNX) from error


def _write_h5(document: KerasDocument, source: Path, target: Path) -> None:
    old = read_h5(source).config
    shutil.copyfile(source, target)
    with opened(target, "r+") as file:
        if document.modernized:
            mended = modern_config(old)[0]
            rename_weights(file, renamed_layers(old, mended))
            old = mended
        reorder_h5(file, old, document.config)
        write_text(file.attrs, CONFIG, json.dumps(document.config))


def _write_archive(document: KerasDocument, source: Path, target: Path) -> None:
    before = _comparable(read_archive(source).config, document)
    changed = order_changed(before, document.config)
    with opened_archive(source) as old, zipfile.ZipFile(target, "w") as new:
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


def _write_definition(document: KerasDocument, source: Path, target: Path) -> None:
    """Write JSON; weights that Keras restores by position stand elsewhere, in the old order."""
    by_position = document.format == "keras-json"
    before = _comparable(read_json(source).config, document)
    if by_position and order_changed(before, document.config):
        raise Unmappable("they are in another file (rewrite the whole model of model.save)")
    write_json(document, source, target)


def _comparable(old: dict[str, Any], document: KerasDocument) -> dict[str, Any]:
    """Return an old config with the names that its layers have in a document."""
    return modern_config(old)[0] if document.modernized else old


def _reordered(weights: bytes, old: dict[str, Any], new: dict[str, Any]) -> bytes:
    import h5py

    buffer = io.BytesIO(weights)
    with h5py.File(buffer, "r+") as file:
        reorder_archive(file, old, new)
    return buffer.getvalue()


_WRITERS: Final = {
    "keras-h5": _write_h5,
    "keras-v3": _write_archive,
    "keras-json": _write_definition,
    "tfjs-layers": _write_definition,
}
