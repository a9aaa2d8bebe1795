"""Modules of padaudit that run in a process of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Final

from padaudit.interrupts import at_last, raise_if_requested
from padaudit.scratch import temporary_paths

_STDERR: Final = "stderr.txt"
_LONGEST: Final = 500
STOPPED: Final = "was stopped"
"""How the clause begins that tells of a process that reached a limit."""
_CONTROL_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What makes text coloured on a terminal (ECMA-48, section 5.4)."""


def module_command(module: str, folder: Path) -> list[str]:
    """Return the command that runs a module on a folder.

    ``-P``: a module in the working directory must not stand in for one of ours.
    """
    return [sys.executable, "-P", "-m", "padaudit.child", module, str(folder)]


@contextmanager
def running(module: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of padaudit on a folder; it is stopped when the block ends.

    It starts in the folder, writes its errors to a file there, and ends when this process
    does: its standard input says what to remove then, and stays open until then
    (`padaudit.child`).
    """
    with (folder / _STDERR).open("wb") as errors:
        process = start(module, folder, errors)
    try:
        with at_last(partial(_kill, process)):
            _hand_over(process)
            yield process
    finally:
        _stop(process)


def start(module: str, folder: Path, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a module of padaudit on a folder, in a session of its own."""
    return subprocess.Popen(
        module_command(module, folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        cwd=folder,
        env=_environment(),
        start_new_session=True,
    )


def _hand_over(process: subprocess.Popen[bytes]) -> None:
    """Tell a child what to remove if this process dies."""
    if process.stdin is None:
        return
    with suppress(BrokenPipeError):  # it is dead already
        paths = b"\0".join(os.fsencode(path) for path in temporary_paths())
        os.write(process.stdin.fileno(), paths)


def run_module(module: str, folder: Path, timeout: float, memory_mb: int | None = None) -> str:
    """Run a module on a folder to its end; return how it ended, as a clause.

    Parameters
    ----------
    module : str
        The module.
    folder : Path
        What it gets.
    timeout : float
        Seconds that it may take.
    memory_mb : int, optional
        MiB that it may keep resident: TensorFlow reserves far more addresses than it uses, so
        that a limit of those would tell nothing.
    """
    with running(module, folder) as process:
        end = time.monotonic() + timeout
        while process.poll() is None:
            raise_if_requested()
            if time.monotonic() >= end:
                return f"{STOPPED} after {timeout:g} s (--timeout)"
            if memory_mb is not None and resident_mb(process.pid) > memory_mb:
                return f"{STOPPED} when it took more than {memory_mb} MiB (--memory-limit)"
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(_POLL_SECONDS, max(end - time.monotonic(), 0)))
    return ending_of(process, folder)


_POLL_SECONDS: Final = 0.05


def resident_mb(pid: int) -> float:
    """Return how many MiB of a process are in memory; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/statm")
    try:
        if status.exists():
            return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return int(told.stdout.strip() or 0) / 2**10
    except (OSError, ValueError, IndexError):
        return 0.0  # it has ended, or there is no such command


def ending_of(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Return how a process ended, as a clause: ``died with SIGSEGV``."""
    code = process.returncode
    if code >= 0:
        return f"ended with exit code {code}: {_last_words(folder / _STDERR)}"
    name = signal.Signals(-code).name
    words = _reason(folder / _STDERR) if name == "SIGABRT" else ""
    return f"died with {name}{_MEANINGS.get(name, '')}{words}"


_MEANINGS: Final = {
    "SIGKILL": ", which is how the system ends a process that eats memory",
    "SIGFPE": ": it divided by zero",
    "SIGSEGV": ": it touched memory that is not its own",
    "SIGBUS": ": a file that it had mapped was cut short",
    "SIGABRT": ": it gave up by itself",
    "SIGILL": ": this processor lacks an instruction that it uses",
}
"""What a deadly signal tells of a process that nobody sent one."""


_REASONS: Final = re.compile(r"^F\d{4}|what\(\):|Check failed|^Fatal", re.MULTILINE)
"""How libraries begin the line that tells why they give up."""


def _reason(stderr: Path) -> str:
    """Return what a process that gave up said of it, in brackets; empty if it said nothing."""
    lines = [line.strip() for line in uncoloured(stderr.read_text("utf-8", "replace")).splitlines()]
    told = [line for line in lines if _REASONS.search(line)]
    return f" ({told[-1][:_LONGEST]})" if told else ""


def _environment() -> dict[str, str]:
    """Return an environment in which the child finds this very padaudit."""
    root = Path(__file__).resolve().parents[1]
    if root.name in {"site-packages", "dist-packages"}:
        return dict(os.environ)
    search = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": search}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started."""
    if process.poll() is None:
        _kill(process)
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_words(stderr: Path) -> str:
    lines = uncoloured(stderr.read_text("utf-8", "replace")).strip().splitlines()
    return lines[-1][:_LONGEST] if lines else "it wrote no message"


def uncoloured(text: str) -> str:
    r"""Return what a process says (TensorFlow, onnxruntime) without the colours of a terminal.

    >>> uncoloured("\x1b[1mno such \x1b[31;1mlayer\x1b[0m")
    'no such layer'
    """
    return _CONTROL_SEQUENCE.sub("", text)
