"""``padaudit verify MODEL --what-if``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from padaudit.cli.clicks import click
from padaudit.cli.console import deliver, progress, show
from padaudit.cli.options import inputs_option
from padaudit.errors import UsageError
from padaudit.formats.shape_options import parse_input_shapes

Command = TypeVar("Command", bound=Callable[..., Any])
VARIANTS: Final = ("symmetric", "lower", "torch")


def what_if_options(command: Command) -> Command:
    """Add ``--what-if`` and the options that go with it."""
    options = (
        click.option(
            "--what-if",
            type=click.Choice(VARIANTS),
            help="Run MODEL with the padding of a naive port, at each site and at all of them: "
            "kernel // 2 on both sides, the larger amount first, or (kernel - 1) // 2.",
        ),
        click.option("--site", metavar="ID", help="With --what-if: change this site only."),
        inputs_option("Arrays by input name of A (with --what-if also their classes as 'y')."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def show_what_if(model: Path, other: Path | None, options: dict[str, Any]) -> int:
    """Report what the wrong padding would do; return the exit code."""
    from padaudit.verification.runner import Limits
    from padaudit.verification.what_if import what_if

    if other is not None:
        raise UsageError("--what-if takes one model")
    evidence: Path | None = options["evidence"]
    if evidence is not None:
        from padaudit.report.audit_trail import check_evidence_path

        check_evidence_path(evidence, [model], options["inputs"])
    with progress(f"Running {model} with other padding"):
        result = what_if(
            model,
            options["what_if"],
            parse_input_shapes(options["input_shape"]),
            site=options["site"],
            inputs=options["inputs"],
            limits=Limits(options["timeout"], options["memory_limit"]),
            provider=options["provider"],
        )
    if evidence is not None:
        from padaudit.report.audit_trail import model_file, what_if_evidence, write_evidence

        asked = {key: options[key] for key in _RECORDED}
        trail = what_if_evidence(model_file(model), result, asked, options["inputs"])
        write_evidence(evidence, trail)
    if options["output_format"] == "json":
        from padaudit.report.jsonable import dumps
        from padaudit.report.what_if import what_if_json

        deliver(dumps(what_if_json(result)), None)
    else:
        from padaudit.report.what_if import what_if_lines

        show(what_if_lines(result))
    return 0


_RECORDED: Final = ("what_if", "site", "input_shape", "timeout", "memory_limit", "provider")
"""The options that an audit trail tells."""
