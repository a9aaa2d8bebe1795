"""``padaudit verify``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from padaudit.cli.backends import backends_option, show_backends
from padaudit.cli.clicks import click
from padaudit.cli.console import deliver, progress, show
from padaudit.cli.options import (
    evidence_option,
    input_shape_option,
    memory_option,
    provider_option,
    timeout_option,
)
from padaudit.cli.what_if import show_what_if, what_if_options
from padaudit.errors import UsageError
from padaudit.formats.shape_options import parse_input_shapes
from padaudit.verification.evidence import Status


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path), required=False)
@what_if_options
@backends_option
@click.option(
    "--rtol",
    type=click.FloatRange(min=0),
    help="Relative tolerance: in parts of each element of A (with --backends, of an output's "
    "largest magnitude).",
)
@click.option(
    "--atol",
    type=click.FloatRange(min=0),
    help="Absolute tolerance, which is added to the relative one.",
)
@click.option("--output-format", type=click.Choice(("full", "json")), default="full")
@input_shape_option
@timeout_option
@memory_option
@provider_option
@evidence_option
def verify(a: Path, b: Path | None, **options: Any) -> int:
    """Run two models on the same inputs, and compare all of their outputs.

    ONNX models run in onnxruntime, Keras models in Keras. Inputs and outputs are matched by
    name, order or shape, in either layout (NHWC, NCHW). The tolerance is 0 for two models of
    one format; across formats it is 1e-4 of an output's largest magnitude. On a difference
    the first padded operator whose output differs is named. Exit code 0: equivalent, 1:
    different or unverified, 2: the command or a file can't be used.

    With --what-if, one model: how far its outputs move with the padding of a naive port.

    With --backends, one Keras model: each backend runs it in a process of its own, as it is
    and with its padding made explicit. Exit code 0 if the explicit model agrees on all
    backends that can run it, and with the original on the first one (within 1e-4 of an
    output's largest magnitude).
    """
    if options["backends"] is not None:
        _refuse(options, "--backends", "evidence", "provider")
        return show_backends(a, b, options)
    if options["what_if"] is not None:
        _refuse(options, "--what-if", "rtol", "atol")
        return show_what_if(a, b, options)
    if options["site"] is not None:
        raise UsageError("--site goes with --what-if")
    if b is None:
        how = "padaudit verify A B (or A --what-if ..., A --backends ...)"
        raise UsageError(f"verify compares two models: {how}")
    from padaudit.report.audit_trail import (
        check_evidence_path,
        model_file,
        verify_evidence,
        write_evidence,
    )
    from padaudit.verification.model_level import Tolerance
    from padaudit.verification.pair import verify_files
    from padaudit.verification.runner import Limits

    tolerance = None
    for name in ("rtol", "atol"):
        if not math.isfinite(options[name] or 0.0):
            raise UsageError(f"--{name} {options[name]} compares nothing; give a number")
    if options["rtol"] is not None or options["atol"] is not None:
        tolerance = Tolerance(options["rtol"] or 0.0, options["atol"] or 0.0)
    limits = Limits(options["timeout"], options["memory_limit"])
    evidence: Path | None = options["evidence"]
    check_evidence_path(evidence, [a, b], options["inputs"])
    shapes = parse_input_shapes(options["input_shape"])
    with progress(f"Running {a} and {b}"):
        verdict = verify_files(
            a, b, shapes, tolerance, limits, options["inputs"], options["provider"]
        )
    if evidence is not None:
        asked = {key: options[key] for key in _RECORDED}
        models = {"a": model_file(a), "b": model_file(b)}
        write_evidence(evidence, verify_evidence(models, verdict, asked, options["inputs"]))
    if options["output_format"] == "json":
        from padaudit.report.jsonable import dumps, verify_json

        deliver(dumps(verify_json(str(a), str(b), verdict)), None)
    else:
        from padaudit.report.text import verification_lines

        show(verification_lines(verdict))
    return 0 if verdict.status is Status.EQUIVALENT else 1


def _refuse(options: dict[str, Any], mode: str, *names: str) -> None:
    for name in names:
        if options[name] is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} goes with two models, not with {mode}")


_RECORDED: Final = ("rtol", "atol", "input_shape", "timeout", "memory_limit", "provider")
"""The options that an audit trail tells."""
