"""Temporary folders go, whatever comes while they are removed."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, signal
from padaudit import scratch
from padaudit.interrupts import handled, requested

remove = scratch.remove

def interrupted(path):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
    remove(path)

scratch.remove = interrupted
with handled(), scratch.scratch_folder() as folder:
    (folder / "file").touch()
print(requested(), folder.exists())
"""


def test_signals_during_its_removal_leave_no_folder() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]
