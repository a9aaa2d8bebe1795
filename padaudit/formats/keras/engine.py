"""Keras itself, where it is needed: in a process of its own, never in this one."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from padaudit.errors import MissingDependencyError
from padaudit.formats.keras.worker import (
    TASK_FILE,
    Task,
    TaskFile,
    TaskResult,
    outputs_file,
    result_file,
)
from padaudit.subprocesses import run_module
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
    onnx : Path or None
        The translation; None if it was not asked for or failed.
    outputs : tuple of tuple of ndarray, or None
        Per feed, the outputs.
    errors : tuple of str
        What failed, one clause each.
    """

    runtime: str
    onnx: Path | None
    outputs: tuple[tuple[Array, ...], ...] | None
    errors: tuple[str, ...]


def missing_package() -> str | None:
    """Return the name of a package that translation needs and that is not installed."""
    packages = ("tensorflow", "tf2onnx")
    return next((name for name in packages if importlib.util.find_spec(name) is None), None)


def require(purpose: str) -> None:
    """Raise `MissingDependencyError` unless Keras models can be run and translated."""
    package = missing_package()
    if package is not None:
        raise MissingDependencyError(package, purpose, "keras")


def run_keras(
    models: Sequence[Path],
    feeds: Sequence[Sequence[Array]],
    folder: Path,
    *,
    timeout: float,
    input_shapes: list[list[int | None]] | None = None,
    predict: bool = True,
) -> list[KerasRun]:
    """Run Keras models and translate them to ONNX.

    Parameters
    ----------
    models : sequence of Path
        Keras files.
    feeds : sequence of sequence of ndarray
        Sets of inputs, in the order of the models' inputs.
    folder : Path
        Where the translations are written; the caller removes it.
    timeout : float
        Seconds for all of it.
    input_shapes : list of list, optional
        Shapes to translate for, one per input; the models' own if None.
    predict : bool
        Whether to run the models on the feeds.
    """
    names = [f"feed-{number}.npz" for number in range(len(feeds))]
    for name, arrays in zip(names, feeds, strict=True):
        save_arrays(folder / name, list(arrays))
    tasks = [
        Task(str(model.resolve()), str(folder / f"translated-{index}.onnx"), predict)
        for index, model in enumerate(models)
    ]
    write_record(folder / TASK_FILE, TaskFile(tasks, names, DEFAULT_OPSET, input_shapes))
    ending = run_module("padaudit.formats.keras.worker", folder, timeout)
    return [_collect(folder, index, task, len(feeds), ending) for index, task in enumerate(tasks)]


def _collect(folder: Path, index: int, task: Task, feeds: int, ending: str) -> KerasRun:
    record = result_file(folder, index)
    if not record.exists():
        return KerasRun("Keras", None, None, (f"the Keras process {ending}",))
    result = msgspec.json.decode(record.read_bytes(), type=TaskResult)
    if result.load_error is not None:
        return KerasRun(result.runtime, None, None, (f"Keras can't load it: {result.load_error}",))
    errors = []
    if result.onnx_error:
        errors.append(f"tf2onnx can't translate it: {result.onnx_error}")
    if result.predict_error:
        errors.append(f"Keras can't run it: {result.predict_error}")
    onnx = None if result.onnx_error or not task.onnx else Path(task.onnx)
    outputs = None
    if task.predict and not result.predict_error:
        outputs = tuple(load_arrays(outputs_file(folder, index, n)) for n in range(feeds))
    return KerasRun(result.runtime, onnx, outputs, tuple(errors))
