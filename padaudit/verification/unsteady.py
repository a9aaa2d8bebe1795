"""Outputs that are others at each run on the same inputs, as random numbers are in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from padaudit.ir.graph import Graph
from padaudit.ir.walk import walk
from padaudit.verification.compare import compare_arrays

_RANDOM: Final = ("Bernoulli", "Dropout", "Gaussian", "Multinomial", "Random")
"""What the names of operators and layers that may draw random numbers contain."""
_JITTER: Final = 1e-6
"""How far, in parts of the largest magnitude, runs may differ as threads sum in another order."""


def drawing(graph: Graph) -> str | None:
    """Return the name of the first operator that may draw random numbers; None if none may."""
    found = (visit for visit in walk(graph) if any(key in visit.op.op_type for key in _RANDOM))
    return next((visit.path for visit in found), None)


def unsteady(
    first: Sequence[Sequence[NDArray[Any]] | None], again: Sequence[Sequence[NDArray[Any]] | None]
) -> set[int]:
    """Return which outputs differ between two runs of one model on the same inputs.

    Parameters
    ----------
    first, again : sequence of sequence of ndarray
        Per set of inputs, the outputs; None where it did not run.
    """
    return {
        place
        for one, other in zip(first, again, strict=True)
        if one is not None and other is not None
        for place, (a, b) in enumerate(zip(one, other, strict=True))
        if not compare_arrays(b, a, 0.0, _JITTER * _magnitude(a)).equal
    }


def _magnitude(values: NDArray[Any]) -> float:
    if values.dtype.kind != "f":
        return 0.0
    return float(np.nan_to_num(np.abs(values.astype(np.float64))).max(initial=0.0))


def why_unsteady(what: str, name: str | None = None) -> str:
    """Return the clause that says why a model's outputs can't be compared."""
    drawn = f"'{name}' draws random numbers" if name else "it draws random numbers"
    return f"{what} is not deterministic, its outputs are others at each run ({drawn})"
