"""The child process that runs onnxruntime (see `padaudit.child`).

The folder is the whole protocol. `JOB_FILE` says what to run; feeds and results are
``.npz`` files beside it. The record of a job is written last and in one step, so that
what is there is complete whenever this process dies.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from padaudit.child import WATCHER_MB
from padaudit.verification.inputs import element_type
from padaudit.verification.providers import CPU, short

Array = NDArray[Any]

JOB_FILE: Final = "jobs.json"
RUNTIME_FILE: Final = "runtime.json"


class JobRecord(msgspec.Struct, frozen=True):
    """One model to run.

    Parameters
    ----------
    index : int
        Number of the job, which names its files.
    model : str
        Absolute path of the model.
    feeds : list of list of str
        Input names of each feed, in the order of the arrays in its file.
    outputs : list of str or None
        What to fetch; None for all outputs.
    optimize : bool
        Whether onnxruntime may optimise the graph.
    provider : str
        The execution provider that runs what it can of it; the rest runs on the CPU.
    """

    index: int
    model: str
    feeds: list[list[str]]
    outputs: list[str] | None
    optimize: bool
    provider: str = CPU


class JobFile(msgspec.Struct, frozen=True):
    """What a process is to run, in order, and with how many threads and how much memory."""

    jobs: list[JobRecord]
    threads: int
    memory_mb: int | None


class ResultRecord(msgspec.Struct, frozen=True):
    """What became of a job: the names of its outputs and what ran it, or the error."""

    outputs: list[str]
    error: str | None = None
    where: str = "CPU"


class RuntimeRecord(msgspec.Struct, frozen=True):
    """Which onnxruntime runs, and its execution providers; None if it can't be imported."""

    runtime: str | None
    providers: list[str] = []


def feed_path(folder: Path, job: int, feed: int) -> Path:
    """Return where the inputs of one run of a job are."""
    return folder / f"feed-{job}-{feed}.npz"


def arrays_path(folder: Path, job: int, feed: int) -> Path:
    """Return where the outputs of one run of a job are."""
    return folder / f"arrays-{job}-{feed}.npz"


def result_path(folder: Path, job: int) -> Path:
    """Return where a finished job's `ResultRecord` is."""
    return folder / f"result-{job}.json"


def save_arrays(path: Path, arrays: Sequence[Array]) -> None:
    """Write arrays in order; bfloat16, which ``.npy`` does not know, as its bits."""
    named: dict[str, Any] = {
        f"{place}:{array.dtype.name}": array.view(np.uint16) if _is_bfloat16(array) else array
        for place, array in enumerate(arrays)
    }
    with path.open("wb") as file:
        np.savez(file, **named)


def load_arrays(path: Path) -> tuple[Array, ...]:
    """Read what `save_arrays` wrote; nothing is unpickled."""
    with np.load(path, allow_pickle=False) as stored:
        pairs = [(key.partition(":")[2], stored[key]) for key in stored.files]
    return tuple(
        array.view(element_type(name)) if name == "bfloat16" else array for name, array in pairs
    )


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Write a record as JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(record))
    partial.replace(path)


def main(folder: Path) -> None:
    """Run the jobs of a folder in order."""
    job_file = msgspec.json.decode((folder / JOB_FILE).read_bytes(), type=JobFile)
    _limit_resources(job_file.memory_mb)
    # Without this, official builds of onnxruntime report each session over the network.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        write_record(folder / RUNTIME_FILE, RuntimeRecord(None))
        return
    runtime = f"onnxruntime {onnxruntime.__version__}"
    available = onnxruntime.get_available_providers()
    write_record(folder / RUNTIME_FILE, RuntimeRecord(runtime, available))
    onnxruntime.set_default_logger_severity(_SILENT)
    for job in job_file.jobs:
        result = _result(onnxruntime, folder, job, job_file.threads)
        write_record(result_path(folder, job.index), result)


_SILENT: Final = 4
"""onnxruntime's log severity "fatal"."""


def _limit_resources(memory_mb: int | None) -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_mb is not None:
        limit = (memory_mb + WATCHER_MB) * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _result(onnxruntime: Any, folder: Path, job: JobRecord, threads: int) -> ResultRecord:
    # Whatever onnxruntime raises is the outcome of this job and not of the next ones.
    try:
        return _run_job(onnxruntime, folder, job, threads)
    except MemoryError:
        return ResultRecord([], OUT_OF_MEMORY)
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        starved = any(sign in text for sign in _SIGNS_OF_STARVATION)
        return ResultRecord([], OUT_OF_MEMORY if starved else _SOURCE_PLACE.sub("", text))


