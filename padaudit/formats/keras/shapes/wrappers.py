"""Layers that are made of other layers, as far as their shapes go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from padaudit.formats.keras.shapes.rule import ShapeUnknown, shown
from padaudit.ir.dims import Shape, map_dim

WRAPPERS: Final = frozenset(
    {"TimeDistributed", "Bidirectional", "SpectralNormalization", "WeightNormalization"}
)
"""Classes whose config holds one inner layer (Bidirectional: or one per direction)."""


def both_directions(
    results: Sequence[Shape], mode: object, returns_state: bool
) -> tuple[Shape, ...]:
    """Return the outputs of Bidirectional, given those of one direction.

    Parameters
    ----------
    results : sequence of Shape
        The inner layer's outputs: the sequence, then its states.
    mode : str or None
        ``concat``, ``sum``, ``mul``, ``ave``, or None for one output per direction.
    returns_state : bool
        Whether the inner layer returns its states.
    """
    first, states = results[0], tuple(results[1:]) if returns_state else ()
    if mode is None:
        return (first, first, *states, *states)
    if mode not in ("concat", "sum", "mul", "ave"):
        raise ShapeUnknown(f"its merge mode {shown(mode)} is none of Keras's")
    if mode == "concat":
        first = (*first[:-1], map_dim(first[-1], lambda n: 2 * n, "2*{}"))
    return (first, *states, *states)


def without_time(shape: Shape) -> Shape:
    """Return the shape of one time step.

    Raises
    ------
    ShapeUnknown
        If there is no time axis.
    """
    if len(shape) < 3:
        raise ShapeUnknown("its input has no time axis")
    return (shape[0], *shape[2:])


def with_time(shape: Shape, outer: Shape) -> Shape:
    """Undo `without_time`."""
    return (shape[0], outer[1], *shape[1:])
