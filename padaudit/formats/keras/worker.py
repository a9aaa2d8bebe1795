"""The process that runs Keras (see `padaudit.child`).

It loads models in Keras's safe mode, runs them, and translates them to ONNX.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from padaudit.formats.keras.calling import one_line
from padaudit.formats.keras.loading import load_model
from padaudit.formats.keras.translation.marks import Layout, Marks
from padaudit.verification.worker import load_arrays, save_arrays, write_record

TASK_FILE: Final = "tasks.json"
DIED: Final = "died"
"""The error of a run that has begun and not ended: the process may die of it."""


class Task(msgspec.Struct, frozen=True):
    """What to do with one model.

    Parameters
    ----------
    model : str
        The Keras file.
    marked : str or None
        Where to write its translation with marks (see `padaudit.formats.keras.translation.export`).
    predict : bool
        Whether to run it on the feeds.
    """

    model: str
    marked: str | None = None
    predict: bool = True


class TaskFile(msgspec.Struct, frozen=True):
    """All tasks.

    Parameters
    ----------
    tasks : list of Task
        They are carried out in order.
    feeds : list of str
        Files of arrays in the order of the inputs.
    opset : int
        The opset of translations.
    input_shapes : list of list, or None
        Shapes to translate for, one per input; the models' own if None.
    layout : Layout
        Which inputs and outputs of marked translations have their channels moved.
    legacy : bool
        Whether models are loaded by tf-keras, which may run code of theirs.
    as_documented : bool
        Whether TensorFlow's windows start where it documents (see
        `padaudit.formats.keras.translation.volumes`).
    """

    tasks: list[Task]
    feeds: list[str]
    opset: int
    input_shapes: list[list[int | None]] | None = None
    layout: Layout = Layout()
    legacy: bool = False
    as_documented: bool = False


class TaskResult(msgspec.Struct, frozen=True):
    """What became of a task; an error is one clause."""

    runtime: str = ""
    load_error: str | None = None
    marked_error: str | None = None
    predict_error: str | None = None


def result_file(folder: Path, task: int) -> Path:
    """Return where the result of a task is."""
    return folder / f"task-{task}.json"


def outputs_file(folder: Path, task: int, feed: int) -> Path:
    """Return where the outputs of a task on one feed are."""
    return folder / f"task-{task}-outputs-{feed}.npz"


def marks_file(folder: Path, task: int) -> Path:
    """Return where the marks of a task's translation are."""
    return folder / f"task-{task}-marks.json"


def main(folder: Path) -> None:
    """Carry out the tasks of a folder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    file = msgspec.json.decode((folder / TASK_FILE).read_bytes(), type=TaskFile)
    for index, task in enumerate(file.tasks):
        _carry_out(folder, index, task, file)


def _carry_out(folder: Path, index: int, task: Task, file: TaskFile) -> None:
    """Carry out a task; TensorFlow may abort while it runs a model, so that comes last."""
    keras, runtime = _runtime(file.legacy)
    record = result_file(folder, index)
    try:
        model = loaded_model(keras, task.model, file.legacy)
    except Exception as error:
        # Whatever Keras raises here says that it can't load the file.
        write_record(record, TaskResult(runtime, load_error=one_line(error)))
        return
    marked = _attempt(_translate, model, folder, index, task.marked, file) if task.marked else None
    if task.predict:
        write_record(record, TaskResult(runtime, None, marked, DIED))
    predicted = _attempt(_predict, model, folder, index, file) if task.predict else None
    write_record(record, TaskResult(runtime, None, marked, predicted))


def _runtime(legacy: bool) -> tuple[Any, str]:
    import tensorflow

    if legacy:
        import tf_keras as keras
    else:
        import keras

        import padaudit.keras  # noqa: F401 (Keras knows a layer when its module is imported)
    name = "tf-keras" if legacy else "Keras"
    return keras, f"{name} {keras.__version__}, TensorFlow {tensorflow.__version__} CPU"


def loaded_model(keras: Any, path: str, legacy: bool) -> Any:
    """Load a model with Keras in its safe mode, or with tf-keras, which has none."""
    if legacy:
        return keras.models.load_model(path, compile=False)
    with keras.utils.custom_object_scope(_layers_of_applications()):
        return load_model(Path(path))


def _layers_of_applications() -> dict[str, Any]:
    """Return the layer classes of keras.applications, which Keras does not find in a .h5 file."""
    import keras
    from keras.src import applications

    modules = [item for item in vars(applications).values() if isinstance(item, ModuleType)]
    return {
        name: item
        for module in modules
        for name, item in vars(module).items()
        if isinstance(item, type)
        and issubclass(item, keras.Layer)
        and item.__module__ == module.__name__
    }


def _attempt(action: Any, *arguments: Any) -> str | None:
    try:
        action(*arguments)
    except Exception as error:
        return one_line(error)
    return None


def _predict(model: Any, folder: Path, index: int, file: TaskFile) -> None:
    import numpy
    from tensorflow import nest

    from padaudit.formats.keras.translation.channels import channels_first_on_cpu
    from padaudit.formats.keras.translation.export import packed
    from padaudit.formats.keras.translation.volumes import windows_from_the_start

    with ExitStack() as stack:
        if file.as_documented:
            stack.enter_context(windows_from_the_start())
        if not file.legacy:
            stack.enter_context(channels_first_on_cpu())
        for number, feed in enumerate(file.feeds):
            arrays = list(load_arrays(folder / feed))
            outputs = model(packed(model, arrays), training=False)
            values = [numpy.asarray(value) for value in nest.flatten(outputs)]
            save_arrays(outputs_file(folder, index, number), values)


def _translate(model: Any, folder: Path, index: int, target: str, file: TaskFile) -> None:
    from padaudit.formats.keras.translation.export import export

    proto, marks = export(model, file.opset, file.input_shapes, file.layout, file.legacy)
    Path(target).write_bytes(proto.SerializeToString(deterministic=True))
    write_record(marks_file(folder, index), Marks(marks))
