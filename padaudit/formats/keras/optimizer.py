"""Optimizer state, which Keras stores by position: reordered with the variables it belongs to.

Two layouts exist: slot by slot for each variable (Keras 3), or variable by variable for
each slot (tf.keras). Which one a file has is told from shapes, and must be certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

ArrayShape = tuple[int, ...]
_MAX_HEADER: Final = 4
_MAX_SLOTS: Final = 4


class UnknownLayout(Exception):
    """The state does not fit the model's trainable variables in exactly one way."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How optimizer state is arranged.

    Parameters
    ----------
    header : int
        Scalars in front (iteration, learning rate).
    slots : int
        Values kept per variable.
    interleaved : bool
        Whether all slots of one variable stand together.
    """

    header: int
    slots: int
    interleaved: bool

    def index(self, variable: int, slot: int, variables: int) -> int:
        """Return where a variable's slot stands."""
        if self.interleaved:
            return self.header + variable * self.slots + slot
        return self.header + slot * variables + variable


def find_layout(state: Sequence[ArrayShape], variables: Sequence[ArrayShape]) -> Layout:
    """Return the one layout in which every slot has the shape of its variable.

    Parameters
    ----------
    state : sequence of tuple
        Shapes of the stored state, in order.
    variables : sequence of tuple
        Shapes of the trainable variables, in order.

    Raises
    ------
    UnknownLayout
        If no layout fits, or several that differ.

    >>> find_layout([(), (2,), (2,), (3,), (3,)], [(2,), (3,)])
    Layout(header=1, slots=2, interleaved=True)
    """
    found = [
        layout
        for slots in range(1, _MAX_SLOTS + 1)
        for interleaved in ((True,) if slots == 1 else (True, False))
        if _fits(
            layout := Layout(len(state) - slots * len(variables), slots, interleaved),
            state,
            variables,
        )
    ]
    if len(found) != 1:
        raise UnknownLayout("its optimizer state does not fit the model's variables in one way")
    return found[0]


def reordered(layout: Layout, state: Sequence[Any], order: Sequence[int]) -> list[Any]:
    """Return state for variables in a new order.

    Parameters
    ----------
    order : sequence of int
        For each new position, the variable's old position.

    >>> reordered(Layout(1, 2, True), ["it", "a1", "a2", "b1", "b2"], [1, 0])
    ['it', 'b1', 'b2', 'a1', 'a2']
    """
    result = list(state)
    count = len(order)
    for new, old in enumerate(order):
        for slot in range(layout.slots):
            result[layout.index(new, slot, count)] = state[layout.index(old, slot, count)]
    return result


def _fits(layout: Layout, state: Sequence[ArrayShape], variables: Sequence[ArrayShape]) -> bool:
    if not 0 <= layout.header <= _MAX_HEADER or any(state[: layout.header]):
        return False
    count = len(variables)
    return all(
        state[layout.index(variable, slot, count)] == shape
        for variable, shape in enumerate(variables)
        for slot in range(layout.slots)
    )
