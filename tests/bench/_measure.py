"""Time and peak memory of whole processes, alternated, and how the benchmarks print them.

A child counts alone: ``os.wait4`` gives its own peak. Linux starts that peak at the size of
the process that forked it, so a benchmark must stay small itself: it makes its models in a
child (`make`) and imports neither numpy nor onnx before the last measurement.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Cost:
    """What a process cost: wall time in seconds, peak resident memory in MB (10^6 bytes)."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Failure:
    """A process that failed, and the last line that it said."""

    reason: str


Result = Cost | Failure
Commands = Mapping[str, Sequence[str]]


def padaudit(*arguments: object) -> list[str]:
    """Return the command line of padaudit in this interpreter."""
    return [sys.executable, "-m", "padaudit", *map(str, arguments)]


def python(code: str, *arguments: object) -> list[str]:
    """Return the command line that runs a line of Python on arguments."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def measure(command: Sequence[str]) -> Result:
    """Run a process to its end and return its cost, or why it failed."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, **QUIET}
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            return Failure(f"exit code {child.returncode}: {last[:160]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_maxrss * unit / 1e6)


def alternate(
    commands: Commands, rounds: int, before: Callable[[], None] | None = None
) -> dict[str, Result]:
    """Measure each command once per round, in turn; return the best time and memory of each.

    Parameters
    ----------
    commands : mapping of str to sequence of str
        Command lines by label.
    rounds : int
        How often each is run. A command that failed is not run again.
    before : callable, optional
        Called before every run and after the last, unmeasured: removes what the runs wrote.
    """
    best: dict[str, Result] = {}
    for _ in range(rounds):
        for label, command in commands.items():
            if isinstance(best.get(label), Failure):
                continue
            if before is not None:
                before()
            best[label] = _better(best.get(label), measure(command))
    if before is not None:
        before()
    return best


def _better(old: Result | None, new: Result) -> Result:
    if isinstance(old, Cost) and isinstance(new, Cost):
        return Cost(min(old.seconds, new.seconds), min(old.megabytes, new.megabytes))
    return new


def make(*arguments: object) -> None:
    """Make a model with ``_models.py`` in a process of its own.

    Raises
    ------
    RuntimeError
        If that fails.
    """
    result = measure([sys.executable, str(HERE / "_models.py"), *map(str, arguments)])
    if isinstance(result, Failure):
        raise RuntimeError(f"_models.py {arguments[0]}: {result.reason}")


def ratio(ours: Result | None, theirs: Result | None, of: str = "seconds") -> str:
    """Return the ratio of two costs as text; a dash where one of them failed."""
    if isinstance(ours, Cost) and isinstance(theirs, Cost):
        return f"{getattr(ours, of) / getattr(theirs, of):.3f}"
    return "-"


def cells(result: Result) -> list[str]:
    """Return time and memory of a result as table cells."""
    if isinstance(result, Failure):
        return ["-", "-", result.reason]
    return [f"{result.seconds:.2f} s", f"{result.megabytes:,.0f} MB", ""]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns as a Markdown table; columns without content are left out."""
    used = [i for i, name in enumerate(head) if name and any(row[i] for row in rows)]
    width = {i: max(len(head[i]), *(len(row[i]) for row in rows)) for i in used}
    for row in (head, ["-" * width.get(i, 0) for i in range(len(head))], *rows):
        print("| " + " | ".join(row[i].ljust(width[i]) for i in used) + " |")
    print(flush=True)


def version(package: str) -> str | None:
    """Return the version of an installed package; None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe(*packages: str) -> str:
    """Return the machine and the versions of what is compared, in one line."""
    missing = {"padaudit": "of this folder"}
    found = [f"{name} {version(name) or missing.get(name, 'missing')}" for name in packages]
    system = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    return f"{system}; {', '.join(found)}"
