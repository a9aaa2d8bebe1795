"""Keras itself, where it is needed: in a process of its own, never in this one."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from padaudit.errors import MissingDependencyError
from padaudit.formats.keras.translation.marks import Layout, Mark, Marks
from padaudit.formats.keras.worker import (
    DIED,
    TASK_FILE,
    Task,
    TaskFile,
    TaskResult,
    marks_file,
    outputs_file,
    result_file,
)
from padaudit.subprocesses import STOPPED, run_module
from padaudit.verification.runner import Array
from padaudit.verification.worker import load_arrays, save_arrays, write_record

DEFAULT_OPSET: Final = 17


@dataclass(frozen=True, slots=True)
class KerasRun:
    """What Keras made of a model.

    Parameters
    ----------
    runtime : str
        Versions of Keras and TensorFlow.
    outputs : tuple of tuple of ndarray, or None
        Per feed, the outputs; None if it was not run.
    error : str
        Why it was not, one clause; empty if it was not asked for.
    died : bool
        Whether its process died, or was stopped.
    stopped : bool
        Whether it was stopped: it reached a limit.
    """

    runtime: str
    outputs: tuple[tuple[Array, ...], ...] | None
    error: str = ""
    died: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Translation:
    """A Keras model as ONNX, its padded operators marked.

    Parameters
    ----------
    run : KerasRun
        What else Keras made of the model.
    onnx : Path or None
        The translation; "same" is ``auto_pad`` in it.
    marks : tuple of Mark
        Its padded operators.
    error : str
        Why there is no translation, one clause.
    loaded : bool
        Whether the model could be loaded.
    """

    run: KerasRun
    onnx: Path | None
    marks: tuple[Mark, ...]
    error: str = ""
    loaded: bool = True


@dataclass(frozen=True, slots=True)
class How:
    """How a Keras model is to be translated.

    Parameters
    ----------
    opset : int
        The opset of the result.
    input_shapes : list of list, optional
        Shapes to translate for, one per input; the model's own if None.
    layout : Layout
        Which inputs and outputs have their channels moved.
    legacy : bool
        Whether tf-keras loads it, which may run code of the model.
    """

    opset: int = DEFAULT_OPSET
    input_shapes: list[list[int | None]] | None = None
    layout: Layout = field(default_factory=Layout)
    legacy: bool = False


def missing_package(legacy: bool = False) -> str | None:
    """Return the name of a package that translation needs and that is not installed."""
    packages = ("tensorflow", "tf2onnx", *(("tf_keras",) if legacy else ()))
    return next((name for name in packages if importlib.util.find_spec(name) is None), None)


def require(purpose: str, legacy: bool = False) -> None:
    """Raise `MissingDependencyError` unless Keras models can be run and translated."""
    package = missing_package(legacy)
    if package is not None:
        raise MissingDependencyError(package, purpose, "keras")


def run_keras(
    models: Sequence[Path],
    feeds: Sequence[Sequence[Array]],
    folder: Path,
    *,
    timeout: float,
    memory_mb: int | None = None,
    legacy: bool = False,
    as_documented: bool = False,
) -> list[KerasRun]:
    """Run Keras models.

    Parameters
    ----------
    models : sequence of Path
        Keras files.
    feeds : sequence of sequence of ndarray
        Sets of inputs, in the order of the models' inputs.
    folder : Path
        For the files of the process; the caller removes it.
    timeout : float
        Seconds for all of it.
    memory_mb : int, optional
        MiB that the process may take.
    legacy : bool
        Whether tf-keras loads them, which runs the code that a model brings with it.
    as_documented : bool
        Whether TensorFlow's windows start where it documents, also over volumes on a CPU.
    """
    tasks = [Task(str(model.resolve())) for model in models]
    names = _save(feeds, folder)
    file = TaskFile(tasks, names, DEFAULT_OPSET, legacy=legacy, as_documented=as_documented)
    ending = _run(file, folder, timeout, memory_mb)
    return [_collect(folder, index, file, ending) for index in range(len(tasks))]


def translate_keras(
    model: Path,
    feeds: Sequence[Sequence[Array]],
    folder: Path,
    how: How,
    timeout: float,
    memory_mb: int | None = None,
) -> Translation:
    """Translate a Keras model to ONNX with its padded operators marked, and run it.

    Parameters
    ----------
    model : Path
        A Keras file.
    feeds : sequence of sequence of ndarray
        Sets of inputs to run it on, in the order of its inputs; none: it is not run.
    folder : Path
        Where the translation is written; the caller removes it.
    how : How
        How to translate it.
    timeout : float
        Seconds for all of it.
    memory_mb : int, optional
        MiB that the process may take.
    """
    marked = folder / "marked.onnx"
    task = Task(str(model.resolve()), str(marked), bool(feeds))
    names = _save(feeds, folder)
    file = TaskFile([task], names, how.opset, how.input_shapes, how.layout, how.legacy)
    ending = _run(file, folder, timeout, memory_mb)
    run = _collect(folder, 0, file, ending)
    result = _result(folder, 0)
    if result is None:
        return Translation(run, None, (), run.error)
    if result.load_error is not None:
        return Translation(run, None, (), run.error, loaded=False)
    if result.marked_error is not None:
        return Translation(run, None, (), f"it can't be translated: {result.marked_error}")
    marks = msgspec.json.decode(marks_file(folder, 0).read_bytes(), type=Marks).marks
    return Translation(run, marked, marks)


def _save(feeds: Sequence[Sequence[Array]], folder: Path) -> list[str]:
    names = [f"feed-{number}.npz" for number in range(len(feeds))]
    for name, arrays in zip(names, feeds, strict=True):
        save_arrays(folder / name, list(arrays))
    return names


def _run(file: TaskFile, folder: Path, timeout: float, memory_mb: int | None) -> str:
    write_record(folder / TASK_FILE, file)
    return run_module("padaudit.formats.keras.worker", folder, timeout, memory_mb)


def _result(folder: Path, index: int) -> TaskResult | None:
    record = result_file(folder, index)
    return msgspec.json.decode(record.read_bytes(), type=TaskResult) if record.exists() else None


def _collect(folder: Path, index: int, file: TaskFile, ending: str) -> KerasRun:
    result, task = _result(folder, index), file.tasks[index]
    name = "tf-keras" if file.legacy else "Keras"
    stopped = ending.startswith(STOPPED)
    if result is None:
        return KerasRun(name, None, f"the {name} process {ending}", True, stopped)
    if result.load_error is not None:
        return KerasRun(result.runtime, None, f"{name} can't load it: {result.load_error}")
    if result.predict_error == DIED:
        error = f"the {name} process {ending}, while it ran the model"
        return KerasRun(result.runtime, None, error, True, stopped)
    if result.predict_error:
        return KerasRun(result.runtime, None, f"{name} can't run it: {result.predict_error}")
    if not task.predict:
        return KerasRun(result.runtime, None)
    count = len(file.feeds)
    outputs = tuple(load_arrays(outputs_file(folder, index, n)) for n in range(count))
    return KerasRun(result.runtime, outputs)
