"""Signals that end a run: the first unwinds it, a second ends it at once; neither leaves anything.

Python drops an exception that a signal raises inside a callback (of an import, of a finalizer).
The signal is therefore also noted here, and whoever waits or publishes looks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
_SIGNALS: Final = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_EXIT_BASE: Final = 128
"""What shells add to the number of the signal that ended a command."""
_SHOW_CURSOR: Final = b"\x1b[?25h"


class _State:
    """What was asked for, what may not be torn, and what is to be done if all ends at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.held = 0
        self.last_acts: list[Callable[[], None]] = []
        self.written: list[Path] = []


_STATE: Final = _State()


@contextmanager
def handled() -> Iterator[None]:
    """Let signals end the block by `KeyboardInterrupt`; what nohup has ignored stays so."""
    kept = (number for number in _SIGNALS if number == signal.SIGINT or not _ignored(number))
    before = {number: signal.signal(number, _interrupted) for number in kept}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def requested() -> bool:
    """Tell whether a signal wants the run to end."""
    return _STATE.number is not None


def exit_code() -> int:
    """Return what a run that a signal ended exits with: 130 for Ctrl-C, 143 for SIGTERM."""
    return _EXIT_BASE + (_STATE.number or signal.SIGINT)


def raise_if_requested() -> None:
    """Stop if a signal wants that.

    Raises
    ------
    KeyboardInterrupt
        If a signal was noted, and what it raised may have been dropped.
    """
    if requested():
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """Note signals that come during the block, and let it come to its end."""
    _STATE.held += 1
    try:
        yield
    finally:
        _STATE.held -= 1


@contextmanager
def at_last(act: Callable[[], None]) -> Iterator[None]:
    """While the block runs, do this if all ends at once; it must not wait for a lock."""
    _STATE.last_acts.append(act)
    try:
        yield
    finally:
        _STATE.last_acts.remove(act)


def note_written(path: Path) -> None:
    """Note that a file is in its place: an interrupt that comes now does not undo that."""
    _STATE.written.append(path)


def farewell() -> str:
    """Return the sentence with which an interrupted run ends."""
    names = ", ".join(str(path) for path in _STATE.written if path.exists())
    return f"interrupted; {names + ' was' if names else 'nothing was'} written."


def _interrupted(number: int, _: FrameType | None) -> None:
    """Unwind, so that children are stopped and temporary files removed; or end at once."""
    if requested() and not _STATE.held:
        _end_at_once()
    _STATE.number = _STATE.number or number
    if not _STATE.held:
        raise KeyboardInterrupt


def _end_at_once() -> NoReturn:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    try:
        for act in reversed(_STATE.last_acts):
            with suppress(OSError):
                act()
        stderr = 2
        cursor = _SHOW_CURSOR if os.isatty(stderr) else b""
        os.write(stderr, cursor + f"error: {farewell()}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(exit_code())
