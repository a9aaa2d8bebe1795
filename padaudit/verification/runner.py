"""Runs models in onnxruntime, in a child process that may hang, crash or eat memory."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from padaudit.errors import InputError, MissingDependencyError
from padaudit.interrupts import raise_if_requested
from padaudit.scratch import scratch_folder
from padaudit.subprocesses import ending_of, running
from padaudit.verification.providers import in_use, short
from padaudit.verification.worker import (
    JOB_FILE,
    OUT_OF_MEMORY,
    RUNTIME_FILE,
    JobFile,
    JobRecord,
    ResultRecord,
    RuntimeRecord,
    arrays_path,
    feed_path,
    load_arrays,
    result_path,
    save_arrays,
    write_record,
)

Array = NDArray[Any]

DEFAULT_TIMEOUT: Final = 600.0
"""Seconds that one job may take."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of a model may take: seconds, and MiB of memory (None: as much as it wants)."""

    timeout: float = DEFAULT_TIMEOUT
    memory_mb: int | None = None

    def run(self, jobs: Sequence[Job]) -> list[RunOutcome]:
        """Run jobs in onnxruntime (see `run`)."""
        return run(jobs, timeout=self.timeout, memory_mb=self.memory_mb)


USUAL: Final = Limits()
"""What a run may take if nothing else is said."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A model to run on one or more sets of inputs.

    Parameters
    ----------
    model : Path or bytes
        A file, which may have external data beside it, or a serialised model.
    feeds : tuple of Mapping
        Sets of inputs, array by input name.
    outputs : tuple of str, optional
        What to fetch; all outputs of the model if None.
    optimize : bool
        Whether onnxruntime may optimise the graph.
    """

    model: Path | bytes
    feeds: tuple[Mapping[str, Array], ...]
    outputs: tuple[str, ...] | None = None
    optimize: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RunOutcome:
    """What a job gave.

    Parameters
    ----------
    outputs : tuple of tuple of ndarray, or None
        Per set of inputs the fetched outputs; None if any of the runs failed.
    output_names : tuple of str
        Names of the outputs, in that order.
    error : str or None
        Why there are no outputs.
    crashed : bool
        Whether the process died, or had to be stopped, during this job.
    runtime : str
        What ran it, e.g. ``onnxruntime 1.32.0 CPU``.
    """

    outputs: tuple[tuple[Array, ...], ...] | None
    output_names: tuple[str, ...]
    error: str | None
    crashed: bool
    runtime: str

    @property
    def starved(self) -> bool:
        """Whether memory was not enough."""
        return OUT_OF_MEMORY in (self.error or "")

    @property
    def cut_short(self) -> bool:
        """Whether a crash or a limit ended it, which tells nothing of the model."""
        return self.crashed or self.starved

    @property
    def unable(self) -> bool:
        """Whether a failure may be onnxruntime's, which has no kernel, or the limits'."""
        return self.cut_short or "NOT_IMPLEMENTED" in (self.error or "")


def run(
    jobs: Sequence[Job],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    memory_mb: int | None = None,
    threads: int = 2,
    provider: str | None = None,
) -> list[RunOutcome]:
    """Run jobs in order, outside this process.

    A job that kills the process or exceeds the timeout fails alone: those before it keep
    their results and those after it run in a fresh process.

    Parameters
    ----------
    jobs : sequence of Job
        What to run.
    timeout : float
        Seconds that one job may take.
    memory_mb : int, optional
        Address space of the process in MiB, where the system can limit it (POSIX).
    threads : int
        Threads that an operator may use.
    provider : str, optional
        Full name of the execution provider; that of `padaudit.verification.providers.using`
        if None.

    Returns
    -------
    list of RunOutcome
        One per job. Failures of a job are in its outcome and not raised.
    """
    with scratch_folder() as folder:
        with _enough_space(folder.parent):
            records = [
                _prepare(folder, index, job, provider or in_use()) for index, job in enumerate(jobs)
            ]
        outcomes: list[RunOutcome] = []
        while len(outcomes) < len(jobs):
            pending = records[len(outcomes) :]
            write_record(folder / JOB_FILE, JobFile(pending, threads, memory_mb))
            ending = _run_worker(folder, pending, timeout)
            outcomes += _collect(folder, pending, ending)
    return [_with_limit(outcome, memory_mb) for outcome in outcomes]


