"""The evidence of a verdict as a file (``padaudit.evidence/1``): what an audit asks for."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from padaudit import __version__
from padaudit.errors import InputError, UsageError
from padaudit.formats.atomic import is_one_of, staged
from padaudit.formats.detect import read_document
from padaudit.report.jsonable import dumps, error_map_json, rewrite_json, verification_json
from padaudit.report.what_if import what_if_json
from padaudit.verification.evidence import Verification
from padaudit.verification.inputs import DESCRIPTIONS
from padaudit.verification.model_level import KINDS, SEED

if TYPE_CHECKING:
    from padaudit.rewriting.run import RewriteResult
    from padaudit.verification.what_if import WhatIf

EVIDENCE_SCHEMA: Final = "padaudit.evidence/1"
_PACKAGES: Final = ("numpy", "onnx", "onnxruntime", "h5py")
_KERAS_PACKAGES: Final = ("keras", "tensorflow", "tf_keras", "tf2onnx")


def check_evidence_path(
    path: Path | None, models: Sequence[Path], inputs: Path | None = None
) -> None:
    """Refuse a file that can't be written, before anything is run.

    Raises
    ------
    UsageError
        If its folder does not exist, or it is one of the models or the user's inputs.
    """
    if path is None:
        return
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--evidence {path}: there is no folder {path.absolute().parent}")
    if path.is_dir():
        raise UsageError(f"--evidence {path} is a folder; name a file")
    if is_one_of(path, models):
        raise UsageError(f"--evidence {path} is a model; write to another file")
    if inputs is not None and is_one_of(path, [inputs]):
        raise UsageError(f"--evidence {path} is what --inputs names; write to another file")


ModelFile = Mapping[str, Any]
"""A model's path, hash, size and format, and the same of its external data."""


def verify_evidence(
    models: Mapping[str, ModelFile],
    verification: Verification,
    options: Mapping[str, Any],
    inputs: Path | None = None,
) -> dict[str, Any]:
    """Return the evidence of a comparison of the models ``a`` and ``b``."""
    return _trail("verify", models, verification, options, inputs)


def rewrite_evidence(
    original: ModelFile,
    result: RewriteResult,
    options: Mapping[str, Any],
    inputs: Path | None = None,
) -> dict[str, Any]:
    """Return the evidence of a rewrite; an output that was not written has no hash.

    Parameters
    ----------
    original : Mapping
        The input as it was before the rewrite, which may have replaced it.
    result : RewriteResult
        What was done.
    options : Mapping
        What was asked for.
    inputs : Path, optional
        The user's own inputs, which the models were run on too.
    """
    output = model_file(result.target) if result.written else None
    models = {"input": original, "output": output}
    trail = _trail("rewrite", models, result.verification, options, inputs)
    told = rewrite_json(result)
    return {**trail, **{key: told[key] for key in ("written", "rewritten", "kept")}}


def what_if_evidence(
    model: ModelFile, result: WhatIf, options: Mapping[str, Any], inputs: Path | None = None
) -> dict[str, Any]:
    """Return the evidence of a measurement of other padding: what was run, and all figures.

    Parameters
    ----------
    model : Mapping
        The model.
    result : WhatIf
        What was measured.
    options : Mapping
        What was asked for.
    inputs : Path, optional
        The user's own inputs, on which it was measured.
    """
    kinds = () if inputs else ("random", "border")
    base = _base("verify --what-if", {"a": model}, options, inputs, kinds)
    told = what_if_json(result)
    given = {**base["inputs"], "origin": told["inputs"]}
    own = {key: told[key] for key in told if key not in ("schema", "version", "a")}
    return {**base, **own, "inputs": given}


def model_file(path: Path) -> ModelFile:
    """Return the hash of a model and of the files that hold its data.

    Raises
    ------
    InputError
        If it can't be read.
    """
    try:
        document = read_document(path)
    except InputError:
        if not path.is_file():
            raise
        # A file of weights has no definition of its own; its bytes count all the same.
        return {**_file(path), "format": None, "external_data": []}
    data = sorted({item.location for item in getattr(document, "data_files", ())})
    return {
        **_file(path),
        "format": document.format,
        "external_data": [_file(path.parent / name) for name in data],
    }


def write_evidence(path: Path, trail: Mapping[str, Any]) -> None:
    """Write a file of evidence, whole or not at all.

    Raises
    ------
    InputError
        If it can't be written.
    """
    try:
        with staged(path) as temporary:
            temporary.write_text(dumps(trail) + "\n", "utf-8", "backslashreplace")
    except OSError as error:
        cause = f"the evidence can't be written ({error.strerror or error})"
        raise InputError(path, cause, "check the folder") from error


def _trail(
    command: str,
    files: Mapping[str, ModelFile | None],
    verification: Verification,
    options: Mapping[str, Any],
    inputs: Path | None,
) -> dict[str, Any]:
    kinds = KINDS if inputs is None or command == "rewrite" else ()
    verdict = verification_json(verification)
    for told, item in zip(verdict["evidence"], verification.evidence, strict=True):
        told["setup"] = dict(item.setup)
    told_of = {**verdict, "error_map": error_map_json(verification.error_map)}
    return {**_base(command, files, options, inputs, kinds), "verification": told_of}


def _base(
    command: str,
    files: Mapping[str, ModelFile | None],
    options: Mapping[str, Any],
    inputs: Path | None,
    kinds: Sequence[str],
) -> dict[str, Any]:
    """Return what every trail holds: what was asked for, of which files, and what ran it."""
    formats = {entry["format"] for entry in files.values() if entry}
    names = _PACKAGES if formats == {"onnx"} else (*_PACKAGES, *_KERAS_PACKAGES)
    return {
        "schema": EVIDENCE_SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "options": {
            key: str(value) if isinstance(value, Path) else value for key, value in options.items()
        },
        "models": dict(files),
        "versions": {"padaudit": __version__, **_versions(names)},
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        },
        "inputs": {
            "seed": SEED,
            "kinds": {kind: DESCRIPTIONS[kind] for kind in kinds},
            "file": _file(inputs) if inputs else None,
        },
    }


def _versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of packages as they are installed; None for those that are not."""
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path), "sha256": digest, "bytes": path.stat().st_size}
