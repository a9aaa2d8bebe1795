"""onnxruntime in a process of its own: some models kill it (SIGFPE), and no test must die of that.

As a module: `OnnxRuntime`. As a script: the process, pickled (model, feeds) in, outputs out.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class OnnxRuntime:
    """Runs models as they stand: graph optimisations are off."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OnnxRuntime:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run(self, model: bytes, runs: list[dict[str, Array]]) -> list[list[Array]]:
        """Return the outputs of each run.

        Raises
        ------
        RuntimeError
            With onnxruntime's message, or that the process died.
        """
        return list(self._ask((model, runs)))

    def optimized(self, model: bytes) -> bytes:
        """Return the model that onnxruntime makes of one by its default optimisations."""
        return bytes(self._ask((model, None)))

    def _ask(self, request: Any) -> Any:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, __file__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            answer, error = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError) as lost:
            raise RuntimeError(f"onnxruntime died: {self._process.wait()}") from lost
        if error:
            raise RuntimeError(error)
        return answer


def serve() -> None:
    """Answer requests until the input ends."""
    while True:
        try:
            model, runs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            done = (optimize(model) if runs is None else run(model, runs), "")
        except Exception as error:
            done = (None, f"{type(error).__name__}: {error}")
        pickle.dump(done, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def run(model: bytes, runs: list[dict[str, Array]]) -> list[list[Array]]:
    session = start(model, "ORT_DISABLE_ALL")
    return [session.run(None, feeds) for feeds in runs]


def optimize(model: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimized.onnx"
        start(model, "ORT_ENABLE_EXTENDED", str(target))
        return target.read_bytes()


def start(model: bytes, level: str, target: str = "") -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if target:
        options.optimized_model_filepath = target
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    serve()
