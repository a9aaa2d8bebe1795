"""What of a model can be trusted to onnxruntime: itself, or its proven explicit form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from padaudit.formats.shape_options import InputShapes
from padaudit.verification.accepted import respelled
from padaudit.verification.evidence import Status
from padaudit.verification.known_errors import (
    onnxruntime_errs,
    read_in_two_ways,
    refused_by_onnxruntime,
)

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


def runnable(
    model: Loaded,
    scratch: Path,
    timeout: float,
    sizes: InputShapes | None = None,
    memory_mb: int | None = None,
) -> Runnable | str:
    """Return a model as it can be run rightly, or why it can't be.

    Where onnxruntime is known to miscompute or refuse an operator's ``auto_pad``, that is
    made explicit, each operator proven against the numpy oracle. What it refuses for its
    spelling alone is respelled.

    Parameters
    ----------
    model : Loaded
        The model, read at these sizes.
    scratch : Path
        A folder for what is written.
    timeout : float
        Seconds for a run.
    sizes : InputShapes, optional
        The only sizes that it is to be run at.
    memory_mb : int, optional
        MiB of memory for a run.
    """
    sizes = sizes or InputShapes()
    path = model.document.path or scratch
    if model.document.format != "onnx":
        return Runnable(model, path, scratch)
    accepted, notes = _accepted(model, path, scratch, sizes)
    wrong = wrong_in_onnxruntime(accepted)
    if wrong:
        explicit = _explicit(accepted, scratch / "explicit.onnx", timeout, sizes, memory_mb)
        if isinstance(explicit, str):
            return f"{path} can't be run rightly: {wrong}; {explicit}"
        accepted = explicit
        notes.append(f"the padding of {path} was made explicit to run it, as {wrong}")
    notes += filter(None, map(read_in_two_ways, model.sites))
    return Runnable(accepted, accepted.document.path or path, scratch, "; ".join(notes))


def _accepted(
    model: Loaded, path: Path, scratch: Path, sizes: InputShapes
) -> tuple[Loaded, list[str]]:
    from padaudit.rewriting.run import load

    document: Any = model.document
    target = scratch / "accepted.onnx"
    reason = respelled(document.model, path, target)
    if not reason:
        return model, []
    return load(target, sizes), [f"the spelling of {path} was changed to run it, as {reason}"]


def _explicit(
    model: Loaded, target: Path, timeout: float, sizes: InputShapes, memory_mb: int | None
) -> Loaded | str:
    """Return the proven explicit form of a model, or why there is none."""
    from padaudit.rewriting.options import Options
    from padaudit.rewriting.run import load, rewrite_file

    options = Options(
        verify="site", timeout=timeout, memory_mb=memory_mb, copy_data=True, input_shapes=sizes
    )
    result = rewrite_file(model.document.path or target, target, options)
    if result.written and result.verification.status is Status.EQUIVALENT:
        explicit = load(target, sizes)
        if not wrong_in_onnxruntime(explicit):
            return explicit
    kept = next((item.reason for item in result.plan.kept), "its padding can't be made explicit")
    return result.verification.reason or kept


def wrong_in_onnxruntime(model: Loaded) -> str:
    """Return what onnxruntime does wrong on a model, one clause; empty if nothing is known."""
    found = (onnxruntime_errs(site) or refused_by_onnxruntime(site) for site in model.sites)
    return next(filter(None, found), "")
