"""What a site is proven with: stand-ins for its inputs, test data, and the right results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from padaudit.ir.site import PaddingSite
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit

Array = NDArray[Any]
Pads = tuple[AxisPads, ...]


@dataclass(frozen=True, slots=True)
class Kit:
    """How one operator is tried.

    Parameters
    ----------
    inputs : Mapping of int to ndarray
        By slot, what takes the place of the operator's inputs other than the data.
    channels : int
        Number of channels of the data.
    dtype : str
        numpy's name of the data's element type.
    make : callable
        ``make(shape, seed)`` returns data of shape (N, C, *spatial).
    expected : callable
        ``expected(data)`` returns the right value of each output, channels first.
    attributes : Mapping
        Attributes of the operator that have another value in the trial; None removes one.
    rtol, atol : float
        What rounding of quotients and roots allows; 0 where results are exact.
    neutral : float, optional
        The value of an element that adds nothing to a result; None where each one counts.
    """

    inputs: Mapping[int, Array]
    channels: int
    dtype: str
    make: Callable[[Sequence[int], int], Array]
    expected: Callable[[Array], tuple[Array, ...]]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    rtol: float = 0.0
    atol: float = 0.0
    neutral: float | None = None

    def samples(self, spatial: Sequence[int], seed: int) -> Array:
        """Return data of shape (2, C, *spatial): every element a value, and the border alone.

        Behind the second one a window that stands elsewhere has nothing to hide in. Where no
        value is neutral (max pools) it is other data of the first kind.
        """
        shape = (1, self.channels, *spatial)
        everywhere, other = self.make(shape, seed), self.make(shape, seed + 1)
        if self.neutral is not None:
            inside = np.zeros(shape, bool)
            inside[:, :, *[slice(1, -1)] * len(spatial)] = True
            other = np.where(other == self.neutral, self.neutral + 1, other)
            other = np.where(inside, self.neutral, other)
        return np.concatenate([everywhere, other])


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a site's padding means, in the oracle's terms.

    Parameters
    ----------
    mode : str
        ``valid``, ``same_upper``, ``same_lower``, ``causal`` or ``explicit``.
    pads : tuple of AxisPads, or None
        For ``explicit``.
    """

    mode: str
    pads: Pads | None = None


def meaning_of(edit: Edit) -> Meaning:
    """Return what the padding of an edited site meant before."""
    site = edit.site
    if site.implicit and not site.derived and edit.folded is None:
        return Meaning(site.padding.value)
    return Meaning("explicit", edit.pads)


def small_integers(shape: Sequence[int], seed: int) -> NDArray[np.float64]:
    """Return integers from -4 to 4, as floats: sums of their products are exact."""
    return np.random.default_rng(seed).integers(-4, 5, tuple(shape)).astype(np.float64)


def given(site: PaddingSite, slot: int) -> bool:
    """Tell whether the operator has an input in a slot."""
    return slot < len(site.op.inputs) and bool(site.op.inputs[slot])
