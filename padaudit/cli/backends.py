"""``padaudit verify --backends``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from padaudit.cli.clicks import click
from padaudit.cli.console import deliver, progress, show, show_table
from padaudit.errors import UsageError
from padaudit.formats.shape_options import parse_input_shapes
from padaudit.verification.evidence import Status

Command = TypeVar("Command", bound=Callable[..., Any])


def backends_option(command: Command) -> Command:
    """Add ``--backends``."""
    return click.option(
        "--backends",
        metavar="tensorflow,torch,...",
        help="Run a Keras model on these Keras backends, before and after its padding is "
        "explicit (all: those that are installed).",
    )(command)


def show_backends(path: Path, other: Path | None, options: Mapping[str, Any]) -> int:
    """Compare backends and show the result; return the exit code.

    Raises
    ------
    UsageError
        If a second model is given, or an option of ``--what-if``.
    """
    from padaudit.verification.backends import compare_backends
    from padaudit.verification.model_level import Tolerance
    from padaudit.verification.runner import Limits

    if other is not None:
        raise UsageError("--backends takes one model; its explicit form is made from it")
    if any(options[name] is not None for name in ("what_if", "site", "inputs")):
        raise UsageError("--backends excludes --what-if, --site and --inputs")
    names = options["backends"].split(",")
    given = options["rtol"] is not None or options["atol"] is not None
    tolerance = Tolerance(options["rtol"] or 0.0, options["atol"] or 0.0) if given else None
    shapes = parse_input_shapes(options["input_shape"])
    with progress(f"Running {path} on {', '.join(names)}"):
        limits = Limits(options["timeout"], options["memory_limit"])
        report = compare_backends(path, names, shapes, tolerance, limits)
    if options["output_format"] == "json":
        from padaudit.report.backends import backends_json
        from padaudit.report.jsonable import dumps

        deliver(dumps(backends_json(str(path), report)), None)
    else:
        from padaudit.report.backends import matrix, rewrites, summary_lines, verdict_lines

        show(summary_lines(str(path), report))
        show_table(matrix(report))
        show_table(rewrites(report))
        show(verdict_lines(report))
    return 0 if report.verification.status is Status.EQUIVALENT else 1
