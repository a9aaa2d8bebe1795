"""Temporary files that are gone when a run ends, also where it is killed.

What is listed here goes when its block ends; at a second signal; and, if nothing of the run is
left to do that, by a child process that sees it die (`padaudit.child`).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from padaudit.interrupts import at_last, held

_PATHS: Final[list[Path]] = []
_TRIES: Final = 40
_PAUSE_SECONDS: Final = 0.05


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder for temporary files; it is gone when the block ends."""
    made = Path(tempfile.mkdtemp(prefix="padaudit-"))
    with listed(made):
        try:
            yield made
        finally:
            with held():
                remove(made)


@contextmanager
def listed(path: Path) -> Iterator[None]:
    """While the block runs, let a run that is ended or killed take a file or folder with it."""
    path = path.absolute()
    _PATHS.append(path)
    try:
        with at_last(partial(remove, path)):
            yield
    finally:
        _PATHS.remove(path)


def temporary_paths() -> tuple[Path, ...]:
    """Return what a run that was killed now would leave behind, the last one last."""
    return tuple(_PATHS)


def remove(path: Path) -> None:
    """Remove a file or a folder into which somebody who is being killed may still write."""
    for _ in range(_TRIES):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        if not path.exists():
            return
        time.sleep(_PAUSE_SECONDS)
