"""HDF5 files of Keras: the definition in the root's attributes, and what is refused in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from padaudit.errors import InputError, LimitError
from padaudit.formats.keras.container import (
    CHECK_ORIGIN,
    FETCH_AGAIN,
    KerasDocument,
    first_line,
    parse_config,
    plain,
)

CONFIG: Final = "model_config"
MAX_OBJECTS: Final = 1_000_000
_CHUNK: Final = 60_000
_WHOLE_MODEL: Final = (
    "save the whole model with model.save(...), or give the definition that the weights are of "
    "with --architecture model.json (made by model.to_json())"
)
_NO_MODEL: Final = "save the whole model with model.save(...)"
_WEIGHT_GROUPS: Final = ("layers", "_layer_checkpoint_dependencies", "vars", "optimizer")


class WeightsOnlyError(InputError):
    """The file holds weights, and no model that they are of."""


def read_h5(path: Path) -> KerasDocument:
    """Read the definition of an HDF5 model.

    Only attributes of the root group are read: no dataset, link or virtual file is followed.

    Raises
    ------
    WeightsOnlyError
        If the file holds weights without a model.
    InputError
        If the file is damaged, no model, or refers to other files.
    """
    with opened(path) as file:
        raw = read_text(file.attrs, CONFIG)
        version = plain(file.attrs.get("keras_version"))
        weights_only = "layer_names" in file.attrs or any(name in file for name in _WEIGHT_GROUPS)
        weights_only = weights_only or _holds_weights(file)
    if raw is None and weights_only:
        raise WeightsOnlyError(path, "it holds weights without a model", _WHOLE_MODEL)
    if raw is None:
        raise InputError(path, "it is HDF5 but no model", _NO_MODEL)
    return KerasDocument(path, "keras-h5", parse_config(raw, path), version)


@contextmanager
def opened(path: Path, mode: str = "r") -> Iterator[Any]:
    """Open an HDF5 file all of whose content is in the file itself.

    Raises
    ------
    InputError
        If it is damaged, wherever that shows, or has parts in other files.
    """
    import h5py

    try:
        with h5py.File(path, mode) as file:
            _refuse_references(file, path)
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, UnicodeDecodeError) as error:
        cause = f"the HDF5 file is truncated or damaged ({first_line(error)})"
        raise InputError(path, cause, FETCH_AGAIN) from error


def read_text(attributes: Any, name: str) -> str | bytes | None:
    """Return a text attribute, whatever type it was written with; None if there is none.

    Long ones may be split over ``name0``, ``name1``, ...
    """
    parts = [_text(attributes[part]) for part in _parts(attributes, name)]
    if not parts:
        return None
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)  # type: ignore[arg-type]
    return b"".join(part.encode() if isinstance(part, str) else part for part in parts)


def write_text(attributes: Any, name: str, text: str) -> None:
    """Write a text attribute in the form that it has."""
    import numpy as np

    parts = _parts(attributes, name)
    old, data = attributes[parts[0]], text.encode()
    if parts != [name]:
        for part in parts:
            del attributes[part]
        for index, start in enumerate(range(0, len(data), _CHUNK)):
            attributes[f"{name}{index}"] = np.void(data[start : start + _CHUNK])
    elif isinstance(old, np.void):
        attributes[name] = np.void(data)
    elif isinstance(old, np.ndarray) and old.dtype.kind in "iu":
        attributes[name] = np.frombuffer(data, np.uint8)
    elif isinstance(old, np.ndarray):
        attributes[name] = np.array(data).reshape((1,) * old.ndim)
    else:
        # A fixed-length attribute stands in the object's header, which is small.
        fixed = isinstance(old, bytes) and len(data) <= _CHUNK
        attributes[name] = np.bytes_(data) if fixed else text


def _parts(attributes: Any, name: str) -> list[str]:
    if name in attributes:
        return [name]
    names: list[str] = []
    while f"{name}{len(names)}" in attributes:
        names.append(f"{name}{len(names)}")
    return names


def _text(value: Any) -> str | bytes:
    if isinstance(value, str | bytes):
        return value
    if not hasattr(value, "tobytes"):
        raise ValueError(f"an attribute is no text but {type(value).__name__}")
    if value.dtype.kind in "OU":
        return "".join(plain(item) or "" for item in value.ravel())
    if value.dtype.kind == "S":
        return b"".join(value.ravel())
    return bytes(value.tobytes()).rstrip(b"\0")


def _holds_weights(file: Any) -> bool:
    """Tell whether some group lists its weights, as Keras 1 and 2 write them."""
    groups = (file[name] for name in list(file)[:16])
    return any("weight_names" in group.attrs for group in groups)


def _refuse_references(file: Any, path: Path) -> None:
    """Refuse links out of their place and data in other files: none of them is ever read."""
    import h5py

    kinds: Mapping[int, str] = {h5py.h5l.TYPE_SOFT: "a soft", h5py.h5l.TYPE_EXTERNAL: "an external"}
    count = 0

    def link(name: bytes, info: Any) -> str | None:
        nonlocal count
        count += 1
        if count > MAX_OBJECTS:
            return f"it has more than {MAX_OBJECTS} objects"
        if info.type == h5py.h5l.TYPE_HARD:
            return None
        kind = kinds.get(info.type, "a user-defined")
        return f"'{name.decode('utf-8', 'replace')}' is {kind} link"

    def item(name: bytes, info: Any) -> str | None:
        return _elsewhere(file, name) if info.type == h5py.h5o.TYPE_DATASET else None

    reason = file.id.links.visit(link, info=True) or h5py.h5o.visit(file.id, item, info=True)
    if reason is not None:
        raise LimitError(path, f"{reason}, which padaudit does not follow", CHECK_ORIGIN)


def _elsewhere(file: Any, name: bytes) -> str | None:
    import h5py

    creation = h5py.h5d.open(file.id, name).get_create_plist()
    shown = f"the data of '{name.decode('utf-8', 'replace')}'"
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        return f"{shown} is virtual: it stands in other files"
    return f"{shown} stands in another file" if creation.get_external_count() else None
