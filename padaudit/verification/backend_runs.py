"""Running Keras models on one backend, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from padaudit.scratch import scratch_folder
from padaudit.subprocesses import run_module
from padaudit.verification.backend_worker import (
    RUNS_FILE,
    LayerPath,
    ModelRun,
    RunRecord,
    RunsFile,
    outputs_file,
    record_file,
    taps_file,
)
from padaudit.verification.runner import Array, Limits
from padaudit.verification.worker import load_arrays, save_arrays, write_record


@dataclass(frozen=True, slots=True)
class BackendRun:
    """What a backend made of a model.

    Parameters
    ----------
    runtime : str
        Versions of Keras and of the backend.
    outputs : tuple of tuple of ndarray, or None
        Per feed, the outputs in order; None if it failed.
    error : str
        Why it failed, one clause.
    taps : dict
        By layer, what it returned in each call, feed by feed.
    died : bool
        Whether its process died, or was stopped.
    """

    runtime: str
    outputs: tuple[tuple[Array, ...], ...] | None
    error: str = ""
    taps: Mapping[LayerPath, tuple[Array, ...]] | None = None
    died: bool = False


def run_backend(
    backend: str,
    models: Sequence[Path],
    feeds: Sequence[Sequence[Array]],
    limits: Limits,
    taps: Sequence[LayerPath] = (),
) -> list[BackendRun]:
    """Run Keras models on a backend; one that ends the process costs no other.

    Parameters
    ----------
    backend : str
        Name of the Keras backend.
    models : sequence of Path
        Keras files.
    feeds : sequence of sequence of ndarray
        Sets of inputs, in the order of the models' inputs.
    limits : Limits
        What one process may take.
    taps : sequence of LayerPath
        Layers whose outputs are wanted too.
    """
    done: list[BackendRun] = []
    with scratch_folder() as folder:
        files = [folder / f"feed-{number}.npz" for number in range(len(feeds))]
        for file, arrays in zip(files, feeds, strict=True):
            save_arrays(file, list(arrays))
        runs = [ModelRun(index, str(model.resolve())) for index, model in enumerate(models)]
        while len(done) < len(runs):
            pending = runs[len(done) :]
            task = RunsFile(backend, pending, [str(file) for file in files], list(taps))
            write_record(folder / RUNS_FILE, task)
            ending = run_module(
                "padaudit.verification.backend_worker", folder, limits.timeout, limits.memory_mb
            )
            done += _collect(folder, pending, backend, len(feeds), ending)
    return done


def _collect(
    folder: Path, pending: Sequence[ModelRun], backend: str, feeds: int, ending: str
) -> list[BackendRun]:
    """Return the finished runs, and the one that ended the process."""
    done: list[BackendRun] = []
    for run in pending:
        if not record_file(folder, run.index).exists():
            return [*done, BackendRun(backend, None, f"its process {ending}", died=True)]
        text = record_file(folder, run.index).read_bytes()
        record = msgspec.json.decode(text, type=RunRecord)
        if record.error is not None:
            done.append(BackendRun(record.runtime, None, record.error))
            continue
        outputs = tuple(load_arrays(outputs_file(folder, run.index, n)) for n in range(feeds))
        taps = {
            path: load_arrays(taps_file(folder, run.index, number))
            for number, path in enumerate(record.tapped)
        }
        done.append(BackendRun(record.runtime, outputs, "", taps))
    return done
