"""The process that runs Keras on one backend (see `padaudit.child`).

Keras chooses its backend when it is imported, so each one needs a process of its own. Models
are loaded in Keras's safe mode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from padaudit.formats.keras.calling import Array, one_line, outputs_of
from padaudit.formats.keras.worker import loaded_model
from padaudit.verification.worker import load_arrays, save_arrays, write_record

RUNS_FILE: Final = "runs.json"
LayerPath = tuple[str, ...]
"""Names of the layers that hold a layer, outermost first, and its own."""


class ModelRun(msgspec.Struct, frozen=True):
    """One model to run; ``index`` names the files of its results."""

    index: int
    model: str


class RunsFile(msgspec.Struct, frozen=True):
    """What to run on which backend.

    Parameters
    ----------
    backend : str
        Name of the Keras backend.
    runs : list of ModelRun
        The models, in order.
    feeds : list of str
        Absolute paths of files with arrays in the order of the models' inputs.
    taps : list of LayerPath
        Layers whose outputs are wanted too, of all their calls in order.
    """

    backend: str
    runs: list[ModelRun]
    feeds: list[str]
    taps: list[LayerPath]


class RunRecord(msgspec.Struct, frozen=True):
    """What became of a run: versions, why it failed, and which layers were tapped."""

    runtime: str
    error: str | None = None
    tapped: list[LayerPath] = []


def record_file(folder: Path, index: int) -> Path:
    """Return where a finished run's `RunRecord` is."""
    return folder / f"run-{index}.json"


def outputs_file(folder: Path, index: int, feed: int) -> Path:
    """Return where the outputs of a run on one feed are."""
    return folder / f"run-{index}-outputs-{feed}.npz"


def taps_file(folder: Path, index: int, tap: int) -> Path:
    """Return where the outputs of a tapped layer are, one array per call."""
    return folder / f"run-{index}-tap-{tap}.npz"


def main(folder: Path) -> None:
    """Carry out the runs of a folder."""
    file = msgspec.json.decode((folder / RUNS_FILE).read_bytes(), type=RunsFile)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["KERAS_BACKEND"] = file.backend
    for run in file.runs:
        write_record(record_file(folder, run.index), _carry_out(folder, run, file))


def _carry_out(folder: Path, run: ModelRun, file: RunsFile) -> RunRecord:
    runtime = file.backend
    # Whatever Keras or its backend raises is the outcome of this run and not of the next one.
    try:
        runtime = _runtime(file.backend)
        return RunRecord(runtime, None, _run(folder, run, file))
    except MemoryError:
        return RunRecord(runtime, "it ran out of memory")
    except Exception as error:
        return RunRecord(runtime, one_line(error))


def _runtime(backend: str) -> str:
    import keras

    if keras.backend.backend() != backend:
        raise RuntimeError(f"Keras {keras.__version__} chose {keras.backend.backend()}")
    module = __import__(backend)
    return f"Keras {keras.__version__}, {backend} {module.__version__}"


def _run(folder: Path, run: ModelRun, file: RunsFile) -> list[LayerPath]:
    import keras

    import padaudit.keras  # noqa: F401 (Keras knows a layer when its module is imported)

    model = loaded_model(keras, run.model, False)
    wanted = set(file.taps)
    calls = {path: _tapped(layer) for path, layer in _layers(model) if path in wanted}
    for number, feed in enumerate(file.feeds):
        values = outputs_of(model, load_arrays(Path(feed)))
        save_arrays(outputs_file(folder, run.index, number), values)
    for number, seen in enumerate(calls.values()):
        save_arrays(taps_file(folder, run.index, number), seen)
    return list(calls)


def _tapped(layer: Any) -> Sequence[Array]:
    """Note what a layer returns from now on."""
    import keras
    import numpy

    seen: list[Array] = []
    inner = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        first = keras.tree.flatten(result)[0]
        seen.append(numpy.asarray(keras.ops.convert_to_numpy(first)))
        return result

    layer.call = call
    return seen


def _layers(model: Any, prefix: LayerPath = ()) -> Iterator[tuple[LayerPath, Any]]:
    """Yield every layer of a model, of the models in it, and in wrapper layers."""
    inside = [*getattr(model, "layers", ()), getattr(model, "layer", None)]
    for layer in inside:
        if layer is not None:
            path = (*prefix, layer.name)
            yield path, layer
            yield from _layers(layer, path)