_SOURCE_PLACE: Final = re.compile(
    r"/\S*onnxruntime\S*\.(?:cc|h):\d+ "  # the file and the line
    r"[^()]*\([^()]*(?:\([^()]*\)[^()]*)*\)(?: const)?(?: \[with [^\]]*\])? "  # the function
)
"""Where in its own source onnxruntime raised an error, which says nothing to its users."""
OUT_OF_MEMORY: Final = "onnxruntime ran out of memory"
_SIGNS_OF_STARVATION: Final = ("Failed to allocate memory", "bad_alloc", "Cannot allocate memory")
"""What onnxruntime's own errors say then."""


def _run_job(onnxruntime: Any, folder: Path, job: JobRecord, threads: int) -> ResultRecord:
    session = _session(onnxruntime, folder, job, threads)
    types = {item.name: item.type for item in (*session.get_inputs(), *session.get_outputs())}
    names = job.outputs or [item.name for item in session.get_outputs()]
    run = _run_bits if "tensor(bfloat16)" in types.values() else _run_plain
    for feed, inputs in enumerate(job.feeds):
        arrays = load_arrays(feed_path(folder, job.index, feed))
        values = run(onnxruntime, session, names, dict(zip(inputs, arrays, strict=True)))
        save_arrays(
            arrays_path(folder, job.index, feed),
            [_tensor(*pair) for pair in zip(names, values, strict=True)],
        )
    where = "CPU" if job.provider == CPU else _where(job.provider, Path(session.end_profiling()))
    return ResultRecord(names, where=where)


def _session(onnxruntime: Any, folder: Path, job: JobRecord, threads: int) -> Any:
    """Load a model on its provider, and on no other in its place."""
    options = _session_options(onnxruntime, job.optimize, threads)
    if job.provider != CPU:
        # The profile tells which operators the provider took.
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / f"profile-{job.index}")
    session = onnxruntime.InferenceSession(
        job.model, options, providers=[job.provider], enable_fallback=0
    )
    if job.provider not in session.get_providers():
        raise RuntimeError(
            f"{job.provider} can't be started here (is its driver or library missing?)"
        )
    return session


def _where(provider: str, profile: Path) -> str:
    """Return what ran the operators of a profiled session, as onnxruntime recorded it."""
    events = json.loads(profile.read_bytes())
    profile.unlink()
    ran: dict[str, set[str]] = {}
    for event in events:
        if event.get("cat") == "Node" and "provider" in event.get("args", {}):
            ran.setdefault(event["args"]["provider"], set()).add(event["name"])
    count = len(ran.get(CPU, ()))
    if provider not in ran:
        return f"{short(provider)}, which took no operator of it: all ran on the CPU"
    rest = f", with {count} operator{'' if count == 1 else 's'} on the CPU" if count else ""
    return f"{short(provider)}{rest}"


def _session_options(onnxruntime: Any, optimize: bool, threads: int) -> Any:
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = _SILENT
    return options


def _run_plain(
    onnxruntime: Any, session: Any, names: list[str], feeds: Mapping[str, Array]
) -> list[Any]:
    values: list[Any] = session.run(names, feeds)
    return values


def _run_bits(
    onnxruntime: Any, session: Any, names: list[str], feeds: Mapping[str, Array]
) -> list[Any]:
    # The array interface of onnxruntime refuses bfloat16; its memory can be passed as bits.
    make = onnxruntime.OrtValue
    values = {
        name: make.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _ONNX_BFLOAT16)
        if _is_bfloat16(array)
        else make.ortvalue_from_numpy(array)
        for name, array in feeds.items()
    }
    return [_from_bits(value) for value in session.run_with_ort_values(names, values)]


_ONNX_BFLOAT16: Final = 16
"""``onnx.TensorProto.BFLOAT16``."""


def _from_bits(value: Any) -> Any:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    import ctypes

    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(raw, element_type("bfloat16")).reshape(value.shape())


def _tensor(name: str, value: Any) -> Array:
    if not isinstance(value, np.ndarray):
        kind = {list: "sequence", dict: "map", type(None): "empty optional"}.get(type(value))
        what = kind or type(value).__name__
        raise TypeError(f"output '{name}' is a {what}, and only tensors can be compared")
    return value.astype(np.str_) if value.dtype == object else value


def _is_bfloat16(array: Array) -> bool:
    return array.dtype.name == "bfloat16"
