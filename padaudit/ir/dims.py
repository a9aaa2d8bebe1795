"""Sizes of tensor axes: known, open until the model runs, or not inferable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Open:
    """A size that the model leaves open.

    Parameters
    ----------
    name : str or None
        The symbol or expression that names it (``H``, ``ceil(H/2)``); None where the
        model gives it no name.
    """

    name: str | None = None

    def __str__(self) -> str:
        return self.name or "?"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A size that could not be inferred.

    Parameters
    ----------
    cause : str
        Which layer or node stopped the inference and why, one clause.
    """

    cause: str

    def __str__(self) -> str:
        return "?"


Dim = int | Open | Unknown
Shape = tuple[Dim, ...]


def map_dim(dim: Dim, function: Callable[[int], int], form: str) -> Dim:
    """Apply arithmetic to a size of any kind.

    Parameters
    ----------
    dim : Dim
        The size.
    function : callable
        What to do with a known size.
    form : str
        How the result is written for a named open size, with ``{}`` for the name.

    >>> map_dim(Open("H"), lambda n: n + 2, "{}+2")
    Open(name='H+2')
    """
    if isinstance(dim, int):
        return function(dim)
    if isinstance(dim, Open):
        return Open(form.format(dim.name)) if dim.name else dim
    return dim


def known(dims: tuple[Dim, ...]) -> bool:
    """Tell whether every size is a number."""
    return all(isinstance(dim, int) for dim in dims)


def plain(dim: Dim) -> int | str | None:
    """Return a size as JSON has it: a number, the symbol's name, or None.

    >>> [plain(dim) for dim in (7, Open("H"), Unknown("a Lambda"))]
    [7, 'H', None]
    """
    if isinstance(dim, int):
        return dim
    return dim.name if isinstance(dim, Open) else None
