"""Interrupts that are not lost.

Python drops an exception that a signal raises inside a callback (of an import, of a finalizer).
The command line therefore also notes the signal here, and whoever waits or publishes looks.
"""

from __future__ import annotations

import threading
from typing import Final

_REQUESTED: Final = threading.Event()


def request() -> None:
    """Note that the user wants to stop."""
    _REQUESTED.set()


def requested() -> bool:
    """Tell whether the user wants to stop."""
    return _REQUESTED.is_set()


def raise_if_requested() -> None:
    """Stop if the user wants to.

    Raises
    ------
    KeyboardInterrupt
        If a signal was noted, and what it raised may have been dropped.
    """
    if requested():
        raise KeyboardInterrupt
