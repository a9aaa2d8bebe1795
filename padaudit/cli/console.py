"""Where text goes: results to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from padaudit.errors import InputError

_WIDE = 10_000
"""Lines are not folded: a path or a number broken over two lines can't be searched for."""


def stdout() -> Console:
    """Return the console for results."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Return the console for errors, progress and remarks."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    """Style on a terminal only, and not at all where NO_COLOR is set."""
    plain = bool(os.environ.get("NO_COLOR")) or not stream.isatty()
    return Console(
        file=stream,
        highlight=False,
        soft_wrap=True,
        force_terminal=False if plain else None,
        width=None if stream.isatty() else _WIDE,
    )


def complain(message: str) -> None:
    """Write an error, in one line."""
    stderr().print(Text.assemble(("error: ", "bold red"), " ".join(message.split())))


def show(lines: Iterable[Text]) -> None:
    """Write lines to stdout."""
    console = stdout()
    for line in lines:
        console.print(line)


def deliver(text: str, output_file: Path | None) -> None:
    """Write a machine-readable result to a file or, alone, to stdout.

    Raises
    ------
    InputError
        If the file can't be written.
    """
    if output_file is None:
        sys.stdout.write(text + "\n")
        return
    try:
        output_file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        cause = f"the report can't be written ({error.strerror or error})"
        raise InputError(output_file, cause, "check the folder") from error


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show on a terminal that something takes its time."""
    console = stderr()
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
