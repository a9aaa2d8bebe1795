"""Marks: what each padded operator of a Keras model is, on its way into ONNX.

The process that runs Keras puts one operator of the domain `DOMAIN` where a layer convolves or
pools, and says here what it stands for. So nothing is searched for in the translation.
"""

from __future__ import annotations

from typing import Final

import msgspec

DOMAIN: Final = "padaudit"
"""The domain of marked operators while tf2onnx works; none of it is in the result."""
OPERATOR: Final = "Site"


class Mark(msgspec.Struct, frozen=True):
    """One application of a padded operator, channels first.

    Parameters
    ----------
    path : tuple of str
        The layers that enclose it and the layer itself, as padaudit names them.
    name : str
        The name of its node: the path, with a number where a layer has several.
    operator : str
        The ONNX operator: ``Conv``, ``ConvTranspose``, ``MaxPool`` or ``AveragePool``.
    kernel_shape, strides, dilations : tuple of int
        Per spatial axis.
    group : int
        Number of groups.
    same : bool
        Whether it is padded as Keras's "same".
    counted : bool
        Whether the divisor of a mean counts padding.
    pads : tuple of (int, int), or None
        Amounts that do not depend on a size: of "causal", and what a transposed convolution
        crops.
    output_padding : tuple of int, or None
        What a transposed convolution appends.
    grows : bool
        Whether it is a transposed convolution that gives n * stride elements (Keras's "same").
    size : tuple of (int or None)
        The spatial size of its input, where TensorFlow knows it.
    """

    path: tuple[str, ...]
    name: str
    operator: str
    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int = 1
    same: bool = False
    counted: bool = False
    pads: tuple[tuple[int, int], ...] | None = None
    output_padding: tuple[int, ...] | None = None
    grows: bool = False
    size: tuple[int | None, ...] = ()


class Marks(msgspec.Struct, frozen=True):
    """All marks of a model, in the order in which it applies them."""

    marks: tuple[Mark, ...]


class Layout(msgspec.Struct, frozen=True):
    """Where the channels of a translation's inputs and outputs go.

    Parameters
    ----------
    side : str
        ``first``, ``last`` or ``""`` (they stay).
    ranks : tuple of int
        The number of axes of the tensors that are meant.
    """

    side: str = ""
    ranks: tuple[int, ...] = ()

    def order(self, rank: int) -> tuple[int, ...] | None:
        """Return the transposition of a tensor of some rank; None: it stays as it is.

        >>> Layout("first", (4,)).order(4), Layout("last", (4,)).order(4)
        ((0, 3, 1, 2), (0, 2, 3, 1))
        """
        if rank not in self.ranks or not self.side:
            return None
        last = rank - 1
        return (0, last, *range(1, last)) if self.side == "first" else (0, *range(2, rank), 1)

    def inverse(self) -> Layout:
        """Return the layout that undoes this one."""
        return Layout({"first": "last", "last": "first"}.get(self.side, ""), self.ranks)
