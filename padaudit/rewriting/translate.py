"""Keras in, ONNX out: translated with its padding marked, then rewritten as an ONNX model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx

from padaudit.errors import InputError, UsageError
from padaudit.formats.keras.engine import (
    DEFAULT_OPSET,
    How,
    KerasRun,
    Translation,
    require,
    translate_keras,
)
from padaudit.formats.keras.translation.marks import Layout
from padaudit.formats.onnx.document import OnnxDocument, read_onnx
from padaudit.formats.onnx.widen import widened
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open
from padaudit.ir.site import Family
from padaudit.rewriting.options import Options
from padaudit.rewriting.output import publish, write_document
from padaudit.rewriting.run import Loaded, RewriteResult, allows_writing, loaded, obstacles
from padaudit.rewriting.translated import settle
from padaudit.scratch import scratch_folder
from padaudit.verification.evidence import Status
from padaudit.verification.keras_level import (
    Feeds,
    keras_feeds,
    precision,
    run_at_other_sizes,
    run_unmended,
)
from padaudit.verification.translation_proof import TranslationProof

_NEWEST_OPSET: Final = 18
"""The newest that tf2onnx writes; onnx's converter goes on from there."""
_OLDEST_OPSET: Final = 9
_BFLOAT16_OPSET: Final = 22
"""The first whose convolutions and pools take bfloat16."""
_IMAGE_RANKS: Final = (2, 3)
_SUFFIXES: Final = {"keras-h5": ".h5", "keras-v3": ".keras"}
_MENDED: Final = (
    "it is what Keras 3 makes of the mended model; tf-keras, which may compute something else "
    "(a hard sigmoid), did not run the file as it was"
)
_REPAIR: Final = "if Keras 2 wrote it, repair it with --modernize"
_TRUST: Final = "let tf-keras load it with --trust-model (which may run code that the model holds)"
_UNMOVED: Final = frozenset({Family.CONV_LSTM})


def rewrite_translated(
    model: Loaded, source: Path, target: Path, options: Options, write: bool = True
) -> RewriteResult:
    """Rewrite a Keras model into an ONNX file with explicit padding; or only tell how.

    Raises
    ------
    MissingDependencyError
        If tensorflow or tf2onnx is not installed.
    InputError
        If Keras can't load the model, or it has no translation.
    UsageError
        If the opset is out of range.
    """
    require("writing ONNX from a Keras model", legacy=options.trust_model)
    opset = _opset(model, options.opset)
    whole = options.verify not in ("none", "site")
    feeds = keras_feeds(model, options.inputs) if whole else []
    with scratch_folder() as scratch:
        how = _how(model, options, opset)
        values = [list(feed.values()) for feed in feeds]
        file = _loadable(model, source, scratch, options)
        translation = translate_keras(
            file, values, scratch, how, options.timeout, options.memory_mb
        )
        if feeds and translation.loaded and translation.run.outputs is None:
            sized = run_at_other_sizes(model, [file], scratch, options, options.trust_model)
            if sized is not None:
                run, feeds = replace(translation.run, outputs=sized[0][0].outputs), sized[1]
                translation = replace(translation, run=run)
        translated = loaded(_document(source, translation, options, opset), InputShapes())
        settled = settle(model, translated, translation.marks, options)
        aside = scratch / "settled.onnx"
        write_document(settled.applied.document, aside)
        mended = file.parent == scratch
        judge = _unmended(source, translation, feeds, scratch, options) if mended else None
        proof = TranslationProof(
            model, file, translated, settled, translation.marks, aside, how.layout, options
        )
        verification = proof.verdict(judge or translation.run, feeds)
        if mended and judge is None and verification.status is Status.EQUIVALENT:
            verification = replace(verification, status=Status.UNVERIFIED, reason=_MENDED)
        written = write and allows_writing(verification, options)
        if written:
            publish(aside, target)
    return RewriteResult(
        source,
        target,
        written,
        settled.report,
        settled.created,
        verification,
        modernized=obstacles(source, options),
    )


def _loadable(model: Loaded, source: Path, scratch: Path, options: Options) -> Path:
    """Return the file that Keras is to load: the mended one, where that was asked for."""
    suffix = _SUFFIXES.get(model.document.format)
    if not options.modernize or options.trust_model or suffix is None:
        return model.document.path or source
    mended = scratch / f"mended{suffix}"
    write_document(model.document, mended)
    return mended


