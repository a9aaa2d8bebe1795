"""The definition of a Keras model, and the ``.keras`` archive that holds one."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from padaudit.errors import InputError, LimitError

CONFIG_MEMBER: Final = "config.json"
WEIGHTS_MEMBER: Final = "model.weights.h5"
MAX_CONFIG_BYTES: Final = 256 * 2**20
MAX_MEMBERS: Final = 10_000
MAX_RATIO: Final = 200
_SMALL_BYTES: Final = 64 * 2**20
SAVE_AGAIN: Final = "save it again from Keras with model.save(...)"
FETCH_AGAIN: Final = "copy or download it again"
CHECK_ORIGIN: Final = "check where it came from"


@dataclass(frozen=True, slots=True)
class KerasDocument:
    """A Keras model's definition as it stands in its file.

    Parameters
    ----------
    path : Path or None
        The file; None for a model that came from memory.
    format : str
        ``keras-h5``, ``keras-v3``, ``keras-json``, ``tfjs-layers`` or ``keras-saved-model``.
    config : dict
        The model config, parsed and otherwise as written.
    keras_version : str or None
        The version that wrote it.
    modernized : bool
        Whether it was mended for Keras 3; its file has the names of layers from before.
    """

    path: Path | None
    format: str
    config: dict[str, Any]
    keras_version: str | None = None
    modernized: bool = False


def read_archive(path: Path) -> KerasDocument:
    """Read the definition of a ``.keras`` archive (a zip with ``config.json``).

    Raises
    ------
    InputError
        If the archive is damaged or holds no model.
    LimitError
        If it has too many members, unpacks to far more than it is, or its config is too large.
    """
    with opened_archive(path) as archive:
        if CONFIG_MEMBER not in archive.namelist():
            cause = f"the zip archive holds no {CONFIG_MEMBER}, so it is no Keras model"
            raise InputError(path, cause, SAVE_AGAIN)
        raw = _member(archive, CONFIG_MEMBER, path)
        version = _version(archive, path)
    return KerasDocument(path, "keras-v3", parse_config(raw, path), version)


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose members are within limits.

    Raises
    ------
    InputError
        If the archive is damaged, wherever that shows.
    LimitError
        If it has too many members, or they are far larger than the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bombs(archive, path)
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        cause = f"the archive is truncated or damaged ({first_line(error)})"
        raise InputError(path, cause, FETCH_AGAIN) from error


def _refuse_bombs(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        cause = f"the archive has {len(members)} members (limit {MAX_MEMBERS})"
        raise LimitError(path, cause, CHECK_ORIGIN)
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(_SMALL_BYTES, MAX_RATIO * path.stat().st_size):
        cause = f"its members unpack to {unpacked >> 20} MiB, over {MAX_RATIO} times its size"
        raise LimitError(path, cause, CHECK_ORIGIN)


def parse_config(raw: str | bytes, path: Path | str) -> dict[str, Any]:
    """Parse a model config; a config that was encoded twice is decoded twice.

    Raises
    ------
    InputError
        If it is not JSON, or not an object.
    """
    config = decoded(raw, path)
    if not isinstance(config, dict):
        raise InputError(path, "its model config is not an object", SAVE_AGAIN)
    return config


def decoded(raw: str | bytes, path: Path | str) -> Any:
    """Decode JSON as long as it is text that was encoded again.

    Raises
    ------
    InputError
        If it is not JSON.
    LimitError
        If it is larger than `MAX_CONFIG_BYTES` or nested too deeply.
    """
    if len(raw) > MAX_CONFIG_BYTES:
        cause = f"its model config is larger than {MAX_CONFIG_BYTES >> 20} MiB"
        raise LimitError(path, cause, CHECK_ORIGIN)
    try:
        value = json.loads(raw)
        while isinstance(value, str):
            value = json.loads(value)
    except (ValueError, TypeError) as error:
        cause = f"its model config is not valid JSON ({first_line(error)})"
        raise InputError(path, cause, SAVE_AGAIN) from error
    except RecursionError as error:
        cause = "its model config is nested too deeply"
        raise LimitError(path, cause, CHECK_ORIGIN) from error
    return value


def plain(value: Any) -> str | None:
    """Return a value of a file as text; None if there is none."""
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_model(record: Any) -> bool:
    """Tell whether a record is that of a Sequential or functional model."""
    if not isinstance(record, Mapping) or not isinstance(record.get("class_name"), str):
        return False
    config = record.get("config")
    if isinstance(config, Mapping):
        config = config.get("layers")
    return isinstance(config, list) and all(
        isinstance(item, Mapping) and "class_name" in item for item in config
    )


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
        cause = f"{name} is larger than {MAX_CONFIG_BYTES >> 20} MiB"
        raise LimitError(path, cause, CHECK_ORIGIN)
    # A lying header can't make this read more: at most the declared size is returned.
    with archive.open(name) as member:
        return member.read(MAX_CONFIG_BYTES)


def _version(archive: zipfile.ZipFile, path: Path) -> str | None:
    if "metadata.json" not in archive.namelist():
        return None
    return plain(parse_config(_member(archive, "metadata.json", path), path).get("keras_version"))
