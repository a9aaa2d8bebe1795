"""Files of arrays that users give: read without unpickling, and fitted to a model's inputs."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from padaudit.errors import InputError
from padaudit.verification.inputs import InputSpec, element_type

Array = NDArray[Any]
MAX_BYTES: Final = 4 << 30
"""How much the arrays of a file may take in memory."""
_SAVE: Final = "write it with numpy.savez"


def load_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a ``.npz`` file by name; that of a ``.npy`` file has an empty one.

    Raises
    ------
    InputError
        If the file can't be read, holds anything but arrays of numbers and text, or is too large.
    """
    try:
        _refuse_large(path)
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, NpzFile):
            return {"": stored}
        with stored:
            found = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "check the path") from error
    except IsADirectoryError as error:
        raise InputError(path, "it is a folder", "name a file of arrays") from error
    except MemoryError as error:
        raise InputError(path, "its arrays do not fit into memory", "give fewer samples") from error
    except _UNREADABLE as error:
        raise InputError(path, _cause(error), _SAVE) from error
    alien = next((name for name, array in found.items() if not isinstance(array, np.ndarray)), None)
    if alien is not None:
        raise InputError(path, f"'{alien}' in it is no array", _SAVE)
    return found


_UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, AttributeError, EOFError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, TypeError),
)
"""What numpy and zipfile raise for damaged files."""


def _refuse_large(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        size = path.stat().st_size
    else:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        cause = f"its arrays take {size / 2**30:.1f} GiB, and {MAX_BYTES >> 30} GiB are the most"
        raise InputError(path, cause, "give fewer samples")


def _cause(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".;") or type(error).__name__
    if "allow_pickle" in text:
        return "it is no file of arrays, or holds Python objects, which are never loaded"
    return f"it is no file of arrays, or damaged ({text})"


def fitted(path: Path, array: Array, spec: InputSpec) -> Array:
    """Return an array as a model's input takes it.

    Numbers are converted where that keeps them (whole ones to floats, float64 to float32).

    Raises
    ------
    InputError
        If its rank, sizes or type do not fit, or it holds NaN.
    """
    wanted = spec.shape[1:]
    fits = array.ndim == len(spec.shape) and all(
        not isinstance(size, int) or size == given
        for size, given in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits:
        sizes = ", ".join(str(size or "?") for size in spec.shape)
        cause = f"its array for '{spec.name}' has the shape {array.shape}, the input ({sizes})"
        raise InputError(path, cause, "give samples as the model takes them")
    return _converted(path, array, spec)


def _converted(path: Path, array: Array, spec: InputSpec) -> Array:
    try:
        target = element_type(spec.dtype)
    except TypeError as error:
        cause = f"the model's input '{spec.name}' holds {spec.dtype} elements"
        raise InputError(path, cause, "such values can't be given in a file") from error
    if array.dtype.kind == "V" and target.kind == "V" and array.itemsize == target.itemsize:
        return array.view(target)  # numpy's files know no bfloat16
    numbers = array.dtype.kind in "iufb" or array.dtype.kind == target.kind == "c"
    if not (numbers if target.kind != "U" else array.dtype.kind in "US"):
        cause = f"its array for '{spec.name}' is {array.dtype.name}, the input {spec.dtype}"
        raise InputError(path, cause, "give values of that type")
    nan = np.argwhere(np.isnan(array)).tolist() if array.dtype.kind == "f" else []
    if nan:
        place = tuple(nan[0])
        cause = f"its array for '{spec.name}' holds NaN, first at {place}"
        raise InputError(path, cause, "take it out: it spreads, and hides what differs")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(target)
    if _kept(array, converted):
        return converted
    cause = f"its array for '{spec.name}' ({array.dtype.name}) has values that {target} can't hold"
    raise InputError(path, cause, "give values of the input's type")


def _kept(before: Array, after: Array) -> bool:
    """Tell whether a conversion kept what numbers there are, but for the rounding of floats."""
    if before.dtype.kind not in "iufb" or after.dtype.kind == "U":
        return True
    if after.dtype.kind in "iub":
        return bool((after.astype(before.dtype) == before).all())
    return bool((np.isfinite(after.astype(np.float64)) == np.isfinite(before)).all())
