"""The process that runs Keras: ``python -m padaudit.formats.keras.worker FOLDER``.

It loads models in Keras's safe mode, runs them, and translates them to ONNX with tf2onnx.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from padaudit.formats.keras.loading import load_model
from padaudit.verification.worker import load_arrays, save_arrays, write_record

TASK_FILE: Final = "tasks.json"
_LONGEST: Final = 240


class Task(msgspec.Struct, frozen=True):
    """What to do with one model.

    Parameters
    ----------
    model : str
        The Keras file.
    onnx : str or None
        Where to write its translation.
    predict : bool
        Whether to run it on the feeds.
    """

    model: str
    onnx: str | None
    predict: bool


class TaskFile(msgspec.Struct, frozen=True):
    """All tasks; ``feeds`` are files of arrays in the order of the inputs."""

    tasks: list[Task]
    feeds: list[str]
    opset: int
    input_shapes: list[list[int | None]] | None


class TaskResult(msgspec.Struct, frozen=True):
    """What became of a task; an error is one clause."""

    runtime: str = ""
    load_error: str | None = None
    onnx_error: str | None = None
    predict_error: str | None = None


def result_file(folder: Path, task: int) -> Path:
    """Return where the result of a task is."""
    return folder / f"task-{task}.json"


def outputs_file(folder: Path, task: int, feed: int) -> Path:
    """Return where the outputs of a task on one feed are."""
    return folder / f"task-{task}-outputs-{feed}.npz"


def main(folder: Path) -> None:
    """Carry out the tasks of a folder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    file = msgspec.json.decode((folder / TASK_FILE).read_bytes(), type=TaskFile)
    for index, task in enumerate(file.tasks):
        write_record(result_file(folder, index), _carry_out(folder, index, task, file))


def _carry_out(folder: Path, index: int, task: Task, file: TaskFile) -> TaskResult:
    import keras
    import tensorflow

    import padaudit.keras  # noqa: F401 (Keras knows a layer when its module is imported)

    runtime = f"Keras {keras.__version__}, TensorFlow {tensorflow.__version__} CPU"
    try:
        model = load_model(Path(task.model))
    except Exception as error:
        # Whatever Keras raises here says that it can't load the file.
        return TaskResult(runtime, load_error=_one_line(error))
    predicted = _attempt(_predict, model, folder, index, file) if task.predict else None
    translated = _attempt(_translate, model, task.onnx, file) if task.onnx else None
    return TaskResult(runtime, onnx_error=translated, predict_error=predicted)


def _attempt(action: Any, *arguments: Any) -> str | None:
    try:
        action(*arguments)
    except Exception as error:
        return _one_line(error)
    return None


def _predict(model: Any, folder: Path, index: int, file: TaskFile) -> None:
    import numpy
    from keras import tree

    for number, feed in enumerate(file.feeds):
        arrays = list(load_arrays(folder / feed))
        named = getattr(model, "_inputs_struct", None)
        structure = named if isinstance(named, dict) else arrays
        given = tree.pack_sequence_as(structure, arrays)
        outputs = model(given if len(arrays) > 1 else arrays[0], training=False)
        values = [numpy.asarray(value) for value in tree.flatten(outputs)]
        save_arrays(outputs_file(folder, index, number), values)


def _translate(model: Any, target: str, file: TaskFile) -> None:
    import keras
    import tensorflow
    import tf2onnx

    if isinstance(model, keras.Sequential):
        # tf2onnx asks for the outputs by names that a Sequential of Keras 3 does not have.
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    signature = None
    if file.input_shapes is not None:
        signature = [
            tensorflow.TensorSpec(shape, tensor.dtype, name=tensor.name)
            for shape, tensor in zip(file.input_shapes, model.inputs, strict=True)
        ]
    proto, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=file.opset)
    Path(target).write_bytes(proto.SerializeToString(deterministic=True))


def _one_line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


if __name__ == "__main__":
    main(Path(sys.argv[1]))
