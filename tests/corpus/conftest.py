"""Lets the modules of this folder import each other, however pytest collects them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ort_worker import OnnxRuntime


@pytest.fixture(scope="session")
def runtime() -> Iterator[OnnxRuntime]:
    """One onnxruntime process for the whole folder."""
    with OnnxRuntime() as started:
        yield started
