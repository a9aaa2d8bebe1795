"""``padaudit check``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from padaudit.audit.check import CheckResult, check_paths
from padaudit.audit.selection import Selection
from padaudit.cli.clicks import click
from padaudit.cli.config import load_config
from padaudit.cli.console import complain, deliver, progress, remark, show
from padaudit.cli.options import (
    architecture_option,
    assume_option,
    engine_option,
    input_shape_option,
    memory_option,
    provider_option,
    sizes,
    timeout_option,
)
from padaudit.errors import UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.report.line import Line

_FORMATS = ("full", "concise", "json")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output-format", type=click.Choice(_FORMATS), default="full", show_default=True)
@click.option("--output-file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--select", metavar="PADxxx,...", help="Report these rules only (PAD1 is a prefix).")
@click.option("--ignore", metavar="PADxxx,...", help="Leave these rules out.")
@click.option(
    "--fail-on",
    type=click.Choice(("note", "warning", "error")),
    default="warning",
    show_default=True,
    help="The severity from which findings make the exit code 1.",
)
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found.")
@click.option(
    "--impact",
    is_flag=True,
    help="Run the models too, and rank findings by how far a port with padding=k//2 would be off.",
)
@input_shape_option
@architecture_option
@assume_option
@engine_option
@click.option(
    "--trust-model",
    is_flag=True,
    help="Let --engine keras load the model; that may run code the model holds.",
)
@timeout_option
@memory_option
@provider_option
def check(paths: tuple[Path, ...], **options: Any) -> int:
    """Report the padding of models: PATHS are files, folders or globs.

    Nothing of a model is run or deserialised, and TensorFlow is not needed, unless --impact
    or --engine keras is given.
    """
    for name in ("provider", "memory_limit"):
        if options[name] is not None and not options["impact"]:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} goes with --impact, which runs the models whole")
    config = load_config(Path.cwd())
    selection = Selection(
        _rules(options["select"]) or config.select,
        (*config.ignore, *_rules(options["ignore"])),
        config.per_model,
    )
    shapes = sizes(options, config)
    with progress("Reading models"):
        result = check_paths(paths, shapes, selection, options["architecture"])
    if options["impact"]:
        result = _measured(result, shapes, options)
    _refuse_model(options["output_file"], result)
    _report(result, options["output_format"], options["output_file"])
    for model in result.models:
        if model.note:
            remark(f"{model.path}: {model.note}.")
    for error in result.errors:
        complain(error)
    if result.errors:
        return 2
    return 1 if result.reaches(options["fail_on"]) and not options["exit_zero"] else 0


def _measured(result: CheckResult, shapes: InputShapes, options: Mapping[str, Any]) -> CheckResult:
    from padaudit.verification.impact import with_impact
    from padaudit.verification.runner import Limits

    limits = Limits(options["timeout"], options["memory_limit"])

    with progress("Running models with other padding"):
        ranked, problems = with_impact(result, shapes, limits, options["provider"])
    for problem in problems:
        remark(problem)
    return ranked


def _refuse_model(output_file: Path | None, result: CheckResult) -> None:
    from padaudit.formats.atomic import is_one_of

    if output_file is not None and is_one_of(output_file, [Path(m.path) for m in result.models]):
        raise UsageError(f"--output-file {output_file} is a model; write to another file")


def _report(result: CheckResult, output_format: str, output_file: Path | None) -> None:
    if output_format == "json":
        from padaudit.report.jsonable import check_json, dumps

        deliver(dumps(check_json(result)), output_file)
        return
    from padaudit.report.text import check_concise, check_full

    lines = check_full(result) if output_format == "full" else check_concise(result)
    if output_file is None:
        show(lines)
    else:
        deliver("\n".join(line.plain for line in lines), output_file)
        show([Line(f"Report written: {output_file}")])


def _rules(option: str | None) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in (option or "").split(",") if part.strip())
