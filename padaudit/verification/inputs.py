"""Inputs to run a model on: the same for the same name and seed, and telling at borders."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.errors import UsageError

USUAL_SIZES: Final = (32, 33, 47)
"""What to choose the sizes from that a model leaves open."""
OTHER_SIZES: Final = ((64, 96), (64,), (512,))
"""What to try where a model does not run at the sizes of `open_sizes`.

Networks with skip connections want multiples of a power of two, some want square images, and
sound comes in frames of hundreds of samples.
"""
MAX_ELEMENTS: Final = 1 << 29
"""How many elements an input may have that is made up."""
Array = NDArray[Any]
Sizes = Mapping[str, int]


class NoValuesError(UsageError):
    """No values can be made up for an input of this type."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The type of one model input.

    Parameters
    ----------
    name : str
        The input's name.
    dtype : str
        numpy's name of the element type (``float32``, ``bfloat16``; ``str`` for text).
    shape : tuple of (int, str or None)
        Sizes, batch axis first; a symbol or None where the model leaves a size open.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def symbols(self) -> tuple[str | None, ...]:
        """Return the key of each axis in a size assignment; None for a fixed axis.

        An open axis without a name gets one that no other axis has.

        >>> InputSpec("x", "float32", ("N", None, 3)).symbols()
        ('N', 'x[1]', None)
        """
        return tuple(
            None if isinstance(dim, int) else dim or f"{self.name}[{axis}]"
            for axis, dim in enumerate(self.shape)
        )


def concrete_shape(spec: InputSpec, sizes: Sizes) -> tuple[int, ...]:
    """Return an input's shape under a size assignment.

    Raises
    ------
    UsageError
        If the assignment has no size for an open axis, or the input is too large.

    >>> concrete_shape(InputSpec("x", "float32", ("N", "H", 3)), {"N": 1, "H": 32})
    (1, 32, 3)
    """
    shape: list[int] = []
    for axis, (dim, symbol) in enumerate(zip(spec.shape, spec.symbols(), strict=True)):
        size = sizes.get(symbol) if symbol is not None else dim
        if not isinstance(size, int):
            raise UsageError(
                f"axis {axis} of input '{spec.name}' has an open size; "
                f"give it with --input-shape {spec.name}=..."
            )
        shape.append(size)
    if math.prod(shape) > MAX_ELEMENTS:
        raise UsageError(f"input '{spec.name}' of shape {tuple(shape)} is too large to be run")
    return tuple(shape)


def open_sizes(
    specs: Sequence[InputSpec],
    base: Sequence[int] = USUAL_SIZES,
    fixed: Sizes | None = None,
) -> list[dict[str, int]]:
    """Propose sizes for the axes that a model leaves open.

    The open axes of an input get the base sizes in turn, so that no two neighbours are
    equal, and each further assignment rotates them. An open first axis is the batch: 1,
    then 2. A symbol has one size wherever it stands.

    Parameters
    ----------
    specs : sequence of InputSpec
        All inputs of the model.
    base : sequence of int
        Sizes to choose from.
    fixed : Mapping, optional
        Sizes that are settled, by the keys of `InputSpec.symbols`.

    Returns
    -------
    list of dict
        Assignments, most plain one first; one empty assignment if nothing is open.

    >>> open_sizes([InputSpec("x", "float32", ("N", "H", "W", 3))])[1]
    {'N': 2, 'H': 33, 'W': 47}
    """
    batches = {spec.symbols()[0] for spec in specs if spec.shape} - {None}
    keys = [[key for key in spec.symbols() if key] for spec in specs]
    proposals: list[dict[str, int]] = []
    for turn in range(max(len(base), 2)):
        sizes = {str(key): turn % 2 + 1 for key in batches} | dict(fixed or {})
        for own in keys:
            for place, key in enumerate(key for key in own if key not in batches):
                sizes.setdefault(key, base[(place + turn) % len(base)])
        proposal = {key: sizes[key] for own in keys for key in own}
        if proposal not in proposals:
            proposals.append(proposal)
    return proposals


