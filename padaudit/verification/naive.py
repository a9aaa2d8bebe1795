"""The padding that a naive port would use, and the operator that then does what it did.

Per axis, with ``e = (kernel - 1) * dilation + 1`` and (before, after) as the model has them:

- ``symmetric``: ``(e // 2, e // 2)``, PyTorch's ``padding=k//2``;
- ``torch``: ``((e - 1) // 2, (e - 1) // 2)``, PyTorch's ``padding=(k-1)//2``;
- ``lower``: the larger amount first, ONNX's SAME_LOWER.

For a transposed convolution the same numbers are cropped from its full output. Where that
changes how many outputs there are, the port would not fit the layers behind; so outputs are
taken away from the end, or zeros are added there (by a transposed convolution's
``output_padding`` where that can do it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from padaudit.compare.unit import Unit
from padaudit.ir.site import Family
from padaudit.padding import amounts as formulas
from padaudit.padding.amounts import AxisPads, effective_kernel

VARIANTS: Final[dict[str, Callable[[int, AxisPads], AxisPads]]] = {
    "symmetric": lambda extent, pads: (extent // 2, extent // 2),
    "lower": lambda extent, pads: (max(pads), min(pads)),
    "torch": lambda extent, pads: ((extent - 1) // 2, (extent - 1) // 2),
}
"""What each variant pads along one axis, from the effective kernel and the right amounts."""
_POOLS: Final = frozenset({Family.MAX_POOL, Family.AVG_POOL, Family.LP_POOL})


@dataclass(frozen=True, slots=True)
class Change:
    """Other padding at one operator.

    Parameters
    ----------
    unit : Unit
        The operator.
    own : tuple of AxisPads
        Its own amounts, per spatial axis of the site; negative ones crop the input.
    appended : tuple of int
        Transposed convolutions: the output_padding.
    trim : tuple of int
        How many outputs are added (taken away, where negative) at the end of each axis.
    """

    unit: Unit
    own: tuple[AxisPads, ...]
    appended: tuple[int, ...]
    trim: tuple[int, ...]

    @property
    def by_attribute(self) -> bool:
        """Whether runtimes take the amounts as the operator's own ``pads``."""
        if min((min(pair) for pair in self.own), default=0) < 0:
            return False
        window = self.unit.site.window
        if self.unit.family not in _POOLS or window is None:
            return True
        return all(
            max(pair) < size for pair, size in zip(self.own, window.kernel_shape, strict=True)
        )


def change_of(unit: Unit, variant: str) -> Change | str | None:
    """Return what a variant changes at an operator whose sizes are known.

    Parameters
    ----------
    unit : Unit
        The operator.
    variant : str
        A key of `VARIANTS`.

    Returns
    -------
    Change, str or None
        None where its windows stand as before; a clause where it can't be tried.
    """
    rank = len(unit.site.spatial_axes)
    own, trim, appended = [(0, 0)] * rank, [0] * rank, [0] * rank
    changed = False
    for index, axis in enumerate(unit.axes):
        size = unit.size(index)
        right = unit.effective(index, size) if isinstance(size, int) else None
        placed = unit.placement(index, size) if isinstance(size, int) else None
        if not isinstance(size, int) or right is None or placed is None:
            return f"the size that '{unit.id}' reads is not known"
        kernel, _, dilation = unit.parameters(index)
        wrong = VARIANTS[variant](effective_kernel(kernel, dilation), right)
        around = unit.around(index)
        own[axis] = wrong[0] - around[0], wrong[1] - around[1]
        short = placed[1] - _count(unit, index, size, own[axis])
        if unit.transposed and 0 < short + unit.appended(index) < unit.window.strides[index]:
            appended[axis], short = short + unit.appended(index), 0
        elif unit.transposed:
            short += unit.appended(index)
        trim[axis] = short
        changed |= wrong[0] != right[0] or short > 0
    return Change(unit, tuple(own), tuple(appended), tuple(trim)) if changed else None


def _count(unit: Unit, index: int, size: int, own: AxisPads) -> int:
    """Return how many outputs there would be behind everything that stands behind."""
    inner, gone = size + sum(unit.ahead[index]), sum(unit.behind[index])
    if unit.transposed:
        full = formulas.transposed_full(inner, *unit.parameters(index))
        return full + unit.appended(index) - sum(own) - gone
    return formulas.window_output(inner, *unit.parameters(index), own) - gone
