"""What a model is tried on: made-up inputs, or the user's own with their labels."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.errors import InputError, UsageError
from padaudit.verification.inputs import InputSpec, element_type, generate, open_sizes

Array = NDArray[Any]
LABELS: Final = "y"
"""The array of an inputs file that holds the right classes."""
_SEEDS: Final = 4
_BATCH: Final = 4
_CHUNK: Final = 64
_BASE: Final = (64,)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs for a model.

    Parameters
    ----------
    feeds : list of dict
        Array by input name, per run.
    labels : ndarray or None
        The right class of every sample.
    origin : str
        Where they are from, in words.
    """

    feeds: list[dict[str, Array]]
    labels: Array | None
    origin: str

    @property
    def count(self) -> int:
        """How many samples there are."""
        return sum(len(next(iter(feed.values()))) for feed in self.feeds)


def made_up(specs: Sequence[InputSpec]) -> Samples:
    """Return random inputs and border impulses, at 64 where a size is open.

    Raises
    ------
    UsageError
        If no values can be made up for an input.
    """
    sizes = dict(open_sizes(specs, _BASE)[0])
    for spec in specs:
        batch = spec.symbols()[0] if spec.shape else None
        if batch is not None:
            sizes[batch] = _BATCH
    feeds = [generate(specs, "random", seed, sizes) for seed in range(_SEEDS)]
    feeds.append(generate(specs, "border", 0, sizes))
    return Samples(feeds, None, f"{_SEEDS} random inputs and border impulses")


def from_file(path: Path, specs: Sequence[InputSpec]) -> Samples:
    """Return the inputs in a ``.npz`` file: arrays by input name, and labels as ``y``.

    One array for a model with one input may have any name.

    Raises
    ------
    InputError
        If the file can't be read, or an array does not fit the model.
    """
    arrays = _loaded(path)
    labels = arrays.pop(LABELS, None) if LABELS not in {spec.name for spec in specs} else None
    given = _by_input(path, arrays, specs)
    count = min(len(array) for array in given.values())
    if any(len(array) != count for array in given.values()):
        raise InputError(path, "its arrays have different lengths", "give one row per sample")
    if labels is not None and labels.shape != (count,):
        cause = f"its labels '{LABELS}' have the shape {labels.shape} for {count} samples"
        raise InputError(path, cause, "give one class per sample")
    feeds = list(_chunks(path, given, specs, count))
    kept = sum(len(next(iter(feed.values()))) for feed in feeds)
    return Samples(feeds, None if labels is None else labels[:kept], f"{kept} samples of {path}")


def _loaded(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "check the path") from error
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        cause = f"it is no file of arrays ({error})"
        raise InputError(path, cause, "write it with numpy.savez") from error


def _by_input(
    path: Path, arrays: Mapping[str, Array], specs: Sequence[InputSpec]
) -> dict[str, Array]:
    if len(arrays) == len(specs) == 1:
        arrays = {specs[0].name: next(iter(arrays.values()))}
    missing = [spec.name for spec in specs if spec.name not in arrays]
    if missing:
        held = ", ".join(arrays) or "none"
        cause = f"it has no array for the input '{missing[0]}' (it has {held})"
        raise InputError(path, cause, "name its arrays after the model's inputs")
    return {spec.name: _fitting(path, arrays[spec.name], spec) for spec in specs}


def _fitting(path: Path, array: Array, spec: InputSpec) -> Array:
    wanted = spec.shape[1:]
    fits = array.ndim == len(spec.shape) and all(
        not isinstance(size, int) or size == given
        for size, given in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits:
        cause = f"its array for '{spec.name}' has the shape {array.shape}, the input {spec.shape}"
        raise InputError(path, cause, "give samples as the model takes them")
    return array.astype(element_type(spec.dtype))


def _chunks(
    path: Path, given: Mapping[str, Array], specs: Sequence[InputSpec], count: int
) -> Iterator[dict[str, Array]]:
    fixed = {spec.shape[0] for spec in specs if spec.shape and isinstance(spec.shape[0], int)}
    size = int(next(iter(fixed))) if fixed else _CHUNK
    last = count - count % size if fixed else count
    if last == 0:
        cause = f"it has {count} samples, and the model takes {size} at once"
        raise InputError(path, cause, "give more samples")
    for start in range(0, last, size):
        yield {name: array[start : min(start + size, last)] for name, array in given.items()}


def concrete(specs: Sequence[InputSpec], samples: Samples) -> dict[str, tuple[int | None, ...]]:
    """Return the shape that each input has in the first run.

    Raises
    ------
    UsageError
        If there are no samples.
    """
    if not samples.feeds:
        raise UsageError("there are no samples to run the model on")
    return {spec.name: samples.feeds[0][spec.name].shape for spec in specs}
