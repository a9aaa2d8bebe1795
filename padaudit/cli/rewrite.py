"""``padaudit rewrite``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from padaudit.cli.clicks import click
from padaudit.cli.config import load_config
from padaudit.cli.console import deliver, progress, remark, show
from padaudit.cli.options import (
    architecture_option,
    assume_option,
    engine_option,
    evidence_option,
    input_shape_option,
    inputs_option,
    memory_option,
    provider_option,
    sizes,
    timeout_option,
)
from padaudit.errors import UsageError
from padaudit.formats.atomic import is_one_of
from padaudit.verification.evidence import Status

if TYPE_CHECKING:
    from padaudit.rewriting.options import Options
    from padaudit.rewriting.run import RewriteResult


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--explicit", is_flag=True, help="Make implicit padding explicit.")
@click.option(
    "--modernize", is_flag=True, help="Keras 2: repair what stops Keras 3 from loading the file."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to write; the suffix chooses the format. Default: NAME.explicit.SUFFIX.",
)
@click.option(
    "--style",
    type=click.Choice(("pad", "attrs")),
    help="pad: a padding operator in front; attrs: ONNX pads attribute. Default: pad for "
    "convolutions, attrs where onnxruntime would not fuse the Pad away (pools, quantised).",
)
@click.option("--diff", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--in-place", is_flag=True, help="Replace the input once the result is proven.")
@click.option(
    "--verify",
    type=click.Choice(("auto", "site", "model", "none")),
    default="auto",
    show_default=True,
    help="How far to go: every level that can run here, each operator alone, whole models "
    "without fail, or not at all.",
)
@click.option("--families", metavar="conv,max_pool,...", help="Rewrite these families only.")
@click.option(
    "--hoist",
    type=click.Choice(("asymmetric", "all")),
    help="ONNX: move explicit pads of convolutions into Pad nodes too.",
)
@click.option("--freeze", is_flag=True, help="ONNX: write the sizes of --input-shape too.")
@click.option(
    "--observe",
    is_flag=True,
    help="ONNX: run the model once to learn sizes that shape inference loses.",
)
@click.option("--opset", type=int, metavar="N", help="ONNX output: the opset it is to have.")
@click.option(
    "--layout",
    type=click.Choice(("keep", "nhwc", "nchw")),
    default="keep",
    show_default=True,
    help="Keras to ONNX: where images have their channels in the inputs and outputs.",
)
@click.option(
    "--trust-model",
    is_flag=True,
    help="Let tf-keras (Keras 2 files) or --engine keras load the model; that may run code "
    "that it holds.",
)
@click.option("--copy-data", is_flag=True, help="ONNX: copy external data to the output's folder.")
@click.option(
    "--open-sizes",
    type=click.Choice(("keep", "layer")),
    default="keep",
    show_default=True,
    help="Keras, amounts that change with an open size: keep the layer as it is, or put a "
    "padaudit.keras.SamePadding layer in front, which computes them.",
)
@click.option("--allow-unverified", is_flag=True, help="Write even if no proof could be run.")
@click.option("--output-format", type=click.Choice(("full", "json")), default="full")
@click.option("-v", "--verbose", is_flag=True, help="List every site.")
@input_shape_option
@architecture_option
@assume_option
@engine_option
@timeout_option
@memory_option
@inputs_option("Inputs of your own, by input name, to prove the result on as well.")
@provider_option
@evidence_option
def rewrite(model: Path, **options: Any) -> int:
    """Write MODEL with its implicit padding made explicit, and prove that nothing else changed.

    With --modernize, alone or as well, a definition of Keras 2 is mended for Keras 3.
    The output appears only when it is proven; the input is never touched.
    """
    from padaudit.rewriting.options import Options, parse_families
    from padaudit.rewriting.plan import AUTO

    if not options["explicit"] and not options["modernize"]:
        raise UsageError(f"say what to do: padaudit rewrite --explicit {model}")
    how = Options(
        options["style"] or AUTO,
        options["verify"],
        sizes(options, load_config(Path.cwd())),
        options["allow_unverified"],
        options["timeout"],
        options["freeze"],
        options["observe"],
        options["opset"],
        options["hoist"],
        options["copy_data"],
        parse_families(options["families"]),
        options["open_sizes"],
        options["architecture"],
        layout=options["layout"],
        trust_model=options["trust_model"],
        memory_mb=options["memory_limit"],
        explicit=options["explicit"],
        modernize=options["modernize"],
        inputs=options["inputs"],
        provider=options["provider"],
    )
    how.validate()
    target = _target(how.definition(model), options["output"], options["in_place"], how.word)
    as_json = options["output_format"] == "json"
    if options["diff"]:
        if options["evidence"] is not None:
            raise UsageError("--evidence is of a proof, and --diff proves nothing")
        return _show_plan(model, target, how, as_json)
    with progress(f"Rewriting and proving {model}"):
        result = _rewritten(model, target, how, options)
    return _report(result, how, as_json, options["verbose"])


def _rewritten(model: Path, target: Path, how: Options, options: dict[str, Any]) -> RewriteResult:
    """Rewrite a model, and write the evidence if that is wanted."""
    from padaudit.rewriting.run import rewrite_file

    evidence: Path | None = options["evidence"]
    if evidence is None:
        return rewrite_file(model, target, how)
    from padaudit.report.audit_trail import (
        check_evidence_path,
        model_file,
        rewrite_evidence,
        write_evidence,
    )

    check_evidence_path(evidence, [model, target], options["inputs"])
    original = model_file(model)
    result = rewrite_file(model, target, how)
    asked = {key: options[key] for key in _RECORDED}
    write_evidence(evidence, rewrite_evidence(original, result, asked, options["inputs"]))
    return result


_RECORDED: Final = (
    *("style", "verify", "families", "hoist", "freeze", "observe", "opset", "open_sizes"),
    *("layout", "trust_model", "architecture", "assume", "engine", "explicit", "modernize"),
    *("allow_unverified", "input_shape", "timeout", "memory_limit", "provider"),
)
"""The options that an audit trail tells."""


def _target(model: Path, output: Path | None, in_place: bool, word: str) -> Path:
    from padaudit.rewriting.run import default_target

    if in_place and output is not None:
        raise UsageError("--in-place and --output exclude each other")
    target = model if in_place else output or default_target(model, word)
    if not in_place and is_one_of(target, [model]):
        raise UsageError(f"{target} is the input itself; use --in-place to replace it")
    return target


def _show_plan(model: Path, target: Path, how: Options, as_json: bool) -> int:
    from padaudit.rewriting.run import plan_file

    result = plan_file(model, target, how)
    if as_json:
        from padaudit.report.jsonable import dumps, rewrite_json

        deliver(dumps(rewrite_json(result)), None)
        return 0
    from padaudit.report.text import edit_lines

    show(edit_lines(result))
    edits, kept = len(result.plan.edits), len(result.plan.kept)
    remark(f"{edits} would be rewritten, {kept} kept; nothing was written.")
    return 0


def _report(result: RewriteResult, how: Options, as_json: bool, verbose: bool) -> int:
    if as_json:
        from padaudit.report.jsonable import dumps, rewrite_json

        deliver(dumps(rewrite_json(result)), None)
    else:
        from padaudit.report.text import rewrite_report

        show(rewrite_report(result, verbose))
    if result.written and how.verify == "none":
        remark("The result is unverified: no proof was asked for.")
    proven = result.verification.status is Status.EQUIVALENT
    return 0 if proven or result.written else 1
