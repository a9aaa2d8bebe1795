"""Padding amounts where a size is open: a function of the size's remainder by the stride.

For every size n >= 1 the "same" amounts depend on n only through ``n % stride`` (see
`padaudit.padding.amounts.same_total`), so a short table of cases is the whole truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from padaudit.padding.amounts import AxisPads, Formula, same_output, window_output

_SHOWN: Final = 8
"""How many cases a text lists; real strides have fewer."""


@dataclass(frozen=True, slots=True)
class ByRemainder:
    """Amounts of one axis whose size is open.

    Parameters
    ----------
    stride : int
        The modulus.
    cases : tuple of AxisPads
        ``cases[r]`` are the amounts of every size with ``size % stride == r``.
    """

    stride: int
    cases: tuple[AxisPads, ...]

    def at(self, size: int) -> AxisPads:
        """Return the amounts for one size, in elements."""
        return self.cases[size % self.stride]

    def __str__(self) -> str:
        shown = [
            f"{pads} where size % {self.stride} = {rest}"
            for rest, pads in enumerate(self.cases[:_SHOWN])
        ]
        if len(self.cases) > _SHOWN:
            shown.append(f"and {len(self.cases) - _SHOWN} more")
        return ", ".join(shown)


AxisAmounts = AxisPads | ByRemainder


def open_amounts(formula: Formula, kernel: int, stride: int, dilation: int) -> AxisAmounts:
    """Return the amounts of one axis of open size: constant, or by remainder.

    >>> from padaudit.padding.amounts import same_upper
    >>> open_amounts(same_upper, 3, 1, 1)
    (1, 1)
    >>> open_amounts(same_upper, 3, 2, 1).cases
    ((0, 1), (1, 1))
    """
    sizes = [stride, *range(1, stride)]
    cases = tuple(formula(size, kernel, stride, dilation) for size in sizes)
    return cases[0] if len(set(cases)) == 1 else ByRemainder(stride, cases)


def lasting_amounts(
    amounts: AxisAmounts, kernel: int, stride: int, dilation: int
) -> AxisPads | None:
    """Return constant amounts that are right at every size, or None if there are none.

    Where "same" pads the start alike at all sizes, the most that it pads the end is right for
    all of them: no window begins where that is more than a size needs.

    >>> from padaudit.padding.amounts import same_upper, same_lower
    >>> lasting_amounts(open_amounts(same_upper, 2, 2, 1), 2, 2, 1)
    (0, 1)
    >>> lasting_amounts(open_amounts(same_lower, 3, 2, 1), 3, 2, 1)
    (1, 1)
    >>> lasting_amounts(open_amounts(same_upper, 3, 2, 1), 3, 2, 1) is None
    True
    """
    if not isinstance(amounts, ByRemainder):
        return amounts
    starts = {before for before, _ in amounts.cases}
    pads = max(starts), max(after for _, after in amounts.cases)
    alike = all(
        window_output(size, kernel, stride, dilation, pads) == same_output(size, stride)
        for size in range(1, stride + 1)
    )
    return pads if len(starts) == 1 and alike else None
