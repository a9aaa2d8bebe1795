"""Modules of padaudit that run in a process of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_STDERR: Final = "stderr.txt"
_CONTROL_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What makes text coloured on a terminal (ECMA-48, section 5.4)."""


def module_command(module: str, folder: Path) -> list[str]:
    """Return the command that runs a module on a folder.

    ``-P``: a module in the working directory must not stand in for one of ours.
    """
    return [sys.executable, "-P", "-m", module, str(folder)]


@contextmanager
def running(module: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of padaudit on a folder; it is stopped when the block ends.

    It starts in the folder, reads no standard input, and writes its errors to a file there.
    """
    with (folder / _STDERR).open("wb") as errors:
        process = subprocess.Popen(
            module_command(module, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=folder,
            env=_environment(),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def run_module(module: str, folder: Path, timeout: float) -> str:
    """Run a module on a folder to its end; return how it ended, as a clause."""
    with running(module, folder) as process:
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"was stopped after {timeout:g} s"
    return ending_of(process, folder)


def ending_of(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Return how a process ended, as a clause: ``died with SIGSEGV``."""
    code = process.returncode
    if code >= 0:
        return f"ended with exit code {code}: {_last_words(folder / _STDERR)}"
    name = signal.Signals(-code).name
    return f"died with {name}{_MEANINGS.get(name, '')}"


_MEANINGS: Final = {
    "SIGKILL": ", which is how the system ends a process that eats memory",
    "SIGFPE": ": it divided by zero",
    "SIGSEGV": ": it touched memory that is not its own",
    "SIGBUS": ": a file that it had mapped was cut short",
    "SIGABRT": ": it gave up by itself",
    "SIGILL": ": this processor lacks an instruction that it uses",
}
"""What a deadly signal tells of a process that nobody sent one."""


def _environment() -> dict[str, str]:
    """Return an environment in which the child finds this very padaudit."""
    root = Path(__file__).resolve().parents[1]
    if root.name in {"site-packages", "dist-packages"}:
        return dict(os.environ)
    search = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": search}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(stderr: Path) -> str:
    lines = uncoloured(stderr.read_text("utf-8", "replace")).strip().splitlines()
    return lines[-1][:500] if lines else "it wrote no message"


def uncoloured(text: str) -> str:
    r"""Return what a process says (TensorFlow, onnxruntime) without the colours of a terminal.

    >>> uncoloured("\x1b[1mno such \x1b[31;1mlayer\x1b[0m")
    'no such layer'
    """
    return _CONTROL_SEQUENCE.sub("", text)
