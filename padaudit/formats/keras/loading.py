"""Loading a file in Keras itself, whatever its format and name (in the worker process only)."""

from __future__ import annotations

import json
import tempfile
import zlib
from pathlib import Path
from typing import Any, Final

from padaudit.formats.detect import is_json
from padaudit.formats.keras.json_file import read_json

_ZIP: Final = b"PK"
_HDF5_SUFFIXES: Final = frozenset({".h5", ".hdf5"})
_HEAD_BYTES: Final = 64
_SPREAD: Final = 0.5


def load_model(path: Path) -> Any:
    """Return the model of a file, loaded in Keras's safe mode.

    A definition without weights gets made-up ones, which depend on the variables' names only.

    It uses the working directory, which is the worker's own and goes with it.

    Raises
    ------
    Exception
        Whatever Keras raises if it can't load the file.
    """
    import keras

    suffix = _suffix(path)
    if suffix == ".json":
        model = keras.models.model_from_json(json.dumps(read_json(path).config))
        _fill(model)
        return model
    # Keras goes by suffixes, and not every model has the right one.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        named = path
        if path.suffix != suffix:
            named = Path(folder) / f"model{suffix}"
            named.symlink_to(path.resolve())
        return keras.models.load_model(named, compile=False, safe_mode=True)


def _suffix(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if is_json(head):
        return ".json"
    if head.startswith(_ZIP):
        return ".keras"
    return path.suffix if path.suffix in _HDF5_SUFFIXES else ".h5"


def _fill(model: Any) -> None:
    import numpy as np

    for variable in model.weights:
        random = np.random.default_rng(zlib.crc32(variable.path.encode()))
        values = random.uniform(-_SPREAD, _SPREAD, variable.shape)
        positive = "variance" in variable.name
        variable.assign((abs(values) + _SPREAD if positive else values).astype(variable.dtype))
