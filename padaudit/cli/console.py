"""Where text goes: results to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from padaudit.errors import InputError
from padaudit.report.line import Line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def never_fail_to_encode() -> None:
    """Let stdout and stderr write what their encoding lacks as escapes: names come from files."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(lines: Iterable[Line]) -> None:
    """Write lines to stdout."""
    _write(sys.stdout, lines)


def show_table(table: Table) -> None:
    """Write a table to stdout, as wide as it is."""
    console = terminal(sys.stdout)
    width = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    console.print(table, width=width)


_WIDEST: Final = 1000


def remark(text: str) -> None:
    """Write a remark to stderr."""
    _write(sys.stderr, [Line(text)])


def complain(message: str) -> None:
    """Write an error, in one line."""
    _write(sys.stderr, [Line.assemble(("error: ", "bold red"), " ".join(message.split()))])


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
        output_file.write_text(text + "\n", "utf-8", "backslashreplace")
    except OSError as error:
        cause = f"the report can't be written ({error.strerror or error})"
        raise InputError(output_file, cause, "check the folder") from error


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show on a terminal that something takes its time."""
    if not _styled(sys.stderr):
        yield
        return
    with terminal(sys.stderr).status(what):
        yield


def terminal(stream: TextIO) -> Console:
    """Return rich's console for a stream; it styles what goes to a terminal."""
    from rich.console import Console

    plain = not _styled(stream)
    return Console(
        file=stream,
        highlight=False,
        soft_wrap=True,
        force_terminal=False if plain else None,
    )


def _styled(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _write(stream: TextIO, lines: Iterable[Line]) -> None:
    """Write lines, unfolded; with styles on a terminal only, unless NO_COLOR is set."""
    if not _styled(stream):
        stream.writelines(f"{line.plain}\n" for line in lines)
        return
    from rich.text import Text

    console = terminal(stream)
    for line in lines:
        console.print(Text.assemble(*line.parts))
