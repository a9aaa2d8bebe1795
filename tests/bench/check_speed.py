"""Whole-process time of ``padaudit check`` against loading the same file in Keras.

Run ``python tests/bench/check_speed.py [ARCHITECTURE ...]``; the default is NASNetMobile.
Both are measured in one run, alternately, each as a fresh process; the fastest of three counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
LOAD = "import sys, keras; keras.models.load_model(sys.argv[1], compile=False)"


def seconds(command: list[str]) -> float:
    """Return the wall time of one process."""
    start = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **QUIET},
    )
    return time.perf_counter() - start


def save(architecture: str, folder: Path) -> Path:
    """Save an architecture of keras.applications with random weights."""
    path = folder / f"{architecture}.h5"
    code = f"import keras; keras.applications.{architecture}(weights=None).save({str(path)!r})"
    seconds([sys.executable, "-c", code])
    return path


def main() -> None:
    """Print both times and their ratio for each architecture."""
    for architecture in sys.argv[1:] or ["NASNetMobile"]:
        with tempfile.TemporaryDirectory() as name:
            path = str(save(architecture, Path(name)))
            check = [sys.executable, "-m", "padaudit", "check", "--exit-zero", path]
            load = [sys.executable, "-c", LOAD, path]
            times = [(seconds(check), seconds(load)) for _ in range(ROUNDS)]
        ours, theirs = (min(column) for column in zip(*times, strict=True))
        print(
            f"{architecture}: padaudit check {ours:.2f} s, keras load_model {theirs:.2f} s, "
            f"ratio {ours / theirs:.3f}"
        )


if __name__ == "__main__":
    main()
