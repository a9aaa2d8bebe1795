"""SavedModel folders: the Keras metadata in them, read as data, or a translation to ONNX.

Sources: ``tensorflow/python/keras/protobuf/saved_metadata.proto`` (``keras_metadata.pb``,
TensorFlow 2.5 and newer), ``tensorflow/core/protobuf/saved_object_graph.proto`` (older ones
keep the metadata in ``saved_model.pb``).
"""

from __future__ import annotations

import importlib.util
import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from padaudit.errors import InputError, MissingDependencyError
from padaudit.formats.keras.container import FETCH_AGAIN, KerasDocument, decoded, is_model, plain
from padaudit.formats.keras.dialect import plain_value
from padaudit.formats.onnx.wire import LENGTH, Buffer, WireError, records
from padaudit.scratch import scratch_folder

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument

GRAPH_FILE: Final = "saved_model.pb"
METADATA_FILE: Final = "keras_metadata.pb"
RESULT_FILE: Final = "model.onnx"
TASK_FILE: Final = "saved-model.json"
ERROR_FILE: Final = "error.txt"
TIMEOUT: Final = 600.0

_NODES: Final = 1
_METADATA: Final = 5
_META_GRAPHS, _OBJECT_GRAPH, _USER_OBJECT, _USER_METADATA = 2, 7, 4, 3

Span = tuple[int, int]


def read_saved_model(path: Path, *, translate: bool = False) -> KerasDocument | OnnxDocument:
    """Read the definition of a SavedModel.

    Parameters
    ----------
    path : Path
        The folder.
    translate : bool
        Whether it is wanted as ONNX even if it has Keras's definition.

    Raises
    ------
    InputError
        If its metadata is damaged, or it has none and can't be translated.
    MissingDependencyError
        If it has none, and the packages that translate it are missing.
    """
    config = None if translate else keras_definition(path)
    if config is None:
        return translated(path)
    version = plain(config.get("keras_version"))
    return KerasDocument(path, "keras-saved-model", config, version)


def keras_definition(path: Path) -> dict[str, Any] | None:
    """Return the config of a SavedModel's root model; None if it has none with layers.

    Raises
    ------
    InputError
        If a file of it is damaged.
    """
    for name, texts in ((METADATA_FILE, _new_metadata), (GRAPH_FILE, _old_metadata)):
        file = path / name
        if not file.is_file() or not file.stat().st_size:
            continue
        try:
            with file.open("rb") as stream:
                buffer = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
                metadata = [decoded(text, path) for text in texts(buffer)]
        except (WireError, IndexError) as error:
            cause = f"its {name} is truncated or damaged ({error})"
            raise InputError(path, cause, FETCH_AGAIN) from error
        config = _definition(metadata)
        if config is not None:
            return config
    return None


def translated(path: Path) -> OnnxDocument:
    """Translate a SavedModel to ONNX with tf2onnx, in a process of its own.

    Raises
    ------
    InputError
        If tf2onnx can't translate it.
    MissingDependencyError
        If TensorFlow or tf2onnx is not installed.
    """
    from padaudit.formats.onnx.document import OnnxDocument
    from padaudit.formats.onnx.protos import ModelProto
    from padaudit.subprocesses import run_module

    for package in ("tensorflow", "tf2onnx"):
        if importlib.util.find_spec(package) is None:
            purpose = f"{path} is a SavedModel without Keras's definition; auditing it"
            raise MissingDependencyError(package, purpose, "keras")
    with scratch_folder() as folder:
        (folder / TASK_FILE).write_text(json.dumps({"model": str(path.resolve())}))
        ending = run_module("padaudit.formats.keras.saved_model_worker", folder, TIMEOUT)
        result, failure = folder / RESULT_FILE, folder / ERROR_FILE
        if not result.is_file():
            reason = failure.read_text() if failure.is_file() else f"the process {ending}"
            cause = f"tf2onnx can't translate the SavedModel: {reason}"
            raise InputError(path, cause, "export it to ONNX where it loads, and audit that")
        data = result.read_bytes()
    return OnnxDocument(path, ModelProto.FromString(data), data)


def _definition(metadata: list[Any]) -> dict[str, Any] | None:
    """Return the record of the root model, which comes first, if it has layers."""
    objects = [item for item in metadata if isinstance(item, Mapping)]
    if not objects:
        return None
    shapes = {str(item.get("name")): item.get("build_input_shape") for item in objects}
    version = {"keras_version": objects[0].get("keras_version")}
    for record in (objects[0].get("model_config"), objects[0]):
        if is_model(record) and isinstance(record, Mapping):
            config = _with_shapes(record["config"], shapes)
            return {"class_name": record["class_name"], "config": config, **version}
    return None


def _with_shapes(config: Any, shapes: Mapping[str, Any]) -> Any:
    """Return a model's config whose layers say what shapes they were built for."""
    if not isinstance(config, Mapping):
        return config
    layers = []
    for layer in config["layers"]:
        shape = shapes.get(str(layer.get("name") or layer["config"].get("name")))
        build = {"build_config": {"input_shape": plain_value(shape)}} if shape else {}
        inner = {"config": _with_shapes(layer["config"], shapes)} if is_model(layer) else {}
        layers.append({**layer, **inner, **build})
    return {**config, "layers": layers}


def _new_metadata(buffer: Buffer) -> Iterator[bytes]:
    for node in _fields(buffer, (0, len(buffer)), _NODES):
        yield from (buffer[start:end] for start, end in _fields(buffer, node, _METADATA))


def _old_metadata(buffer: Buffer) -> Iterator[bytes]:
    spans = [(0, len(buffer))]
    for number in (_META_GRAPHS, _OBJECT_GRAPH, _NODES, _USER_OBJECT, _USER_METADATA):
        spans = [inner for span in spans for inner in _fields(buffer, span, number)]
    yield from (buffer[start:end] for start, end in spans)


def _fields(buffer: Buffer, span: Span, number: int) -> Iterator[Span]:
    for record in records(buffer, *span):
        if record.number == number and record.kind == LENGTH:
            yield record.payload, record.end
