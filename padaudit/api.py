"""The Python API: check, rewrite, explicit and verify, on files or on models in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from padaudit.audit.check import ModelReport, check_document
from padaudit.audit.selection import Selection
from padaudit.errors import UsageError
from padaudit.formats.assumptions import Assumed, Assumptions, parse_assumed
from padaudit.formats.detect import read_document
from padaudit.formats.document import Document
from padaudit.formats.keras.ask import ENGINES, KERAS, require_trust
from padaudit.formats.shape_options import InputShapes, ShapeOption
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import AUTO
from padaudit.rewriting.run import Loaded, RewriteResult, default_target, loaded, rewrite_file

if TYPE_CHECKING:
    from padaudit.verification.backends import BackendReport
    from padaudit.verification.evidence import Verification

AnyPath = str | PathLike[str]
Shapes = dict[str, ShapeOption] | ShapeOption | None
Assumes = Mapping[str, str | ShapeOption] | None
_Model = TypeVar("_Model")


class RewriteKeywords(TypedDict, total=False):
    """Keywords of `rewrite`; their meaning and defaults are those of `Options`."""

    style: str
    verify: str
    allow_unverified: bool
    timeout: float
    freeze: bool
    observe: bool
    opset: int | None
    hoist: str | None
    copy_data: bool
    open_sizes: str
    architecture: Path | None
    layout: str
    trust_model: bool
    memory_mb: int | None
    explicit: bool
    modernize: bool
    inputs: Path | None
    provider: str | None


def load(model: Any, input_shapes: Shapes = None, *, assume: Assumes = None) -> Loaded:
    """Read a model: its document, graph (networkx) and padding sites.

    Parameters
    ----------
    model : path, keras.Model or onnx.ModelProto
        What to read.
    input_shapes : tuple or dict, optional
        Shape of the only input, or shapes by input name, batch axis first.
    assume : dict, optional
        Keras: output shapes of custom layers and Lambdas by their name or class: ``"same"``,
        or the sizes behind the batch axis, as a string (``"56x56x64"``, ``?`` for an open
        one) or a tuple.

    Raises
    ------
    InputError
        If the file can't be used.
    """
    sizes = _sizes(input_shapes, assume)
    found = loaded(_document(model), sizes)
    sizes.assumed.require(found.graph.assumed, str(found.document.path or "the model"))
    return found


def check(
    model: Any,
    input_shapes: Shapes = None,
    *,
    architecture: AnyPath | None = None,
    assume: Assumes = None,
    engine: str = "padaudit",
    trust_model: bool = False,
    timeout: float = 600.0,
) -> ModelReport:
    """Audit the padding of a model.

    Parameters
    ----------
    model : path, keras.Model or onnx.ModelProto
        What to audit; nothing of it is run, but by ``engine="keras"``.
    input_shapes : tuple or dict, optional
        Shape of the only input, or shapes by input name, batch axis first.
    architecture : path, optional
        The definition that a file of weights alone is of.
    assume : dict, optional
        Keras: output shapes of custom layers and Lambdas by their name or class: ``"same"``,
        or the sizes behind the batch axis, as a string (``"56x56x64"``, ``?`` for an open
        one) or a tuple.
    engine : {"padaudit", "keras"}
        Where the sizes of Keras models come from: the definition alone, or Keras itself, which
        loads the file and runs whatever code it holds; that needs ``trust_model``.
    trust_model : bool
        Whether that may be done.
    timeout : float
        Seconds that Keras may take.

    Returns
    -------
    ModelReport
        ``sites`` (every padded operator) and ``findings`` (what the rules say).

    Raises
    ------
    InputError
        If the file can't be used, or Keras can't load it.
    UsageError
        If the engine is none, or Keras is to load a model that is not trusted, or in no file.
    MissingDependencyError
        If Keras is to be asked and is not installed.
    """
    document = _document(model, architecture)
    name = str(document.path or type(model).__name__)
    sizes = replace(_sizes(input_shapes, assume), timeout=timeout)
    sizes = _by_engine(sizes, engine, trust_model, document)
    report = check_document(document, sizes, Selection(), name)
    sizes.assumed.require(report.assumed, name)
    return report


def rewrite(
    source: AnyPath,
    target: AnyPath | None = None,
    *,
    input_shapes: Shapes = None,
    assume: Assumes = None,
    families: Iterable[str] | None = None,
    engine: str = "padaudit",
    **how: Unpack[RewriteKeywords],
) -> RewriteResult:
    """Write a model file with its implicit padding made explicit, and prove it.

    Parameters
    ----------
    source : path
        A Keras or ONNX file.
    target : path, optional
        Where to write; the suffix chooses the format. Default ``NAME.explicit.SUFFIX``.
    input_shapes : tuple or dict, optional
        Shape of the only input, or shapes by input name, batch axis first.
    assume : dict, optional
        Keras: output shapes of custom layers and Lambdas by their name or class: ``"same"``,
        or the sizes behind the batch axis, as a string (``"56x56x64"``, ``?`` for an open
        one) or a tuple.
    families : iterable of str, optional
        The families of operators to rewrite (``conv``, ``max_pool``, ...); default all.
    engine : {"padaudit", "keras"}
        Where the sizes of Keras models come from, as in `check`.
    **how
        See `RewriteKeywords`; each is an option of the command line too.

    Returns
    -------
    RewriteResult
        ``written`` tells whether the output is there; ``verification`` says why.

    Raises
    ------
    InputError, UsageError, MissingDependencyError
        See `padaudit.rewriting.run.rewrite_file`.
    """
    chosen = None if families is None else frozenset(families)
    sizes = _by_engine(_sizes(input_shapes, assume), engine, how.get("trust_model", False))
    sizes = replace(sizes, timeout=how.get("timeout", sizes.timeout))
    options = Options(input_shapes=sizes, families=chosen, **how)
    path = Path(source)
    return rewrite_file(
        path,
        Path(target) if target else default_target(options.definition(path), options.word),
        options,
    )


def explicit(
    model: _Model, *, style: str = AUTO, input_shapes: Shapes = None, assume: Assumes = None
) -> _Model:
    """Return a model in memory with its implicit padding made explicit.

    The step before an export, in one line: ``model = padaudit.explicit(model)``.

    Parameters
    ----------
    model : keras.Model or onnx.ModelProto
        It is not changed. A Keras model must be functional or sequential.
    style : {"auto", "pad", "attrs"}
        ONNX only: a Pad node in front, the ``pads`` attribute, or either, whichever costs
        nothing in onnxruntime.
    input_shapes : tuple or dict, optional
        Shape of the only input, or shapes by input name, batch axis first.
    assume : dict, optional
        Keras: output shapes of custom layers and Lambdas by their name or class: ``"same"``,
        or the sizes behind the batch axis, as a string (``"56x56x64"``, ``?`` for an open
        one) or a tuple.

    Returns
    -------
    keras.Model or onnx.ModelProto
        A new model; a Keras model has the weights, and is compiled if the given one is.

    Raises
    ------
    UsageError
        If the model is of another type.
    """
    from padaudit.rewriting.plan import make_plan

    read = load(model, input_shapes, assume=assume)
    wishes = Options(style).wishes
    plan = make_plan(read.document, read.sites, style, wishes, read.graph)
    document = apply_plan(read.document, plan, read.graph).document
    if read.document.format == "onnx":
        return document.model  # type: ignore[no-any-return]
    from padaudit.formats.keras.live import rebuilt

    return rebuilt(model, document.config)


def verify(
    a: AnyPath,
    b: AnyPath,
    *,
    input_shapes: Shapes = None,
    rtol: float | None = None,
    atol: float | None = None,
    timeout: float = 600.0,
    inputs: AnyPath | None = None,
    memory_mb: int | None = None,
    provider: str | None = None,
) -> Verification:
    """Run two model files on the same inputs and compare their outputs.

    Parameters
    ----------
    a, b : path
        Keras or ONNX files (Keras ones need the ``keras`` extra).
    input_shapes : tuple or dict, optional
        Shape of the only input, or shapes by input name, batch axis first.
    rtol, atol : float, optional
        Tolerances; exact by default for two models of one format.
    timeout : float
        Seconds for one run of a model.
    inputs : path, optional
        A ``.npz`` file of arrays by the names of the first model's inputs.
    memory_mb : int, optional
        Memory of a run in onnxruntime, in MiB.
    provider : str, optional
        The execution provider that onnxruntime runs models on (``"cuda"``); the CPU's by default.
    """
    from padaudit.verification.model_level import Tolerance
    from padaudit.verification.pair import verify_files
    from padaudit.verification.runner import Limits

    given = rtol is not None or atol is not None
    tolerance = Tolerance(rtol or 0.0, atol or 0.0) if given else None
    limits = Limits(timeout, memory_mb)
    given_inputs = None if inputs is None else Path(inputs)
    return verify_files(
        Path(a), Path(b), _shapes(input_shapes), tolerance, limits, given_inputs, provider
    )


def verify_backends(
    model: AnyPath,
    backends: Iterable[str] = ("all",),
    *,
    input_shapes: Shapes = None,
    rtol: float | None = None,
    atol: float | None = None,
    timeout: float = 600.0,
    memory_mb: int | None = None,
) -> BackendReport:
    """Run a Keras file on several Keras backends, as it is and with its padding explicit.

    Parameters
    ----------
    model : path
        A Keras file.
    backends : iterable of str
        ``tensorflow``, ``torch``, ``jax``, ``numpy``, or ``all`` (those that are installed).
        Each runs in a process of its own; the first is the reference.
    input_shapes : tuple or dict, optional
        Shape of the only input, or shapes by input name, batch axis first.
    rtol, atol : float, optional
        Tolerances, 1e-4 by default; ``rtol`` is relative to an output's largest magnitude.
    timeout : float
        Seconds for one backend.
    memory_mb : int, optional
        Memory of one backend, in MiB.

    Raises
    ------
    InputError, UsageError, MissingDependencyError
        See `padaudit.verification.backends.compare_backends`.
    """
    from padaudit.verification.backends import compare_backends
    from padaudit.verification.model_level import Tolerance
    from padaudit.verification.runner import Limits

    given = rtol is not None or atol is not None
    tolerance = Tolerance(rtol or 0.0, atol or 0.0) if given else None
    limits, shapes = Limits(timeout, memory_mb), _shapes(input_shapes)
    return compare_backends(Path(model), tuple(backends), shapes, tolerance, limits)


def _document(model: Any, architecture: AnyPath | None = None) -> Document:
    if isinstance(model, str | PathLike):
        return read_document(Path(model), Path(architecture) if architecture else None)
    if type(model).__name__ == "ModelProto":
        from padaudit.formats.onnx.document import OnnxDocument

        return OnnxDocument(None, model)
    if hasattr(model, "to_json") and hasattr(model, "get_config"):
        from padaudit.formats.keras.container import KerasDocument

        return KerasDocument(None, "keras-json", json.loads(model.to_json()), _keras_version())
    raise UsageError(
        f"a {type(model).__name__} is no model that padaudit knows; "
        "give a path, a keras.Model or an onnx.ModelProto"
    )


def _by_engine(
    sizes: InputShapes, engine: str, trusted: bool, document: Document | None = None
) -> InputShapes:
    """Let an engine tell sizes.

    Raises
    ------
    UsageError
        If there is no such engine, or Keras is to load a model that is not trusted, or in no
        file.
    """
    if engine not in ENGINES:
        raise UsageError(f"the engine is one of {', '.join(ENGINES)}, not '{engine}'")
    require_trust(engine, trusted)
    if document is not None and document.path is None and engine == KERAS:
        raise UsageError("Keras is asked of models in files; give a path")
    return replace(sizes, engine=engine)


def _keras_version() -> str:
    import keras

    return str(keras.__version__)


def _sizes(input_shapes: Shapes, assume: Assumes) -> InputShapes:
    assumed: dict[str, Assumed] = {
        name: parse_assumed(shape, f"assume {name}") if isinstance(shape, str) else tuple(shape)
        for name, shape in (assume or {}).items()
    }
    return replace(_shapes(input_shapes), assumed=Assumptions(assumed))


def _shapes(given: Shapes) -> InputShapes:
    if given is None:
        return InputShapes()
    return InputShapes(given if isinstance(given, dict) else {"": tuple(given)})
