"""Which files of a folder are models: by suffix, and where that does not tell, by content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from padaudit.errors import InputError
from padaudit.formats.detect import MODEL_SUFFIXES, is_saved_model

_HDF5: Final = b"\x89HDF\r\n\x1a\n"


def model_files(folder: Path) -> Iterator[Path]:
    """Yield the models in a folder and its subfolders, sorted; a SavedModel is its folder."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        if is_saved_model(here):
            folders.clear()
            yield here
            continue
        folders.sort()
        yield from (here / name for name in sorted(names) if _is_model(here / name))


def _is_model(path: Path) -> bool:
    if not path.is_file():
        return False
    suffix = path.suffix.lower()
    if suffix in MODEL_SUFFIXES:
        return True
    if suffix == ".json":
        from padaudit.formats.keras.json_file import holds_model

        return holds_model(path)
    return not suffix and _is_keras_hdf5(path)


def _is_keras_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.read(len(_HDF5)) != _HDF5:
                return False
        from padaudit.formats.keras.hdf5 import read_h5

        read_h5(path)
    except (InputError, OSError):
        return False
    return True
