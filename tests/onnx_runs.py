"""onnxruntime in this process, for tests that run hundreds of small models."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from padaudit.verification.runner import Job, RunOutcome

Array = np.ndarray[Any, Any]


def run_here(
    jobs: Sequence[Job],
    *,
    timeout: float,
    memory_mb: int | None = None,
    provider: str | None = None,
) -> list[RunOutcome]:
    """Do what `padaudit.verification.runner.run` does, without starting a process."""
    assert timeout > 0
    return [_outcome(job) for job in jobs]


def session_of(model: bytes | str) -> onnxruntime.InferenceSession:
    """Return a session without graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def results(model: bytes | str, feed: Mapping[str, Array]) -> list[Array] | None:
    """Return all outputs of a model; None where it does not run."""
    try:
        return list(session_of(model).run(None, dict(feed)))
    except Exception:  # onnxruntime raises many kinds
        return None


def _outcome(job: Job) -> RunOutcome:
    try:
        session = session_of(job.model if isinstance(job.model, bytes) else str(job.model))
        names = job.outputs or tuple(item.name for item in session.get_outputs())
        outputs = tuple(tuple(session.run(names, dict(feed))) for feed in job.feeds)
    except Exception as error:
        return RunOutcome(None, (), str(error), False, "onnxruntime")
    return RunOutcome(outputs, tuple(names), None, False, "onnxruntime")


def in_child(function: Callable[[], str]) -> str:
    """Return what a function gives in a copy of this process; ``crashed`` where that ends first.

    onnxruntime divides by zero on some models that a mutation makes.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, function().encode()[:_PIPED])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return text if os.WIFEXITED(status) and text else "crashed"


_PIPED = 4096
