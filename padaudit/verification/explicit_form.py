"""What of a model can be trusted to onnxruntime: itself, or its proven explicit form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from padaudit.verification.evidence import Status
from padaudit.verification.known_errors import onnxruntime_errs, refused_by_onnxruntime

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded


@dataclass(frozen=True, slots=True)
class Runnable:
    """A model as it is to be run.

    Parameters
    ----------
    model : Loaded
        The model, or its explicit form.
    path : Path
        Its file.
    scratch : Path
        A folder for what belongs to its runs.
    note : str
        Why it is not run as it is, one clause; else empty.
    """

    model: Loaded
    path: Path
    scratch: Path
    note: str = ""


def runnable(model: Loaded, scratch: Path, timeout: float) -> Runnable | str:
    """Return a model as it can be run rightly, or why it can't be.

    Where onnxruntime is known to miscompute or refuse an operator's ``auto_pad``, that is
    made explicit, each operator proven against the numpy oracle.
    """
    path = model.document.path or scratch
    wrong = _wrong(model)
    if model.document.format != "onnx" or not wrong:
        return Runnable(model, path, scratch)
    from padaudit.formats.shape_options import InputShapes
    from padaudit.rewriting.options import Options
    from padaudit.rewriting.run import load, rewrite_file

    target = scratch / "explicit.onnx"
    options = Options(verify="site", timeout=timeout, copy_data=True)
    result = rewrite_file(path, target, options)
    if result.written and result.verification.status is Status.EQUIVALENT:
        explicit = load(target, InputShapes())
        if not _wrong(explicit):
            note = f"{path} was run with its padding made explicit, as {wrong}"
            return Runnable(explicit, target, scratch, note)
    reason = result.verification.reason or "its padding can't be made explicit"
    return f"{path} can't be run rightly: {wrong}; {reason}"


def _wrong(model: Loaded) -> str:
    """Return what onnxruntime does wrong on a model, one clause; empty if nothing is known."""
    for site in model.sites:
        reason = onnxruntime_errs(site)
        if reason is not None:
            return reason
        if refused_by_onnxruntime(site):
            return f"onnxruntime refuses auto_pad with the dilation of '{site.id}'"
    return ""
