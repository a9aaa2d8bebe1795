"""Definitions in JSON: ``model.to_json()`` of every Keras, and TensorFlow.js layers models."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from padaudit.errors import InputError, LimitError
from padaudit.formats.keras.container import (
    CHECK_ORIGIN,
    MAX_CONFIG_BYTES,
    KerasDocument,
    decoded,
    is_model,
    plain,
)

Steps = tuple[str, ...]
"""Keys that lead to a model's record; texts on the way are JSON themselves."""

HEAD_BYTES: Final = 4096
_TOPOLOGY: Final = "modelTopology"
_HOLDERS: Final = (_TOPOLOGY, "model_config")
_SIGNS: Final = re.compile(rb'\\*"(class_name|modelTopology|model_config)\\*"')
_NOT_A_MODEL: Final = "padaudit reads the JSON of model.to_json() and TensorFlow.js model.json"


def read_json(path: Path) -> KerasDocument:
    """Read the definition in a JSON file.

    Raises
    ------
    InputError
        If it is no JSON, no Keras model, or a TensorFlow.js graph model.
    LimitError
        If it is too large or nested too deeply.
    """
    content = decoded(_text(path), path)
    _refuse_graph_model(content, path)
    steps = locate(content)
    if steps is None:
        raise InputError(path, "it is JSON, but no Keras model", _NOT_A_MODEL)
    kind = "tfjs-layers" if _TOPOLOGY in steps else "keras-json"
    config = at(content, steps)
    return KerasDocument(path, kind, config, plain(_version(content, steps)))


def write_json(document: KerasDocument, source: Path, target: Path) -> None:
    """Write a model's definition into a copy of the JSON file that it was read from.

    The rest of the file stays as it is, and so do its indentation and separators.
    """
    text = _text(source)
    content = json.loads(text)
    steps = locate(content)
    new = replaced(content, steps or (), document.config)
    target.write_text(json.dumps(new, **_style(text)), encoding="utf-8")


def holds_model(path: Path) -> bool:
    """Tell whether a JSON file is a Keras model; most others are told from their beginning."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not _SIGNS.search(head):
            return False
        content = decoded(_text(path), path)
    except (InputError, OSError):
        return False
    steps = locate(content)
    return steps is not None and is_model(at(content, steps))


def locate(content: Any) -> Steps | None:
    """Return where the record of a model stands in a decoded JSON file; None if nowhere.

    >>> locate({"modelTopology": {"model_config": {"class_name": "Model", "config": {}}}})
    ('modelTopology', 'model_config')
    """
    content = at(content, ())
    if not isinstance(content, Mapping):
        return None
    if isinstance(content.get("class_name"), str) and "config" in content:
        return ()
    for key in _HOLDERS:
        inner = locate(content[key]) if key in content else None
        if inner is not None:
            return (key, *inner)
    return None


def at(content: Any, steps: Steps) -> Any:
    """Return what stands at the end of some steps; texts are decoded on the way."""
    for step in (None, *steps):
        content = content if step is None else content[step]
        while isinstance(content, str):
            try:
                content = json.loads(content)
            except ValueError:
                return None
    return content


def replaced(content: Any, steps: Steps, new: Any) -> Any:
    """Return content with another value at the end of some steps, encoded as the old one was."""
    if isinstance(content, str):
        return json.dumps(replaced(json.loads(content), steps, new))
    if not steps:
        return new
    return {**content, steps[0]: replaced(content[steps[0]], steps[1:], new)}


def weight_files(path: Path) -> tuple[str, ...]:
    """Return the files with a TensorFlow.js model's weights, relative to its folder.

    Raises
    ------
    InputError
        If one of them is outside the folder.
    """
    manifest = at(decoded(_text(path), path), ()).get("weightsManifest")
    groups = manifest if isinstance(manifest, list) else []
    names = [name for group in groups for name in (group.get("paths") or [])]
    for name in names:
        parts = PurePosixPath(str(name)).parts
        if ".." in parts or PurePosixPath(str(name)).is_absolute() or "\\" in str(name):
            cause = f"its weights are said to be in '{name}', outside the model's folder"
            raise InputError(path, cause, CHECK_ORIGIN)
    return tuple(dict.fromkeys(map(str, names)))


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        cause = f"the file is larger than {MAX_CONFIG_BYTES >> 20} MiB"
        raise LimitError(path, cause, CHECK_ORIGIN)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, "it is no text in UTF-8", _NOT_A_MODEL) from error


def _refuse_graph_model(content: Any, path: Path) -> None:
    if not isinstance(content, Mapping):
        return
    topology = content.get(_TOPOLOGY)
    graph = isinstance(topology, Mapping) and "node" in topology
    if graph or content.get("format") == "graph-model":
        cause = "it is a TensorFlow.js graph model, which has operations but no layers"
        advice = "audit the model that it was converted from (Keras, SavedModel or ONNX)"
        raise InputError(path, cause, advice)


def _version(content: Any, steps: Steps) -> Any:
    """Return the innermost ``keras_version`` on the way to the model."""
    for end in range(len(steps), -1, -1):
        holder = at(content, steps[:end])
        if isinstance(holder, Mapping) and holder.get("keras_version"):
            return holder["keras_version"]
    return None


def _style(text: str) -> dict[str, Any]:
    """Return how a JSON text is laid out, as arguments of `json.dumps`."""
    indent = re.match(r'\s*[{\[]\r?\n( +|\t+)"', text)
    compact = re.search(r'"\s*:\S', text) is not None
    style: dict[str, Any] = {"ensure_ascii": text.isascii()}
    if indent:
        return style | {"indent": indent[1] if "\t" in indent[1] else len(indent[1])}
    return style | ({"separators": (",", ":")} if compact else {})
