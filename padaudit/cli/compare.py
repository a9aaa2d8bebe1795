"""``padaudit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from padaudit.cli.clicks import click
from padaudit.cli.console import deliver, progress, show
from padaudit.cli.options import (
    input_shape_option,
    inputs_option,
    memory_option,
    provider_option,
    timeout_option,
)
from padaudit.formats.shape_options import parse_input_shapes


@click.command()
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("port", type=click.Path(path_type=Path))
@click.option(
    "--fix",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.onnx",
    help="Write the port with the original's padding, if the two agree then.",
)
@click.option("--output-format", type=click.Choice(("full", "json")), default="full")
@input_shape_option
@inputs_option(
    "Arrays by the original's input names, to run both models on instead of made-up ones."
)
@timeout_option
@memory_option
@provider_option
def compare(original: Path, port: Path, **options: Any) -> int:
    """Find where the padding of PORT differs from that of ORIGINAL, which it should equal.

    Their padded operators are aligned by weights, neighbours and order; both are run on the
    same inputs, as they are and with the padding corrected.
    """
    from padaudit.compare.result import Sameness
    from padaudit.compare.run import compare_files
    from padaudit.verification.runner import Limits

    shapes = parse_input_shapes(options["input_shape"])
    limits = Limits(options["timeout"], options["memory_limit"])
    with progress(f"Comparing {original} and {port}"):
        result = compare_files(
            original, port, shapes, options["fix"], limits, options["provider"], options["inputs"]
        )
    if options["output_format"] == "json":
        from padaudit.report.compare import compare_json
        from padaudit.report.jsonable import dumps

        deliver(dumps(compare_json(result)), None)
    else:
        from padaudit.report.compare import compare_lines

        show(compare_lines(result))
    return 0 if result.status is Sameness.SAME else 1
