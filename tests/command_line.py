"""The command line run in the process of the tests, which is faster than in one of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_here(
    monkeypatch: pytest.MonkeyPatch,
    captured: pytest.CaptureFixture[str],
    *arguments: str | Path,
    cwd: Path,
) -> subprocess.CompletedProcess[str]:
    """Run ``padaudit`` in a folder; what it does on signals is undone afterwards."""
    from padaudit.cli.app import main

    handlers = [signal.getsignal(number) for number in SIGNALS]
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", ["padaudit", *map(str, arguments)])
    try:
        with pytest.raises(SystemExit) as exited:
            main()
    finally:
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
    output = captured.readouterr()
    return subprocess.CompletedProcess([], int(exited.value.code or 0), *output)
