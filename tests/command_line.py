"""The command line run in the process of the tests, which is faster than in one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run_command(
    monkeypatch: pytest.MonkeyPatch,
    captured: pytest.CaptureFixture[str],
    *arguments: str | Path,
    cwd: Path,
) -> subprocess.CompletedProcess[str]:
    """Run ``padaudit`` in a folder."""
    from padaudit.cli.app import main

    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", ["padaudit", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    output = captured.readouterr()
    return subprocess.CompletedProcess([], int(exited.value.code or 0), *output)
