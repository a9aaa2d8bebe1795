"""`SamePadding` in front of a "valid" layer is that layer with "same", on every backend."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BACKENDS = ("tensorflow", "torch", "jax")
WORKER = """
import sys
import numpy as np
import keras
from padaudit.keras import SamePadding

windows = {1: ([4], [3], [1]), 2: ([3, 2], [2, 3], [1, 1]), 3: ([2, 3, 4], [1, 2, 3], [1, 1, 1])}
found = {}
for rank, (kernel, strides, dilation) in windows.items():
    layer = SamePadding(kernel, strides, dilation, "channels_last", value=-7.0)
    shape = (2, *[None] * rank, 1)
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, *[None] * rank, 1), model.output_shape
    again = keras.models.model_from_json(model.to_json())
    for size in range(3, 10):
        data = np.arange(1, 2 * (size + 1) ** rank * 2, dtype="float32")
        sizes = [size + axis for axis in range(rank)]
        data = data[: 2 * np.prod(sizes)].reshape(2, *sizes, 1)
        one, other = (keras.ops.convert_to_numpy(m(data)) for m in (model, again))
        assert (one == other).all()
        assert one.shape == (2, *layer.compute_output_shape(data.shape)[1:])
        found[f"{rank}-{size}"] = one
first = SamePadding([3, 2], [2, 3], 1, "channels_first")
assert first.compute_output_shape((None, 5, 8, None)) == (None, 5, 9, None)
np.savez(sys.argv[1], **found)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_amounts_are_those_of_same_at_every_size(backend: str, tmp_path: Path) -> None:
    for package in {"keras", backend}:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"}
    script, target = tmp_path / "worker.py", tmp_path / "found.npz"
    script.write_text(WORKER)
    done = subprocess.run(
        [sys.executable, str(script), str(target)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    windows = {1: ([4], [3]), 2: ([3, 2], [2, 3]), 3: ([2, 3, 4], [1, 2, 3])}
    with np.load(target) as found:
        assert len(found.files) == 21
        for name in found.files:
            rank, size = map(int, name.split("-"))
            expected = _padded(size, *windows[rank])
            np.testing.assert_array_equal(found[name], expected)


def _padded(size: int, kernel: list[int], strides: list[int]) -> np.ndarray:
    """Pad so that the windows of "same", as the oracle places them, have all they read."""
    sizes = [size + axis for axis in range(len(kernel))]
    data = np.arange(1, 2 * np.prod(sizes) + 1, dtype="float32").reshape(2, *sizes, 1)
    amounts = [(0, 0)]
    for n, k, s in zip(sizes, kernel, strides, strict=True):
        starts = _starts(n, k, s)
        amounts.append((max(-starts[0], 0), max(starts[-1] + k - n, 0)))
    return np.pad(data, [*amounts, (0, 0)], constant_values=-7.0)


def _starts(size: int, kernel: int, stride: int) -> list[int]:
    """Return where the windows of "same" begin: centred, one element less in front."""
    count = len(range(0, size, stride))
    spread = (count - 1) * stride + kernel
    first = -((max(spread - size, 0)) // 2)
    return [first + stride * index for index in range(count)]
