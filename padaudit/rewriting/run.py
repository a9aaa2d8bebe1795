"""The whole way of a rewrite: read, plan, apply, write aside, prove, and only then rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from padaudit.audit.sites import find_sites
from padaudit.errors import InputError, UsageError
from padaudit.formats.atomic import staged
from padaudit.formats.detect import build_graph, read_document
from padaudit.formats.document import Document
from padaudit.formats.guard import well_formed
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.graph import Graph
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Applied, Edit, Plan
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.strategies import STRATEGIES
from padaudit.verification.evidence import Status, Verification

SUFFIXES: Final = {
    "keras-h5": frozenset({".h5", ".hdf5", ".onnx"}),
    "keras-v3": frozenset({".keras", ".onnx"}),
    "onnx": frozenset({".onnx"}),
}
"""The output suffixes that each input format can be written to."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to rewrite.

    Parameters
    ----------
    style : str
        ``pad`` (a padding operator in front) or ``attrs`` (ONNX ``pads`` attribute).
    verify : str
        ``auto`` (all levels that can run here), ``site``, ``model`` (must run) or ``none``.
    input_shapes : InputShapes
        Sizes that the user fixes.
    allow_unverified : bool
        Write even if no proof could be run.
    timeout : float
        Seconds for each process of the proof.
    """

    style: str = "pad"
    verify: str = "auto"
    input_shapes: InputShapes = field(default_factory=InputShapes)
    allow_unverified: bool = False
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that was read: document, graph and sites belong together."""

    document: Document
    graph: Graph
    sites: tuple[PaddingSite, ...]


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """What a rewrite did.

    Parameters
    ----------
    source, target : Path
        Input and output.
    written : bool
        Whether the output is there.
    plan : Plan
        What was rewritten and what was kept.
    created : dict
        Name of the padding operator by site id.
    verification : Verification
        What was proven.
    """

    source: Path
    target: Path
    written: bool
    plan: Plan
    created: dict[str, str]
    verification: Verification


def load(path: Path, input_shapes: InputShapes) -> Loaded:
    """Read a model and find its sites.

    Raises
    ------
    InputError
        If the file can't be used.
    UsageError
        If an input shape does not fit.
    """
    return loaded(read_document(path), input_shapes)


def loaded(document: Document, input_shapes: InputShapes) -> Loaded:
    """Build the graph of a document and find its sites."""
    with well_formed(document.path):
        graph = build_graph(document, input_shapes)
        return Loaded(document, graph, find_sites(graph))


def apply_plan(document: Document, plan: Plan) -> Applied:
    """Return the document with all edits of a plan made.

    Raises
    ------
    ValueError
        If the plan mixes strategies (plans of `make_plan` do not).
    """
    names = {edit.strategy for edit in plan.edits}
    if not names:
        return Applied(document)
    (name,) = names
    return STRATEGIES[name].apply(document, plan.edits)


def default_target(source: Path) -> Path:
    """Return ``NAME.explicit.SUFFIX`` beside the input.

    >>> default_target(Path("models/m.h5")).as_posix()
    'models/m.explicit.h5'
    """
    return source.with_name(f"{source.stem}.explicit{source.suffix}")


def check_target(model: Loaded, source: Path, target: Path, style: str) -> None:
    """Refuse outputs that the model's format can't be written to.

    Raises
    ------
    UsageError
        If the suffix does not fit the format, or the style does not fit the suffix.
    """
    allowed = SUFFIXES[model.document.format]
    if target.suffix.lower() not in allowed and target.suffix != source.suffix:
        raise UsageError(
            f"{source} ({model.document.format}) can be written as {', '.join(sorted(allowed))}, "
            f"not as '{target.name}'"
        )
    if style == "attrs" and target.suffix != ".onnx" and model.document.format != "onnx":
        raise UsageError(
            "--style attrs is a form of ONNX; write to a .onnx file, or use --style pad"
        )


def rewrite_file(source: Path, target: Path, options: Options) -> RewriteResult:
    """Make a model's implicit padding explicit, prove it, and write it.

    The output appears only if the proof's verdict allows it; the input is not touched.

    Raises
    ------
    InputError
        If the model can't be read, translated or written.
    UsageError
        If the options do not fit the model.
    MissingDependencyError
        If Keras is to be translated to ONNX and the packages for it are missing.
    """
    model = load(source, options.input_shapes)
    check_target(model, source, target, options.style)
    if model.document.format != "onnx" and target.suffix == ".onnx":
        from padaudit.rewriting.translate import rewrite_translated

        return rewrite_translated(model, source, target, options)
    plan = make_plan(model.document, model.sites, options.style)
    applied = apply_plan(model.document, plan)
    with tempfile.TemporaryDirectory(prefix="padaudit-") as scratch:
        aside = aside_path(model.document, target, Path(scratch))
        try:
            write_document(applied.document, plan.edits, aside, target.parent)
            verification = _prove(model, aside, plan, options)
            written = allows_writing(verification, options)
            if written:
                publish(aside, target)
        finally:
            aside.unlink(missing_ok=True)
    return RewriteResult(source, target, written, plan, applied.created, verification)


def aside_path(document: Document, target: Path, scratch: Path) -> Path:
    """Return where an output is written until it is proven.

    That is a scratch folder, where even a killed run leaves nothing beside the target;
    but onnxruntime finds external data only beside the model.
    """
    from padaudit.formats.onnx.document import OnnxDocument, external_tensors

    if isinstance(document, OnnxDocument) and any(external_tensors(document.model)):
        return target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    return scratch / f"rewritten{target.suffix}"


def write_document(document: Document, edits: tuple[Edit, ...], aside: Path, home: Path) -> None:
    """Write a document beside the way, to be moved into the folder ``home``.

    Without an edit the file is a byte for byte copy of the input.
    """
    from padaudit.formats.onnx.document import OnnxDocument

    if not edits and document.path is not None:
        shutil.copyfile(document.path, aside)
    elif isinstance(document, OnnxDocument):
        from padaudit.formats.onnx.write import write_onnx

        write_onnx(document, aside, home)
    else:
        from padaudit.formats.keras.write import write_keras

        write_keras(document, aside)  # type: ignore[arg-type]


def publish(aside: Path, target: Path) -> None:
    """Put a finished file in its place, in one step.

    Raises
    ------
    InputError
        If the target's folder can't be written.
    """
    try:
        with staged(target) as partial:
            shutil.copyfile(aside, partial)
    except OSError as error:
        cause = f"the output can't be written ({error.strerror or error})"
        raise InputError(target, cause, "check the folder and the space left") from error


def allows_writing(verification: Verification, options: Options) -> bool:
    """Tell whether a verdict lets the output be written."""
    if verification.status is Status.EQUIVALENT or options.verify == "none":
        return True
    return verification.status is Status.UNVERIFIED and options.allow_unverified


def _prove(model: Loaded, aside: Path, plan: Plan, options: Options) -> Verification:
    if options.verify == "none":
        return Verification(Status.UNVERIFIED, reason="no proof was asked for (--verify none)")
    from padaudit.verification.proof import prove_rewrite

    return prove_rewrite(model, aside, plan, options)