def generate(
    specs: Sequence[InputSpec], kind: str, seed: int, sizes: Sizes | None = None
) -> dict[str, Array]:
    """Make one set of inputs.

    An input's values depend on its name, type, shape, the kind and the seed alone, so two
    models with equal inputs are fed the same.

    Parameters
    ----------
    specs : sequence of InputSpec
        All inputs of the model.
    kind : str
        A key of `KINDS`. "random": normal deviates; "border": zero inside, distinct
        non-zero values at the first and last element of every axis but the batch, and at
        one in the middle; "constant": 0.5 everywhere; "integer": whole numbers from -4 to 4,
        whose products and sums are exact.
    seed : int
        0 or more.
    sizes : Mapping, optional
        Sizes of open axes, by the keys of `InputSpec.symbols`.

    Returns
    -------
    dict
        Array by input name. Integers of 32 bits and more are 0 and 1 (they may be
        indices or lengths); those of 8 and 16 bits are pixels or quantised values and
        use the type's range up to 8 bits. Text is "0" and "1", which can be cast to a number.

    Raises
    ------
    UsageError
        If an input's type has no numbers to choose from or an open size is not given.
    """
    return {spec.name: _values(spec, kind, seed, sizes or {}) for spec in specs}


def element_type(name: str) -> np.dtype[Any]:
    """Return the numpy type of a name, including bfloat16, which ml_dtypes adds to numpy.

    ONNX's text is ``object`` in numpy's words, and here an array of strings.

    Raises
    ------
    TypeError
        If numpy has no such type.
    """
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(str if name == "object" else name)


def _values(spec: InputSpec, kind: str, seed: int, sizes: Sizes) -> Array:
    dtype = _numeric_type(spec)
    shape = concrete_shape(spec, sizes)
    rng = np.random.default_rng((seed, zlib.crc32(spec.name.encode()), *kind.encode()))
    floats, (low, high) = KINDS[kind], _INTEGER_RANGE.get(dtype.name, (0, 1))
    if dtype.kind not in "iubU":
        values = floats(rng, shape)
    elif kind == "constant":
        values = np.ones(shape)
    else:
        values = rng.integers(low, high, shape, endpoint=True)
    if kind == "border":
        values = np.where(_impulses_at(shape), np.where(values == 0, high, values), 0)
    return values.astype(dtype)


def _numeric_type(spec: InputSpec) -> np.dtype[Any]:
    try:
        dtype = element_type(spec.dtype)
    except TypeError:
        dtype = np.dtype(object)
    small = dtype.kind == "f" and dtype.itemsize == 1  # float8, which numpy can't store
    if small or (dtype.kind not in "iubfU" and dtype.name != "bfloat16"):
        raise NoValuesError(
            f"input '{spec.name}' holds {spec.dtype} elements, for which no test values can "
            "be made up"
        )
    return dtype


def _impulses_at(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell where impulses stand: at all borders and corners, and one in the middle."""
    found = _border(shape)
    if 0 in shape:
        return found
    if 2 not in shape[1:] and max(shape[1:], default=1) > 2:
        middle: tuple[Any, ...] = (slice(None), *(size // 2 for size in shape[1:]))
        found[middle] = True
    return found


def _border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    found = np.zeros(shape, dtype=bool)
    for axis in range(int(len(shape) > 1), len(shape)):
        if shape[axis] > 1 and 0 not in shape:
            ends = np.moveaxis(found, axis, 0)
            ends[0] = ends[-1] = True
    return found


def _impulses(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)


FloatMaker = Callable[[np.random.Generator, tuple[int, ...]], Array]

KINDS: Final[dict[str, FloatMaker]] = {
    "random": lambda rng, shape: rng.standard_normal(shape),
    "border": _impulses,
    "constant": lambda rng, shape: np.full(shape, 0.5),
    "integer": lambda rng, shape: rng.integers(-4, 4, shape, endpoint=True),
}
"""How floating-point inputs of each kind are made."""

DESCRIPTIONS: Final = {
    "random": "normal deviates; integers over the range of 8 bits, wider ones 0 and 1",
    "border": "impulses at all borders and corners and one in the middle, zero elsewhere",
    "constant": "0.5 everywhere; integers 1",
    "integer": "whole numbers from -4 to 4",
}
"""What inputs of each kind are, for people."""

_INTEGER_RANGE: Final = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-128, 127),
    "uint16": (0, 255),
}
