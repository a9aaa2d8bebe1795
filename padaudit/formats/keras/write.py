"""Writing a Keras model: the new config into a copy of the old file."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from padaudit.errors import InputError
from padaudit.formats.keras.container import CONFIG_MEMBER, KerasDocument


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
    if document.format == "keras-h5":
        _write_h5(document, document.path, target)
    else:
        _write_archive(document, document.path, target)


def _write_h5(document: KerasDocument, source: Path, target: Path) -> None:
    import h5py

    shutil.copyfile(source, target)
    text = json.dumps(document.config)
    with h5py.File(target, "r+") as file:
        was_bytes = isinstance(file.attrs["model_config"], bytes)
        file.attrs["model_config"] = text.encode() if was_bytes else text


def _write_archive(document: KerasDocument, source: Path, target: Path) -> None:
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
            header.file_size = member.file_size
            with old.open(member) as stream, new.open(header, "w") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
