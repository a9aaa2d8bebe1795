"""Where the padding of paired operators differs, and what would be right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from padaudit.audit.findings import axis_names
from padaudit.compare.align import Alignment
from padaudit.compare.unit import Fill, Placement, Unit
from padaudit.ir.site import Family
from padaudit.padding import amounts as formulas
from padaudit.padding.amounts import AxisPads, effective_kernel
from padaudit.padding.symbolic import AxisAmounts, ByRemainder, lasting_amounts

_ROUNDED: Final = 1e-3
"""How far pad values may be apart in parts of them: a port may hold them in half precision."""
_LARGE: Final = 1 << 12
"""How many strides a size is taken to have where it is open: more than any window."""
Pads = tuple[AxisPads, ...]
Amounts = tuple[AxisAmounts | None, ...]


@dataclass(frozen=True, slots=True)
class PaddingDifference:
    """A port's operator whose windows stand elsewhere than the original's.

    Parameters
    ----------
    original, port : Unit
        The pair.
    port_pads, expected_pads : tuple of AxisPads, or None
        What the port pads and what it should, per spatial axis of the port's operator, with
        everything that stands around it; None where that depends on an open size. For a
        transposed convolution: what is cropped from its full output.
    port_amounts, expected_amounts : tuple of AxisPads, ByRemainder or None
        The same, by the remainder of the size where that is open; None where it is not known.
    appended : tuple of int
        Transposed convolutions: the output_padding that goes with ``expected_pads``.
    divisor : bool
        Whether an average pool's divisor counts padding in one of the models only.
    unscaled : bool
        Whether what rescales the operator's result behind it is to go.
    fills : tuple of Fill, or None
        What the port pads with and what it should, where that differs.
    note : str
        What is to be said besides the amounts, one clause; may be empty.
    certain : bool
        Whether the graphs alone tell that windows stand elsewhere. A port may make up for
        anything else (divisors, pad values, crops) in another place.
    """

    original: Unit
    port: Unit
    port_pads: Pads | None
    expected_pads: Pads | None
    port_amounts: Amounts = ()
    expected_amounts: Amounts = ()
    appended: tuple[int, ...] = ()
    divisor: bool = False
    unscaled: bool = False
    fills: tuple[Fill, Fill] | None = None
    note: str = ""
    certain: bool = True

    def without_ratio(self) -> PaddingDifference:
        """Return it for a mean that is divided by the mean of ones, as one that is not."""
        note = "pad both averages of the ratio like this; or set count_include_pad=0 and remove"
        return replace(self, unscaled=True, note=f"{note} the division, as --fix does")

    def windows_alone(self) -> PaddingDifference:
        """Return it without its divisor."""
        return replace(self, divisor=False, note="")


def differences(alignment: Alignment) -> tuple[PaddingDifference, ...]:
    """Return the pairs whose padding differs, in the original's order."""
    return tuple(found for a, b in alignment.pairs if (found := difference(a, b)) is not None)


def possible_differences(alignment: Alignment) -> tuple[PaddingDifference, ...]:
    """Return what else may be wrong, where the outputs differ.

    Operators that pad as much as the original's, but with another value or in another mode:
    behind a ReLU zero is as good as minus infinity, and some inputs are zero at their borders.
    Slices behind an operator: they may be no part of its padding.
    """
    found = []
    for original, port in alignment.pairs:
        if difference(original, port) is not None:
            continue
        if _crops_differ(original, port):
            found.append(_described(original, port, note="what is cropped behind it differs"))
        elif _fills_differ(original, port):
            right, wrong = ("minus infinity", "0")[:: 1 if original.fills_least else -1]
            note = f"what is padded has to count as {right}, not as {wrong}"
            found.append(_described(original, port, note=note))
        elif _fills(original, port) is not None:
            found.append(_described(original, port, note=""))
    return tuple(item for item in found if item.expected_pads is not None)


def _crops_differ(original: Unit, port: Unit) -> bool:
    return any(
        original.placement(axis, size) != port.placement(axis, size)
        for axis in range(port.window.rank)
        if (size := _size(original, port, axis)) is not None
    )


