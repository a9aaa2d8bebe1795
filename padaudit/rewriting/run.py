"""The whole way of a rewrite: read, plan, apply, write aside, prove, and only then rename."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from padaudit.audit.definition import definition_findings
from padaudit.audit.findings import Finding
from padaudit.audit.sites import find_sites
from padaudit.errors import UsageError
from padaudit.formats.detect import build_graph, is_saved_model, read_document
from padaudit.formats.document import Document
from padaudit.formats.guard import well_formed
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Shape
from padaudit.ir.graph import Graph
from padaudit.ir.site import PaddingSite
from padaudit.ir.tensor import TensorInfo
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.edit import Applied, Kept, Plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.output import output
from padaudit.rewriting.plan import make_plan
from padaudit.rules.schema import Fix
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.providers import using

SUFFIXES: Final = {
    "keras-h5": frozenset({".h5", ".hdf5", ".onnx"}),
    "keras-v3": frozenset({".keras", ".onnx"}),
    "keras-json": frozenset({".json"}),
    "tfjs-layers": frozenset({".json"}),
    "onnx": frozenset({".onnx"}),
}
"""The output suffixes that each input format can be written to."""

_NOT_ASKED: Final = "it was not asked for (--explicit)"


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
    frozen : dict
        Types that were written into inputs, by name.
    modernized : tuple of Finding, or None
        What stopped Keras 3; what has a fix was repaired. None if it was not asked for.
    """

    source: Path
    target: Path
    written: bool
    plan: Plan
    created: dict[str, str]
    verification: Verification
    frozen: Mapping[str, TensorInfo] = field(default_factory=dict)
    modernized: tuple[Finding, ...] | None = None


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


def loaded(
    document: Document, input_shapes: InputShapes, observed: Mapping[str, Shape] | None = None
) -> Loaded:
    """Build the graph of a document and find its sites.

    Parameters
    ----------
    document : Document
        The model's definition.
    input_shapes : InputShapes
        Sizes that the user fixes.
    observed : Mapping, optional
        Shapes that a run of the model showed, by tensor.
    """
    with well_formed(document.path):
        graph = build_graph(document, input_shapes, observed)
        return Loaded(document, graph, find_sites(graph))


def default_target(source: Path, word: str = "explicit") -> Path:
    """Return ``NAME.explicit.SUFFIX`` beside the input (or another word in its place).

    >>> default_target(Path("models/m.h5")).as_posix()
    'models/m.explicit.h5'
    """
    if is_saved_model(source):
        return source.parent / f"{source.name}.{word}.onnx"
    return source.parent / f"{source.stem}.{word}{source.suffix}"


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
            f"not as '{target.name}'; name the output with -o"
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
    options.validate()
    with using(options.provider):
        return _rewritten(source, target, options)


def _rewritten(source: Path, target: Path, options: Options) -> RewriteResult:
    model = prepared(source, options, target)
    options.input_shapes.assumed.require(model.graph.assumed, str(source))
    check_target(model, options.definition(source), target, options.style)
    _check_inputs(model, options)
    if model.document.format != "onnx" and target.suffix == ".onnx":
        from padaudit.rewriting.translate import rewrite_translated

        return rewrite_translated(model, source, target, options)
    plan, applied, frozen = planned(model, options)
    with output(applied.document, model.document, target, options) as aside:
        verification = _prove(model, aside.path, plan, options)
        written = allows_writing(verification, options)
        if written:
            aside.publish()
    repaired = obstacles(source, options, applied.document)
    return RewriteResult(
        source, target, written, plan, applied.created, verification, frozen, repaired
    )


def _check_inputs(model: Loaded, options: Options) -> None:
    """Refuse inputs of the user's that do not fit, before any work is done."""
    if options.inputs is None:
        return
    from padaudit.compare.engine import specs_of
    from padaudit.verification.samples import own_feeds

    own_feeds(options.inputs, specs_of(model, options.input_shapes))