def _unmended(
    source: Path, translation: Translation, feeds: list[Feeds], scratch: Path, options: Options
) -> KerasRun | None:
    """Return what tf-keras makes of the file as it was; None if it does not run it."""
    run = run_unmended(source, feeds, scratch, options) if feeds else None
    if run is None or run.outputs is None:
        return None
    return replace(translation.run, outputs=run.outputs, runtime=run.runtime)


def runnable_translation(
    model: Loaded, folder: Path, timeout: float, memory_mb: int | None = None
) -> Path | str:
    """Return a Keras model as ONNX that onnxruntime runs rightly; or why there is none.

    It has float32 in the place of bfloat16.

    Parameters
    ----------
    model : Loaded
        A Keras model in a file.
    folder : Path
        Where the translation is written; the caller removes it.
    timeout : float
        Seconds for the translation.
    memory_mb : int, optional
        MiB that its process may take.
    """
    path = model.document.path or folder
    translation = translate_keras(path, [], folder, How(), timeout, memory_mb)
    if translation.onnx is None:
        return translation.error
    if precision(model) == "bfloat16":
        proto = onnx.load(translation.onnx)
        onnx.save(widened(proto) or proto, translation.onnx)
    translated = loaded(read_onnx(translation.onnx), InputShapes())
    settled = settle(model, translated, translation.marks, Options("attrs"))
    target = folder / "explicit.onnx"
    write_document(settled.applied.document, target)
    return target


def _opset(model: Loaded, wanted: int | None) -> int:
    """Return the opset of the output.

    Raises
    ------
    UsageError
        If what was asked for is too old.
    """
    narrow = precision(model) == "bfloat16"
    if wanted is None:
        return _BFLOAT16_OPSET if narrow else DEFAULT_OPSET
    if wanted < _OLDEST_OPSET:
        raise UsageError(
            f"--opset {wanted}: Keras models are translated to {_OLDEST_OPSET} or newer"
        )
    if narrow and wanted < _BFLOAT16_OPSET:
        raise UsageError(
            f"--opset {wanted}: the model computes in bfloat16, which ONNX's convolutions and "
            f"pools take from opset {_BFLOAT16_OPSET} on"
        )
    return wanted


def _how(model: Loaded, options: Options, opset: int) -> How:
    return How(
        min(opset, _NEWEST_OPSET),
        _shapes(model) if options.input_shapes else None,
        _layout(model, options.layout),
        options.trust_model,
    )


def _shapes(model: Loaded) -> list[list[int | None]]:
    shapes = (model.graph.tensor(name).shape or () for name in model.graph.inputs)
    return [[None if isinstance(dim, Open) else dim for dim in shape] for shape in shapes]  # type: ignore[misc]


def _layout(model: Loaded, wanted: str) -> Layout:
    """Return how images are moved: tensors of as many axes as a convolution or pool reads."""
    if wanted == "keep":
        return Layout()
    now, side = (1, "first") if wanted == "nchw" else (2, "last")
    ranks = {
        len(site.spatial_axes) + 2
        for site in model.sites
        if site.family not in _UNMOVED
        and len(site.spatial_axes) in _IMAGE_RANKS
        and site.spatial_axes[0] == now
        and not site.scope
    }
    return Layout(side, tuple(sorted(ranks)))


def _document(source: Path, translation: Translation, options: Options, opset: int) -> OnnxDocument:
    """Return the translation at an opset.

    Raises
    ------
    InputError
        If there is none.
    """
    if translation.onnx is None:
        raise InputError(source, translation.error, _way_out(translation, options))
    document = read_onnx(translation.onnx)
    if opset <= _NEWEST_OPSET:
        return document
    from padaudit.formats.onnx.convert import converted

    return converted(document, opset)


def _way_out(translation: Translation, options: Options) -> str:
    if translation.run.stopped:
        return "raise the limit, or write a Keras file instead (no translation needed)"
    if not translation.loaded and not options.trust_model:
        return _TRUST if options.modernize else f"{_REPAIR}, or {_TRUST}"
    return "write a Keras file instead (no translation needed)"