def available_providers() -> tuple[str, tuple[str, ...]]:
    """Return the name and version of onnxruntime, and the execution providers that it has.

    Raises
    ------
    MissingDependencyError
        If onnxruntime is not installed.
    InputError
        If it can't be started.
    """
    with scratch_folder() as folder:
        write_record(folder / JOB_FILE, JobFile([], 1, None))
        ending = _run_worker(folder, [], DEFAULT_TIMEOUT)
        if not (folder / RUNTIME_FILE).exists():
            raise InputError("onnxruntime", f"it could not be started: it {ending}", "reinstall it")
        record = _runtime(folder)
    if record.runtime is None:
        raise MissingDependencyError("onnxruntime", "running a model")
    return record.runtime, tuple(record.providers)


def _runtime(folder: Path) -> RuntimeRecord:
    return msgspec.json.decode((folder / RUNTIME_FILE).read_bytes(), type=RuntimeRecord)


def _with_limit(outcome: RunOutcome, memory_mb: int | None) -> RunOutcome:
    """Name the memory limit where it may be what ended a run."""
    if memory_mb is None or not (outcome.crashed or outcome.starved):
        return outcome
    return replace(outcome, error=f"{outcome.error} (the limit is {memory_mb} MiB)")


@contextmanager
def _enough_space(scratch: Path) -> Iterator[None]:
    """Turn a failure to write what is to be run into a sentence."""
    try:
        yield
    except OSError as error:
        cause = f"what the proof runs can't be written there ({error.strerror or error})"
        raise InputError(scratch, cause, "make space, or set TMPDIR to another folder") from error


def _prepare(folder: Path, index: int, job: Job, provider: str) -> JobRecord:
    model = folder / f"model-{index}.onnx"
    if isinstance(job.model, bytes):
        model.write_bytes(job.model)
    else:
        model = _openable(job.model.resolve())
    for number, feed in enumerate(job.feeds):
        values = [np.asarray(array, order="C") for array in feed.values()]
        save_arrays(feed_path(folder, index, number), values)
    names = [list(feed) for feed in job.feeds]
    outputs = None if job.outputs is None else list(job.outputs)
    return JobRecord(index, str(model), names, outputs, job.optimize, provider)


def _openable(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        cause = "onnxruntime can't open it, because its path is no UTF-8"
        raise InputError(path, cause, "rename it, or give --verify site") from error
    return path


def _run_worker(folder: Path, pending: Sequence[JobRecord], timeout: float) -> str:
    """Return how the process ended, as a clause that can follow "onnxruntime"."""
    with running("padaudit.verification.worker", folder) as process:
        if not _wait(process, folder, pending, timeout):
            return f"was stopped after {timeout:g} s, the timeout for one job"
    return ending_of(process, folder)


def _wait(
    process: subprocess.Popen[bytes],
    folder: Path,
    pending: Sequence[JobRecord],
    timeout: float,
) -> bool:
    """Wait for the process; tell whether it ended before a job exceeded the timeout."""
    done, started = 0, time.monotonic()
    while process.poll() is None:
        raise_if_requested()
        while done < len(pending) and result_path(folder, pending[done].index).exists():
            done, started = done + 1, time.monotonic()
        left = started + timeout - time.monotonic()
        if left <= 0:
            return False
        try:
            process.wait(min(left, _POLL_SECONDS))
        except subprocess.TimeoutExpired:
            continue
    return True


_POLL_SECONDS: Final = 0.1


def _collect(folder: Path, pending: Sequence[JobRecord], ending: str) -> list[RunOutcome]:
    """Return the outcomes of the finished jobs and of the one that ended the process."""
    if not (folder / RUNTIME_FILE).exists():
        return [_failure(f"onnxruntime could not be started: it {ending}", True)] * len(pending)
    runtime = _runtime(folder).runtime
    if runtime is None:
        missing = MissingDependencyError("onnxruntime", "running a model")
        return [_failure(str(missing), False)] * len(pending)
    outcomes: list[RunOutcome] = []
    for record in pending:
        if not result_path(folder, record.index).exists():
            where = f"{runtime} {short(record.provider)}"
            return [*outcomes, _failure(f"onnxruntime {ending}", True, where)]
        outcomes.append(_outcome(folder, record, runtime))
    return outcomes


def _outcome(folder: Path, record: JobRecord, runtime: str) -> RunOutcome:
    text = result_path(folder, record.index).read_bytes()
    result = msgspec.json.decode(text, type=ResultRecord)
    if result.error is not None:
        return _failure(result.error, False, f"{runtime} {short(record.provider)}")
    outputs = tuple(
        load_arrays(arrays_path(folder, record.index, number))
        for number in range(len(record.feeds))
    )
    return RunOutcome(outputs, tuple(result.outputs), None, False, f"{runtime} {result.where}")


def _failure(error: str, crashed: bool, runtime: str = "onnxruntime") -> RunOutcome:
    return RunOutcome(None, (), error, crashed, runtime)
