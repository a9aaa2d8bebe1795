"""Writing a file so that it is there whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from padaudit.errors import InputError
from padaudit.interrupts import held, note_written
from padaudit.scratch import listed


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside the target; rename it there if the block succeeds.

    The temporary file is removed on any exception, an interrupt included. It keeps the
    target's suffixes, because readers of external data and libraries look at them.

    Raises
    ------
    InputError
        If the target's folder does not exist or can't be written.
    """
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.", suffix=f".partial{target.suffix}", dir=target.parent
        )
    except OSError as error:
        cause = f"the output can't be written ({error.strerror or error})"
        raise InputError(target, cause, "check the folder") from error
    os.close(handle)
    temporary = Path(name)
    with listed(temporary):
        try:
            yield temporary
            put(temporary, target)
        finally:
            with held():
                temporary.unlink(missing_ok=True)


def put(temporary: Path, target: Path) -> None:
    """Rename a finished file to where it was asked for."""
    with held():
        adopt_mode(temporary)
        temporary.replace(target)
        note_written(target)


def is_one_of(path: Path, files: Iterable[Path]) -> bool:
    """Tell whether a path leads to one of some files, by whatever name or link."""
    return path.exists() and any(file.exists() and path.samefile(file) for file in files)


def adopt_mode(path: Path) -> None:
    """Files made by mkstemp are private; outputs have the user's usual permissions."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