def _fills(original: Unit, port: Unit) -> tuple[Fill, Fill] | None:
    """Return what a port pads with and what it should; None if that is the same, or not known."""
    ours, theirs = original.contents, port.contents
    if ours is None or theirs is None:
        return None
    same = ours.mode == theirs.mode and math.isclose(ours.value, theirs.value, rel_tol=_ROUNDED)
    return None if same else (theirs, ours)


def _fills_differ(original: Unit, port: Unit) -> bool:
    unlike = original.fills_least != port.fills_least
    return unlike and port.family is Family.MAX_POOL and _pads_anything(original)


def difference(original: Unit, port: Unit) -> PaddingDifference | None:
    """Return how the padding of a pair differs; None if it does not, or is not known."""
    wrong = any(_axis_differs(original, port, axis) for axis in range(port.window.rank))
    divisor = _divisor_differs(original, port)
    if not wrong and not divisor:
        return None
    notes = [_divisor_note(original)] if divisor else []
    found = _described(original, port, "")
    if found.expected_pads is None:
        notes.append(_open_note(original, port, found))
    return replace(found, note="; ".join(notes), divisor=divisor, certain=wrong)


def _open_note(original: Unit, port: Unit, found: PaddingDifference) -> str:
    """Return what is to be said of amounts that depend on an open size."""
    if None in found.expected_amounts:
        return "what is right depends on a size that is open; fix it with --input-shape"
    right = [_right_remainders(original, port, axis) for axis in range(port.window.rank)]
    names = axis_names(len(port.site.spatial_axes))
    told = [
        f"{names[axis]} % {stride} = {' or '.join(map(str, rests))}"
        for axis, stride, rests in zip(port.axes, port.window.strides, right, strict=True)
        if len(rests) < stride
    ]
    where = f"only where {' and '.join(told)}" if all(right) else "at no size"
    return f"the port's padding is right {where}; --input-shape fixes a size"


def _right_remainders(original: Unit, port: Unit, axis: int) -> list[int]:
    """Return the remainders of a size by the stride at which windows stand alike."""
    sizes = _period(port, axis) if _size(original, port, axis) is None else []
    stride = port.window.strides[axis]
    places = ((n % stride, original.placement(axis, n), port.placement(axis, n)) for n in sizes)
    return [rest for rest, ours, theirs in places if ours == theirs] if sizes else [*range(stride)]


def _described(original: Unit, port: Unit, note: str) -> PaddingDifference:
    """Return what a port pads and what it should; what should be is None if a size is open."""
    axes = range(port.window.rank)
    wanted = [
        _over_sizes(original, port, axis, partial(_expected, original, port, axis)) for axis in axes
    ]
    stated = [_over_sizes(original, port, axis, partial(_stated, port, axis)) for axis in axes]
    amounts = [_spread(port, [pads for pads, _ in found]) for found in (stated, wanted)]
    return PaddingDifference(
        original,
        port,
        _constant(amounts[0]),
        _constant(amounts[1]),
        amounts[0],
        amounts[1],
        appended=_spread_ints(port, [more for _, more in wanted]),
        fills=_fills(original, port),
        note=note,
        certain=False,
    )


def _stated(port: Unit, axis: int, size: int) -> tuple[AxisPads, int] | None:
    found = port.effective(axis, size)
    return None if found is None else (found, 0)


def _over_sizes(
    original: Unit, port: Unit, axis: int, find: Callable[[int], tuple[AxisPads, int] | None]
) -> tuple[AxisAmounts | None, int]:
    """Return amounts of an axis, and what is appended: at its size, or by remainder if open."""
    size = _size(original, port, axis)
    sizes = list(_period(port, axis)) if size is None else [size]
    found = [item for item in map(find, sizes) if item is not None]
    if len(found) < len(sizes) or len({more for _, more in found}) > 1:
        return None, 0
    cases, more = tuple(pads for pads, _ in found), found[0][1]
    if len(set(cases)) == 1:
        return cases[0], more
    amounts = ByRemainder(len(sizes), cases)
    lasting = None if port.transposed else lasting_amounts(amounts, *port.parameters(axis))
    return lasting or amounts, more


