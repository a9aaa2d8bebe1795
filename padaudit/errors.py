"""The errors that padaudit raises: the user's (exit code 2) and our own bugs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SHOWN: Final = 400


class PadauditError(Exception):
    """Base of every error padaudit raises on purpose."""


@dataclass
class InputError(PadauditError):
    """The input can't be used; the message says which file, where, why and what to do.

    Parameters
    ----------
    path : Path or str
        The file or folder the user named.
    cause : str
        What is wrong with it, one clause without a full stop.
    advice : str
        What the user can do, one clause without a full stop.
    node : str, optional
        The layer or node that is at fault.
    """

    path: Path | str
    cause: str
    advice: str
    node: str | None = None

    def __str__(self) -> str:
        where = f"{self.path}: node '{shown(self.node)}'" if self.node else f"{self.path}"
        return f"{where}: {shown(self.cause)}; {self.advice}."


def shown(text: str) -> str:
    """Return text from a model as it can stand in one line: shortened, and printable throughout.

    >>> len(shown("x" * 1000))
    404
    """
    text = str(text)  # a name that is no UTF-8 comes as bytes
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in short)


class LimitError(InputError):
    """The input is larger or deeper than a limit that an option can raise."""


class UsageError(PadauditError):
    """The command or call itself makes no sense; the message says how to call it."""


@dataclass
class MissingDependencyError(PadauditError):
    """A package that padaudit, or the extra that is named, brings is not installed."""

    package: str
    purpose: str
    extra: str = ""

    def __str__(self) -> str:
        what = f"'padaudit[{self.extra}]'" if self.extra else self.package
        return (
            f"{self.purpose} needs {self.package}, which is not installed; "
            f"install it with: pip install {what}."
        )


class RuleFileError(PadauditError):
    """A file of the rules folder is invalid: a bug of padaudit, not of the user's model."""
