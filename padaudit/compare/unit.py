"""A padded operator as it acts: with the padding in front of it and the cropping behind it.

How the amounts are spread (a mode, an attribute, a Pad in front, a Slice behind) is how a model
is written. What it computes is where its windows stand: the place of the first one, and how
many there are. Two operators of one form agree where these two numbers do.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final

from numpy.typing import NDArray

from padaudit.ir.dims import Dim
from padaudit.ir.op import Op
from padaudit.ir.site import Family, Padding, PaddingSite, Window
from padaudit.padding import amounts as formulas
from padaudit.padding.amounts import AxisPads
from padaudit.padding.symbolic import ByRemainder

Placement = tuple[int, int]
"""Where the first window starts, before the first element of the input (for a transposed
convolution: how much of its full output is cropped before its first element), and how many
outputs there are."""


@dataclass(frozen=True, slots=True)
class Fill:
    """What padding consists of: elements of the input, in one of ONNX's modes, or a value."""

    mode: str = "constant"
    value: float = 0.0

    def __str__(self) -> str:
        return f"{self.value:g}" if self.mode == "constant" else f"mode {self.mode}"


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One padded operator, with what stands around it.

    Parameters
    ----------
    site : PaddingSite
        The operator.
    part : str
        ``pointwise`` for the second convolution of a separable one, else empty.
    window : Window
        Over the axes that matter: one of size 1 under a kernel of 1 does not.
    axes : tuple of int
        Which of the site's spatial axes these are.
    group, channels_in, channels_out : int or None
        None where it is not known.
    ahead : tuple of AxisPads
        What Pads or ZeroPadding layers in front add, and Slices or Cropping layers there take
        away (negative), per axis.
    behind : tuple of AxisPads
        What a Slice or Cropping layer behind takes away, per axis.
    padding_ops : tuple of Op
        The operators that ``ahead`` comes from, the nearest one first.
    cropping_ops : tuple of Op
        The operators that ``behind`` comes from, the nearest one first.
    settled : bool
        Whether all of those amounts are known.
    fill : float
        What a max pool takes padding for: minus infinity, or what a Pad in front has.
    mode : str
        How the Pad in front pads, in ONNX's words.
    counts_padding : bool
        Whether the divisor of an average pool counts what is padded.
    kernel : ndarray or None
        Its weights, one row per output channel: ``(out, in / group * window)``, each of length 1.
    lengths : ndarray or None
        What these rows have been divided by.
    position : int
        Its place in the model's order of execution.
    before, after : set of int
        Positions of the nearest padded operators upstream and downstream.
    reads, gives : set of str
        Inputs and outputs of the model that no other padded operator is in between.
    """

    site: PaddingSite
    part: str
    window: Window
    axes: tuple[int, ...]
    group: int | None
    channels_in: int | None
    channels_out: int | None
    ahead: tuple[AxisPads, ...]
    behind: tuple[AxisPads, ...]
    padding_ops: tuple[Op, ...]
    cropping_ops: tuple[Op, ...]
    settled: bool
    fill: float
    mode: str
    counts_padding: bool
    kernel: NDArray[Any] | None
    lengths: NDArray[Any] | None
    position: int
    before: set[int] = field(default_factory=set)
    after: set[int] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    gives: set[str] = field(default_factory=set)

    @property
    def id(self) -> str:
        """The site's id; the second part of a separable convolution says so."""
        return f"{self.site.id}/{self.part}" if self.part else self.site.id

    @property
    def family(self) -> Family:
        """What it does with its window."""
        return self.site.family

    @property
    def form(self) -> Hashable:
        """What two operators must have in common to be one and the same."""
        window = self.window
        return self.family.value, window.kernel_shape, window.strides, window.dilations

    @property
    def fills_least(self) -> bool:
        """Whether padding is below every element of the input."""
        return self.fill <= _LEAST

    @property
    def contents(self) -> Fill | None:
        """What it pads with; None if it pads nothing, or that is not known."""
        if self.mode != "constant":
            return Fill(self.mode)
        if self.site.zero_point_input is not None or self.family not in _FILLED:
            return None
        own = self.site.pads is None or any(map(any, self.site.pads))
        ahead = any(max(pair) > 0 for pair in self.ahead)
        if not (own or ahead) or (ahead and math.isnan(self.fill)):
            return None
        if own and ahead and self.fill:
            return None
        return Fill(value=self.fill if ahead else 0.0)

    @property
    def transposed(self) -> bool:
        """Whether amounts are cropped from the output."""
        return self.family is Family.TRANSPOSED_CONV

    def size(self, axis: int) -> Dim:
        """Return the size of an axis in front of everything that pads it."""
        size = self.site.input_size[self.axes[axis]]
        return size - sum(self.ahead[axis]) if isinstance(size, int) else size

    def parameters(self, axis: int) -> tuple[int, int, int]:
        """Return kernel, stride and dilation of an axis."""
        window = self.window
        return window.kernel_shape[axis], window.strides[axis], window.dilations[axis]

    def own(self, axis: int, size: int) -> AxisPads | None:
        """Return the operator's own amounts for a size in front of it; None if not known."""
        site = self.site
        if self.part:
            return 0, 0
        if not self.settled:
            return None
        if site.implicit and not self.transposed:
            return formulas.FORMULAS[site.padding.value](size, *self.parameters(axis))
        found = site.amounts[self.axes[axis]]
        return found.at(size) if isinstance(found, ByRemainder) else found

    def placement(self, axis: int, size: int, cropped: bool = True) -> Placement | None:
        """Return where the windows of an axis stand; None where the amounts are not known.

        Parameters
        ----------
        axis : int
            One of the unit's axes.
        size : int
            Size of the input in front of what pads it.
        cropped : bool
            Whether what stands behind the operator belongs to it.
        """
        stride = self.window.strides[axis]
        inner = size + sum(self.ahead[axis])
        own = self.own(axis, inner)
        if own is None:
            return None
        first, last = self.behind[axis] if cropped else (0, 0)
        if self.transposed:
            count = formulas.transposed_full(inner, *self.parameters(axis)) + self.appended(axis)
            before = own[0] - self.ahead[axis][0] * stride + first
            return before, count - sum(own) - first - last
        count = self._windows(axis, inner, own)
        return own[0] + self.ahead[axis][0] - first * stride, count - first - last

    def appended(self, axis: int) -> int:
        """Return how many outputs a transposed convolution appends at the end of an axis."""
        place, total = self.axes[axis], 0
        if self.site.appended:
            total += self.site.appended[place]
        declared = self.site.op.attributes.get("output_padding")
        if self.site.framework == "onnx" and isinstance(declared, list) and place < len(declared):
            total += declared[place]
        return total

    def around(self, axis: int, ahead: bool = True, behind: bool = True) -> AxisPads:
        """Return what stands around the operator, in the terms of its own amounts.

        Parameters
        ----------
        axis : int
            One of the unit's axes.
        ahead, behind : bool
            Whether what pads in front, and what crops behind, is to be counted.
        """
        stride = self.window.strides[axis]
        first = self.ahead[axis] if ahead else (0, 0)
        last = self.behind[axis] if behind else (0, 0)
        if self.transposed:
            return last[0] - first[0] * stride, last[1] - first[1] * stride
        return first[0] - last[0] * stride, first[1] - last[1] * stride

    def effective(self, axis: int, size: int) -> AxisPads | None:
        """Return the amounts of an axis with everything around it; None if not known."""
        own = self.own(axis, size + sum(self.ahead[axis]))
        if own is None:
            return None
        around = self.around(axis)
        return own[0] + around[0], own[1] + around[1]

    def _windows(self, axis: int, size: int, own: AxisPads) -> int:
        exact = formulas.window_output(size, *self.parameters(axis), own)
        if self.site.op.attributes.get("ceil_mode") and self.site.padding in _STATED:
            return formulas.ceil_outputs(size, *self.parameters(axis), own)[1]
        return exact


_FILLED: Final = frozenset({Family.CONV, Family.AVG_POOL, Family.LP_POOL})
"""What reads padding for what it is; a max pool's own is nothing but the least value."""
_LEAST: Final = -1e30
"""What counts as minus infinity: it is below every activation, of half precision too."""
_STATED = frozenset({Padding.VALID, Padding.EXPLICIT})
