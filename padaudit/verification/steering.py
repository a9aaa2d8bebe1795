"""Further inputs for models with branches and loops, to lead where others do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Fill = Callable[[Array], Array]
MAX_SWITCHES: Final = 4
"""Of how many switches (bools and integers of one element) each alone is thrown."""
_LARGE: Final = 100.0
_LARGE_INTEGER: Final = 16
"""It may be a number of passes."""


def steered(feed: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Return further sets of inputs of the shapes and types of a given one.

    All inputs are negated; -0.5; 0; 1; large. Where there are several switches, each alone
    is also thrown: 0 among ones, and 1 among zeros.

    Parameters
    ----------
    feed : Mapping
        Array by input name, random ones.

    Examples
    --------
    >>> import numpy as np
    >>> [made["x"].tolist() for made in steered({"x": np.float32([0.25])})]
    [[-0.25], [-0.5], [0.0], [1.0], [100.0]]
    >>> [made["on"].tolist() for made in steered({"on": np.array(True)})]
    [False, False, False, True, True]
    """
    made = [
        {name: np.asarray(fill(array)) for name, array in feed.items()} for fill in FILLS.values()
    ]
    switches = [name for name, array in feed.items() if array.dtype.kind in "iub"]
    switches = [name for name in switches if feed[name].size == 1]
    if len(switches) > 1:
        for name in switches[:MAX_SWITCHES]:
            made.append({**feed, **_thrown(feed, switches, name, (1, 0))})
            made.append({**feed, **_thrown(feed, switches, name, (0, 1))})
    return made


def _thrown(
    feed: Mapping[str, Array], switches: list[str], one: str, values: tuple[int, int]
) -> dict[str, Array]:
    rest, own = values
    return {name: _full(feed[name], own if name == one else rest) for name in switches}


def _full(array: Array, value: float) -> Array:
    if array.dtype.kind == "U":
        return np.full(array.shape, str(int(value)))
    return np.full(array.shape, value).astype(array.dtype)


def _negated(array: Array) -> Array:
    if array.dtype.kind == "b":
        return ~array
    if array.dtype.kind in "iu":
        return np.asarray(1 - array, array.dtype) if np.isin(array, (0, 1)).all() else ~array
    return array if array.dtype.kind == "U" else np.negative(array)


def _below(array: Array) -> Array:
    if array.dtype.kind == "i":
        return _full(array, -1)
    return _full(array, 0) if array.dtype.kind in "buU" else _full(array, -0.5)


def _large(array: Array) -> Array:
    return _full(array, _LARGE_INTEGER if array.dtype.kind in "iuU" else _LARGE)


FILLS: Final[Mapping[str, Fill]] = {
    "negated": _negated,
    "negative": _below,
    "zeros": lambda array: _full(array, 0),
    "ones": lambda array: _full(array, 1),
    "large": _large,
}
"""What further inputs hold."""
DESCRIPTION: Final = (
    "where there are branches or loops also the random ones negated, -0.5 (integers -1), 0, 1, "
    f"{_LARGE:g} (integers {_LARGE_INTEGER}) everywhere, and each of up to {MAX_SWITCHES} "
    "switches alone thrown"
)
"""What they are, for people."""
