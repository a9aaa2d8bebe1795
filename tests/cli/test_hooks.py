"""The pre-commit hook is given the files that a walk through a folder takes for models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from padaudit.formats.detect import MODEL_SUFFIXES
from padaudit.formats.walk import model_files

ROOT = Path(__file__).parents[2]
SUFFIXES = [*sorted(MODEL_SUFFIXES), ".H5", ".Keras", ".json", ".pb", ".txt", ".h5.bak", ""]


@pytest.mark.parametrize("name", [".pre-commit-hooks.yaml", "README.md"])
def test_the_hook_and_the_walk_agree(name: str, tmp_path: Path) -> None:
    (pattern,) = re.findall(r"^ +files: (.+)$", (ROOT / name).read_text(), re.MULTILINE)
    for number, suffix in enumerate(SUFFIXES):
        (tmp_path / f"model-{number}{suffix}").write_text("{}")
    walked = {path.name for path in model_files(tmp_path)}
    # pre-commit searches paths for the pattern (https://pre-commit.com/#hooks-files).
    hooked = {path.name for path in tmp_path.iterdir() if re.search(pattern, path.as_posix())}
    assert hooked == walked
    assert len(walked) == len(MODEL_SUFFIXES) + 2
