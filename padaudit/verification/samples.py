"""What a model is tried on: made-up inputs, or the user's own with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from padaudit.errors import InputError, UsageError
from padaudit.verification.arrays_file import fitted, load_arrays
from padaudit.verification.inputs import OTHER_SIZES, InputSpec, generate, open_sizes
from padaudit.verification.runner import Job, Limits

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


def made_up(specs: Sequence[InputSpec], base: Sequence[int] = _BASE) -> Samples:
    """Return random inputs and border impulses, at 64 (or the given sizes) where one is open.

    Raises
    ------
    UsageError
        If no values can be made up for an input.
    """
    sizes = dict(open_sizes(specs, base)[0])
    for spec in specs:
        batch = spec.symbols()[0] if spec.shape else None
        if batch is not None:
            sizes[batch] = _BATCH
    feeds = [generate(specs, "random", seed, sizes) for seed in range(_SEEDS)]
    feeds.append(generate(specs, "border", 0, sizes))
    return Samples(feeds, None, f"{_SEEDS} random inputs and border impulses")


def fitting(path: Path, specs: Sequence[InputSpec], samples: Samples, limits: Limits) -> Samples:
    """Return made-up samples of the first sizes at which an ONNX model of open sizes runs."""
    if not any(open_sizes(specs)):
        return samples
    for tried in (samples, *(made_up(specs, base) for base in OTHER_SIZES)):
        if limits.run([Job(path, tuple(tried.feeds[:1]))])[0].outputs is not None:
            return tried
    return samples


def from_file(path: Path, specs: Sequence[InputSpec]) -> Samples:
    """Return the inputs in a file: arrays by input name, and classes as ``y``.

    A ``.npz`` file, or for a model with one input also a ``.npy`` file, or a ``.npz`` file
    whose array has no name of its own. An array that is as its input's fixed shape says, while
    others have another number of rows, goes into each run whole.

    Raises
    ------
    InputError
        If the file can't be read, or an array does not fit the model.
    """
    arrays = load_arrays(path)
    labels = arrays.pop(LABELS, None) if LABELS not in {spec.name for spec in specs} else None
    given = _by_input(path, arrays, specs)
    rows = _rows(path, given, specs)
    if labels is not None and labels.shape != (rows.count,):
        cause = f"its classes '{LABELS}' have the shape {labels.shape} for {rows.count} samples"
        raise InputError(path, cause, "give one class per sample")
    feeds = list(_chunks(path, rows, specs))
    kept = sum(len(feed[rows.first]) if rows.first else 1 for feed in feeds)
    return Samples(feeds, None if labels is None else labels[:kept], f"{kept} samples of {path}")


def own_feeds(path: Path | None, specs: Sequence[InputSpec]) -> list[dict[str, Array]]:
    """Return the user's own inputs; none where no file is given."""
    return [] if path is None else from_file(path, specs).feeds


_UNNAMED: Final = frozenset({"", "arr_0"})
"""The names of an array that was saved without one."""


def _by_input(
    path: Path, arrays: Mapping[str, Array], specs: Sequence[InputSpec]
) -> dict[str, Array]:
    if len(specs) == 1 and len(arrays) == 1 and _UNNAMED.issuperset(arrays):
        arrays = {specs[0].name: next(iter(arrays.values()))}
    names = [spec.name for spec in specs]
    missing = [name for name in names if name not in arrays]
    unknown = [name for name in arrays if name not in names]
    if missing or unknown:
        inputs = ", ".join(f"'{spec.name}' ({_type(spec)})" for spec in specs) or "none"
        advice = f"the model's inputs are {inputs}, and '{LABELS}' may hold the right classes"
        raise InputError(path, _misnamed(missing, unknown), advice)
    return {spec.name: fitted(path, arrays[spec.name], spec) for spec in specs}


def _misnamed(missing: Sequence[str], unknown: Sequence[str]) -> str:
    parts = []
    for names, what in ((missing, "it has no array for"), (unknown, "the model has no input")):
        if names:
            parts.append(f"{what} {', '.join(repr(name) for name in names)}")
    return ", and ".join(parts)


def _type(spec: InputSpec) -> str:
    sizes = ", ".join(str(size or "?") for size in spec.shape)
    return f"{spec.dtype} [{sizes}]"


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Arrays, the names of those that have a row per sample, and how many samples there are."""

    arrays: Mapping[str, Array]
    split: tuple[str, ...]
    count: int

    @property
    def first(self) -> str:
        return self.split[0] if self.split else ""


def _rows(path: Path, given: Mapping[str, Array], specs: Sequence[InputSpec]) -> _Rows:
    lengths = {len(array) if array.ndim else None for array in given.values()}
    whole = [spec.name for spec in specs if len(lengths) > 1 and _is_whole(given[spec.name], spec)]
    split = tuple(name for name in given if name not in whole)
    counts = {name: len(given[name]) for name in split}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of '{name}'" for name, count in counts.items())
        raise InputError(path, f"its arrays have {told}", "give one row per sample")
    count = next(iter(counts.values()), 1)
    if count == 0:
        raise InputError(path, "it holds no samples: the arrays have 0 rows", "give at least one")
    return _Rows(given, split, count)


def _is_whole(array: Array, spec: InputSpec) -> bool:
    return array.shape == spec.shape and (array.ndim == 0 or len(array) != 1)


def _chunks(path: Path, rows: _Rows, specs: Sequence[InputSpec]) -> Iterator[dict[str, Array]]:
    fixed = [spec.shape[0] for spec in specs if spec.name in rows.split]
    stated = {size for size in fixed if isinstance(size, int)}
    if len(stated) > 1:
        cause = f"the model's inputs take {', '.join(map(str, sorted(stated)))} rows at once"
        raise InputError(path, cause, "give each array as its input takes it, for one run")
    size = next(iter(stated), _CHUNK)
    last = rows.count - rows.count % size if stated and size else rows.count
    if last == 0:
        cause = f"it has {rows.count} samples, and the model takes {size} at once"
        raise InputError(path, cause, "give more samples")
    for start in range(0, last, max(size, 1)):
        yield {
            name: array[start : min(start + size, last)] if name in rows.split else array
            for name, array in rows.arrays.items()
        }


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
