"""Padding sites: the operators whose result depends on how their window is padded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from padaudit.ir.dims import Dim, Open, Unknown
from padaudit.ir.op import Op
from padaudit.padding.amounts import AxisPads
from padaudit.padding.symbolic import AxisAmounts, ByRemainder, lasting_amounts


class Family(StrEnum):
    """What an operator does with its window."""

    CONV = "conv"
    TRANSPOSED_CONV = "transposed_conv"
    CONV_LSTM = "conv_lstm"
    MAX_POOL = "max_pool"
    AVG_POOL = "avg_pool"
    LP_POOL = "lp_pool"


class Padding(StrEnum):
    """How padding is declared, in the vocabulary of the JSON contract."""

    VALID = "valid"
    SAME_UPPER = "same_upper"
    SAME_LOWER = "same_lower"
    CAUSAL = "causal"
    EXPLICIT = "explicit"


IMPLICIT = frozenset({Padding.SAME_UPPER, Padding.SAME_LOWER, Padding.CAUSAL})


@dataclass(frozen=True, slots=True)
class Window:
    """The sliding window, one value per spatial axis, outermost axis (D, H, W) first."""

    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel_shape)


@dataclass(frozen=True, slots=True)
class PaddingSite:
    """One padded operator application.

    Parameters
    ----------
    id : str
        Unique in the model, stable between runs.
    framework : str
        ``keras`` or ``onnx``.
    op : Op
        The operator.
    scope : tuple of str
        The operators and bodies that enclose it.
    family : Family
        What it does with its window.
    window : Window or None
        None where the kernel's shape is not known.
    group : int
        Number of convolution groups (1 for pools).
    padding : Padding
        What is declared.
    amounts : tuple of (AxisAmounts or None)
        Per spatial axis: (before, after) in elements of the input, or a table by
        remainder where the size is open, or None where it is not known. For a
        transposed convolution: what is cropped from the full output.
    input_size, output_size : tuple of Dim
        Spatial sizes, D, H, W order, whatever the layout.
    spatial_axes : tuple of int
        Which axes of the input tensor are spatial.
    pad_value : float or None
        The value padding stands for; None where it is the operator's identity
        (pools) and no number.
    strategies : tuple of str
        Names of the rewriting strategies that its table lists.
    kept : str
        Why the table lists none.
    remark : str
        What else its table has to say of its padding, one clause.
    zero_point_input : int or None
        The input whose value padding stands for (quantised operators).
    dtype : str or None
        numpy's name of the input's element type, where it is known.
    unresolved : str or None
        Why the window or a size is not known, one clause.
    derived : bool
        Whether the amounts follow from a declared output size (ONNX ``output_shape``).
    appended : tuple of int
        Transposed convolutions: how many elements are appended at the end, per axis,
        where the full output is shorter than the one that is wanted.
    """

    id: str
    framework: str
    op: Op
    scope: tuple[str, ...]
    family: Family
    window: Window | None
    group: int
    padding: Padding
    amounts: tuple[AxisAmounts | None, ...]
    input_size: tuple[Dim, ...]
    output_size: tuple[Dim, ...]
    spatial_axes: tuple[int, ...]
    pad_value: float | None = 0.0
    strategies: tuple[str, ...] = ()
    kept: str = ""
    remark: str = ""
    zero_point_input: int | None = None
    dtype: str | None = None
    unresolved: str | None = None
    derived: bool = False
    appended: tuple[int, ...] = ()

    @property
    def implicit(self) -> bool:
        """Whether the amounts follow from a mode instead of standing in the model."""
        return self.padding in IMPLICIT or self.derived

    @property
    def quantized(self) -> bool:
        """Whether padding stands for a zero point."""
        return self.zero_point_input is not None

    @property
    def pads(self) -> tuple[AxisPads, ...] | None:
        """The amounts where every one of them is a plain number, else None."""
        plain = tuple(item for item in self.amounts if isinstance(item, tuple))
        return plain if self.amounts and len(plain) == len(self.amounts) else None

    @property
    def lasting_pads(self) -> tuple[AxisPads, ...] | None:
        """Constant amounts that are right whatever an open size is: `pads`, or others."""
        if self.window is None or self.pads is not None:
            return self.pads
        window = self.window
        axes = zip(window.kernel_shape, window.strides, window.dilations, strict=True)
        found = [
            None if amounts is None else lasting_amounts(amounts, *axis)
            for amounts, axis in zip(self.amounts, axes, strict=True)
        ]
        known = tuple(pads for pads in found if pads is not None)
        return known if len(known) == len(found) else None

    @property
    def shape_dependent(self) -> bool:
        """Whether an amount depends on a size that is not known."""
        return self.implicit and self.pads is None

    @property
    def by_remainder(self) -> bool:
        """Whether an amount varies with a size that the model leaves open."""
        return any(isinstance(item, ByRemainder) for item in self.amounts)

    @property
    def has_open_size(self) -> bool:
        """Whether a spatial input size is open in the model."""
        return any(isinstance(dim, Open) for dim in self.input_size)

    @property
    def has_unknown_size(self) -> bool:
        """Whether a spatial input size could not be inferred."""
        return any(isinstance(dim, Unknown) for dim in self.input_size)
