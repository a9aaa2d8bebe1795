"""The border between untrusted definitions and the code that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from padaudit.errors import InputError


@contextmanager
def well_formed(where: Path | str | None) -> Iterator[None]:
    """Turn what a wrong type or value in a definition raises into an `InputError`.

    A definition comes from anywhere, and any of its values may have any type; checking
    each would be most of the code.

    Parameters
    ----------
    where : Path, str or None
        The file that the definition is from.
    """
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        cause = f"its definition has a wrong value ({type(error).__name__}: {reason})"
        advice = "save or export it again; if it loads elsewhere, please report this"
        node = next(iter(getattr(error, "__notes__", ())), None)
        raise InputError(where or "the model", cause, advice, node) from error


@contextmanager
def at_node(name: str) -> Iterator[None]:
    """Note at which node or layer an error occurs, for `well_formed` to say."""
    try:
        yield
    except Exception as error:
        error.add_note(name)
        raise
