"""Weights and all else that stands in two Keras files, compared by SHA-256."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from padaudit.formats.keras.config import ModelSpec, parse_model
from padaudit.formats.keras.container import (
    CONFIG_MEMBER,
    WEIGHTS_MEMBER,
    KerasDocument,
    opened_archive,
)
from padaudit.formats.keras.hdf5 import CONFIG, opened
from padaudit.formats.keras.lists import text
from padaudit.formats.keras.weights import group_names, order_changed

Digests = Mapping[str, str]
_ROOTS: Final = ("layers", "_layer_checkpoint_dependencies")
_PART_BYTES: Final = 1 << 20
_ORDERS: Final = ("layer_names", "weight_names")


def stray_weight(before: KerasDocument, after: KerasDocument) -> str | None:
    """Return what of a written file's contents is not that of the original, one clause; or None.

    Parameters
    ----------
    before, after : KerasDocument
        The original, and the written file. Formats whose weights stand elsewhere have none.
    """
    if before.path is None or after.path is None:
        return None
    if before.format == "keras-h5":
        return _in_h5(before, after, before.path, after.path)
    if before.format == "keras-v3":
        return _in_archive(before, after, before.path, after.path)
    return None


def _in_h5(before: KerasDocument, after: KerasDocument, source: Path, target: Path) -> str | None:
    with opened(source) as old, opened(target) as new:
        digests = [dict(_digests(file)) for file in (old, new)]
        lists = [dict(_attributes(file)) for file in (old, new)]
    if before.modernized:
        return _as_a_whole(*digests)
    moved = order_changed(before.config, after.config)
    found = _first(*digests)
    if found is None:
        if moved:
            lists = [{key: sorted(item) for key, item in each.items()} for each in lists]
        found = _first(*lists)
    return None if found is None else f"what the file holds at '{found}' is not as it was"


def _in_archive(
    before: KerasDocument, after: KerasDocument, source: Path, target: Path
) -> str | None:
    with opened_archive(source) as old, opened_archive(target) as new:
        members = [_members(archive) for archive in (old, new)]
        found = _first(*members)
        if found is None:
            return None
        if found != WEIGHTS_MEMBER or not order_changed(before.config, after.config):
            return f"the file's '{found}' is not as it was"
        stored = [_by_layer(*pair) for pair in ((old, before), (new, after))]
    moved = _first(stored[0][0], stored[1][0])
    if moved is not None:
        return f"the weights of '{moved}' are not as they were"
    return _as_a_whole(stored[0][1], stored[1][1])


def _members(archive: zipfile.ZipFile) -> Digests:
    """Return digests of the members but the definition, the weights last."""
    names = [name for name in archive.namelist() if name not in (CONFIG_MEMBER, WEIGHTS_MEMBER)]
    if WEIGHTS_MEMBER in archive.namelist():
        names.append(WEIGHTS_MEMBER)
    found = {}
    for name in names:
        with archive.open(name) as stream:
            digest = hashlib.sha256()
            while part := stream.read(_PART_BYTES):
                digest.update(part)
            found[name] = digest.hexdigest()
    return found


def _by_layer(archive: zipfile.ZipFile, document: KerasDocument) -> tuple[Digests, Digests]:
    """Return digests of variables by the layer that they belong to, and of all."""
    import h5py

    with h5py.File(io.BytesIO(archive.read(WEIGHTS_MEMBER)), "r") as file:
        root = next((name for name in _ROOTS if name in file), None)
        spec = parse_model(document.config)
        return dict(_owned(file[root], spec)) if root else {}, dict(_digests(file))


def _owned(group: Any, spec: ModelSpec, outer: str = "") -> Iterator[tuple[str, str]]:
    keys = group_names(spec)
    for layer in spec.layers:
        key = keys.get(layer.name, "")
        if not key or key not in group:
            continue
        name = f"{outer}{layer.name}"
        if layer.model and "layers" in group[key]:
            yield from _owned(group[key]["layers"], parse_model(layer.model), f"{name}/")
            continue
        for variable, digest in _digests(group[key]):
            yield f"{name}/{variable}", digest


def _digests(group: Any) -> Iterator[tuple[str, str]]:
    """Yield the path of every dataset in a group, and a digest of its type, shape and values."""
    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)))
    for name, item in found:
        if not hasattr(item, "shape"):
            continue  # a group
        values = np.asarray(item[()])
        content = repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes()
        head = f"{item.dtype} {item.shape} ".encode()
        yield name, hashlib.sha256(head + content).hexdigest()


def _attributes(file: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield what is noted at the file and its groups, but the definition."""
    groups: list[tuple[str, Any]] = [("", file)]
    file.visititems(lambda name, item: groups.append((name, item)))
    for name, item in groups:
        for key, value in item.attrs.items():
            if name or key != CONFIG:
                many = hasattr(value, "__len__") and key.rstrip("0123456789") in _ORDERS
                yield f"{name}@{key}", [text(part) for part in value] if many else [_whole(value)]


def _whole(value: Any) -> str:
    """Return a value as text; NumPy shortens that of long arrays."""
    return repr(value.tolist() if hasattr(value, "tolist") else value)


def _as_a_whole(before: Digests, after: Digests) -> str | None:
    same = Counter(before.values()) == Counter(after.values())
    return None if same else "the stored values are not those of the original"


def _first(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Return the first key that only one of two mappings has, or whose values differ."""
    keys = dict.fromkeys((*before, *after))
    return next((key for key in keys if before.get(key) != after.get(key)), None)