def plan_file(source: Path, target: Path, options: Options) -> RewriteResult:
    """Tell what a rewrite would do; nothing is proven, and nothing written.

    Raises
    ------
    InputError
        If the model can't be read.
    UsageError
        If the options do not fit the model.
    """
    options.validate()
    model = prepared(source, options, target)
    if model.document.format != "onnx" and target.suffix == ".onnx":
        from padaudit.rewriting.translate import rewrite_translated

        return rewrite_translated(model, source, target, replace(options, verify="none"), False)
    plan, applied, frozen = planned(model, options)
    nothing = Verification(Status.UNVERIFIED, reason="nothing was written (--diff)")
    repaired = obstacles(source, options, applied.document)
    return RewriteResult(source, target, False, plan, applied.created, nothing, frozen, repaired)


def prepared(source: Path, options: Options, target: Path | None = None) -> Loaded:
    """Read a model as the options want it: converted, and with observed sizes.

    Parameters
    ----------
    source : Path
        The model.
    options : Options
        How to rewrite it.
    target : Path, optional
        The output: what a Keras model can be given depends on its format.

    Raises
    ------
    InputError, UsageError
        See `load`; or if the model can't be converted or run.
    """
    document = _source_document(source, options)
    if document.format != "onnx":
        if target is None or target.suffix != ".onnx":
            _refuse_onnx_options(source, options)
        if options.modernize:
            from padaudit.formats.keras.modern import modernized

            document = modernized(document)  # type: ignore[arg-type]
        return loaded(document, options.input_shapes)
    if options.modernize:
        raise UsageError(f"{source}: --modernize is for Keras models")
    if options.opset is not None:
        from padaudit.formats.onnx.convert import converted

        document = converted(document, options.opset)  # type: ignore[arg-type]
    shapes = replace(options.input_shapes, open_only=True)
    model = loaded(document, shapes)
    if not options.observe:
        return model
    from padaudit.verification.observe import observed_shapes

    seen = observed_shapes(model, shapes, options.timeout)
    return loaded(document, shapes, seen)


def planned(model: Loaded, options: Options) -> tuple[Plan, Applied, Mapping[str, TensorInfo]]:
    """Decide about every site of a model, and make the edits; return the frozen inputs too.

    Raises
    ------
    InputError
        If the model's definition can't be edited.
    UsageError
        If the options do not fit the model.
    """
    with well_formed(model.document.path):
        plan = (
            make_plan(model.document, model.sites, options.style, options.wishes, model.graph)
            if options.explicit
            else Plan((), tuple(Kept(site, _NOT_ASKED) for site in model.sites if site.implicit))
        )
        frozen = frozen_inputs(model, options)
        return plan, apply_plan(model.document, plan, model.graph, frozen), frozen


def obstacles(
    source: Path, options: Options, result: Document | None = None
) -> tuple[Finding, ...] | None:
    """Return what stops Keras 3 from loading a model, if that is to be repaired.

    What is gone from the result has a fix: its padding became explicit.
    """
    if not options.modernize:
        return None
    found = definition_findings(_source_document(source, options))
    if result is None:
        return found
    left = {finding.rule for finding in definition_findings(result)}
    return tuple(
        item if item.fix or item.rule in left else replace(item, fix=_MADE_EXPLICIT)
        for item in found
    )


_MADE_EXPLICIT: Final = Fix("explicit_pad", "safe")


def _source_document(source: Path, options: Options) -> Document:
    """Read a definition; a SavedModel can only be written as ONNX, so it is read as that."""
    if is_saved_model(source):
        from padaudit.formats.keras.saved_model import translated

        return translated(source)
    return read_document(source, options.architecture)


def _refuse_onnx_options(source: Path, options: Options) -> None:
    moved = options.layout if options.layout != "keep" else None
    given = ("--opset", options.opset), ("--hoist", options.hoist), ("--layout", moved)
    for name, value in given:
        if value:
            raise UsageError(f"{source}: {name} is for ONNX output (-o {source.stem}.onnx)")


def frozen_inputs(model: Loaded, options: Options) -> Mapping[str, TensorInfo]:
    """Return the types to write into the model's inputs (``--freeze``)."""
    if not options.freeze:
        return {}
    declared = {name: model.graph.tensor(name) for name in model.graph.inputs}
    given = {name: info for name, info in declared.items() if not info.constant}
    return options.input_shapes.by_name(given, str(model.document.path))


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