def _period(port: Unit, axis: int) -> range:
    """Return one large size for each remainder by the stride, 0 first."""
    stride = port.window.strides[axis]
    return range(_LARGE * stride, (_LARGE + 1) * stride)


def _axis_differs(original: Unit, port: Unit, axis: int) -> bool:
    """Compare where windows stand, at every size that the axis may have.

    A crop that is not part of the padding (of a skip connection, say) stands in both models, but
    perhaps elsewhere; so they agree too if they do so without what is behind them, unless both
    crop as much behind them.
    """
    for size in _sizes(original, port, axis):
        ours, theirs = original.placement(axis, size), port.placement(axis, size)
        if ours is None or theirs is None:
            return False
        if ours == theirs:
            continue
        as_many = ours[1] == theirs[1] and any(original.behind[axis]) and any(port.behind[axis])
        whole = (unit.placement(axis, size, cropped=False) for unit in (original, port))
        if as_many or len(set(whole)) == 2:
            return True
    return False


def _sizes(original: Unit, port: Unit, axis: int) -> Iterator[int]:
    size = _size(original, port, axis)
    if size is not None:
        yield size
        return
    kernel, stride, dilation = port.parameters(axis)
    yield from range(1, effective_kernel(kernel, dilation) + 2 * stride + 1)


def _size(original: Unit, port: Unit, axis: int) -> int | None:
    """Return the size that an axis has: the original's, for a wrong port's may be off."""
    sizes = (original.size(axis), port.size(axis))
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


def _expected(original: Unit, port: Unit, axis: int, size: int) -> tuple[AxisPads, int] | None:
    """Return the amounts that put the port's windows where the original's are."""
    placed = original.placement(axis, size)
    if placed is None:
        return None
    if port.transposed:
        return _expected_crop(placed, port, axis, size)
    before, count = placed
    stated = original.effective(axis, size)
    after = stated[1] if stated is not None and stated[0] == before else 0
    if formulas.window_output(size, *port.parameters(axis), (before, after)) != count:
        kernel, stride, dilation = port.parameters(axis)
        after = (count - 1) * stride + effective_kernel(kernel, dilation) - size - before
    return (before, after), 0


def _expected_crop(placed: Placement, port: Unit, axis: int, size: int) -> tuple[AxisPads, int]:
    before, count = placed
    after = formulas.transposed_full(size, *port.parameters(axis)) - before - count
    return ((before, after), 0) if after >= 0 else ((before, 0), -after)


def _divisor_differs(original: Unit, port: Unit) -> bool:
    if original.family is not Family.AVG_POOL:
        return False
    return _pads_anything(original) and original.counts_padding != port.counts_padding


def _pads_anything(unit: Unit) -> bool:
    return any(
        (own := unit.own(axis, size if isinstance(size := unit.size(axis), int) else 1)) is None
        or any(own)
        or any(unit.ahead[axis])
        for axis in range(unit.window.rank)
    )


def _divisor_note(original: Unit) -> str:
    if original.counts_padding:
        return "its divisor has to count what is padded (count_include_pad=1)"
    return "its divisor must not count what is padded (count_include_pad=0)"


def _spread(port: Unit, pads: Sequence[AxisAmounts | None]) -> Amounts:
    """Return amounts for all spatial axes of an operator, those without a meaning included."""
    by_axis = dict(zip(port.axes, pads, strict=True))
    return tuple(by_axis.get(axis, (0, 0)) for axis in range(len(port.site.spatial_axes)))


def _constant(amounts: Amounts) -> Pads | None:
    known = [item for item in amounts if item is not None and not isinstance(item, ByRemainder)]
    return tuple(known) if len(known) == len(amounts) else None


def _spread_ints(port: Unit, values: list[int]) -> tuple[int, ...]:
    by_axis = dict(zip(port.axes, values, strict=True))
    return tuple(by_axis.get(axis, 0) for axis in range(len(port.site.spatial_axes)))
