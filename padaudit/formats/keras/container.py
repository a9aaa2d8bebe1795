"""Keras files as data: the config out of ``.h5`` and ``.keras``, nothing deserialised."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from padaudit.errors import InputError, LimitError

CONFIG_MEMBER: Final = "config.json"
WEIGHTS_MEMBER: Final = "model.weights.h5"
MAX_CONFIG_BYTES: Final = 256 * 2**20
MAX_MEMBERS: Final = 10_000
_RETRAIN: Final = "save it again from Keras with model.save(...)"
_WHOLE_MODEL: Final = "save the whole model with model.save(...) instead of save_weights(...)"


@dataclass(frozen=True, slots=True)
class KerasDocument:
    """A Keras model's definition as it stands in its file.

    Parameters
    ----------
    path : Path or None
        The file; None for a model that came from memory.
    format : str
        ``keras-h5``, ``keras-v3`` or ``keras-json``.
    config : dict
        The model config, parsed and otherwise as written.
    keras_version : str or None
        The version that wrote it.
    """

    path: Path | None
    format: str
    config: dict[str, Any]
    keras_version: str | None = None


def read_h5(path: Path) -> KerasDocument:
    """Read the definition of an HDF5 model.

    Only attributes of the root group are read: no dataset, link or virtual file is followed.

    Raises
    ------
    InputError
        If the file is damaged, or holds weights without a model.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = file.attrs
            raw = attributes.get("model_config")
            version = attributes.get("keras_version")
            weights_only = "layer_names" in attributes or "layers" in file
    except (OSError, RuntimeError, KeyError, ValueError, UnicodeDecodeError) as error:
        cause = f"the HDF5 file is truncated or damaged ({_first_line(error)})"
        raise InputError(path, cause, "copy or download it again") from error
    if raw is None:
        cause = "it holds weights without a model" if weights_only else "it is HDF5 but no model"
        raise InputError(path, cause, _WHOLE_MODEL)
    return KerasDocument(path, "keras-h5", parse_config(raw, path), _text(version))


def read_archive(path: Path) -> KerasDocument:
    """Read the definition of a ``.keras`` archive (a zip with ``config.json``).

    Raises
    ------
    InputError
        If the archive is damaged or holds no model.
    LimitError
        If it has too many members or its config is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if len(members) > MAX_MEMBERS:
                cause = f"the archive has {len(members)} members (limit {MAX_MEMBERS})"
                raise LimitError(path, cause, "check where it came from")
            if CONFIG_MEMBER not in members:
                cause = f"the zip archive holds no {CONFIG_MEMBER}, so it is no Keras model"
                raise InputError(path, cause, _RETRAIN)
            raw = _member(archive, CONFIG_MEMBER, path)
            version = _version(archive, path)
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        cause = f"the archive is truncated or damaged ({_first_line(error)})"
        raise InputError(path, cause, "copy or download it again") from error
    return KerasDocument(path, "keras-v3", parse_config(raw, path), version)


def parse_config(raw: str | bytes, path: Path | str) -> dict[str, Any]:
    """Parse a model config.

    Raises
    ------
    InputError
        If it is not JSON, or not an object.
    """
    try:
        config = json.loads(raw)
    except (ValueError, TypeError) as error:
        cause = f"its model config is not valid JSON ({_first_line(error)})"
        raise InputError(path, cause, _RETRAIN) from error
    except RecursionError as error:
        cause = "its model config is nested too deeply"
        raise LimitError(path, cause, "check where it came from") from error
    if not isinstance(config, dict):
        raise InputError(path, "its model config is not an object", _RETRAIN)
    return config


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
        cause = f"{name} is larger than {MAX_CONFIG_BYTES >> 20} MiB"
        raise LimitError(path, cause, "check where it came from")
    # A lying header can't make this read more: at most the declared size is returned.
    with archive.open(name) as member:
        return member.read(MAX_CONFIG_BYTES)


def _version(archive: zipfile.ZipFile, path: Path) -> str | None:
    if "metadata.json" not in archive.namelist():
        return None
    return _text(parse_config(_member(archive, "metadata.json", path), path).get("keras_version"))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
