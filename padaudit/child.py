"""What a child process runs: ``python -m padaudit.child MODULE FOLDER``.

It ends with the process that started it, however that ends.
"""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from padaudit.scratch import remove

WATCHER_MB: Final = 65
"""MiB of addresses that the watching thread takes: its stack, and an arena of the C library."""
_STACK_BYTES: Final = 1 << 19
_STDIN: Final = 0


def main(module: str, folder: Path) -> None:
    """Call ``main`` of a module with the folder of its work."""
    _end_with_parent()
    importlib.import_module(module).main(folder)


def _end_with_parent() -> None:
    """Wait for the end of the standard input, whose other end only the parent holds.

    What reads the standard input in this process finds nothing there.
    """
    pipe = os.dup(_STDIN)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    orphaned = threading.Event()
    watcher = threading.Thread(target=_outlive, args=(pipe, orphaned), daemon=True)
    usual = threading.stack_size(_STACK_BYTES)
    watcher.start()
    threading.stack_size(usual)
    # Work that misses its files ends by an error; not before all of them are removed.
    atexit.register(lambda: watcher.join() if orphaned.is_set() else None)


def _outlive(pipe: int, orphaned: threading.Event) -> None:
    """Remove the temporary files of a run that died (the parent said which), and end."""
    with open(pipe, "rb") as stream:
        told = stream.read()
    orphaned.set()
    try:
        for path in filter(None, told.split(b"\0")):
            with suppress(OSError):
                remove(Path(os.fsdecode(path)))
    finally:
        if sys.platform != "win32" and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
