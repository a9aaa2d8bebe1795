"""ONNX: nodes that compute amounts from the size a graph is run with.

``t = max(ceil(n / s) * s + (ke - s) - n, 0)``, which is `padaudit.padding.amounts.same_total`
written with the operators of opset 10. ``ceil(n / s)`` is ``(n + s - 1) / s``: ONNX's integer
Div truncates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from padaudit.formats.onnx.build import int64_vector, make_node
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.protos import NodeProto, TensorProto
from padaudit.ir.site import Padding, Window
from padaudit.padding.amounts import effective_kernel

_INTEGER_MAX_OPSET: Final = 12


class Chain:
    """Nodes on one-dimensional int64 tensors, named after the node that they serve.

    Parameters
    ----------
    editor : GraphEditor
        Where the nodes will stand.
    prefix : str
        The name of the node that they serve.
    opset : int
        The opset of the default domain there, 10 or newer.
    """

    def __init__(self, editor: GraphEditor, prefix: str, opset: int) -> None:
        self.editor = editor
        self.prefix = prefix
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, op_type: str, inputs: Sequence[str], label: str, **attributes: int) -> str:
        """Add a node; return its output."""
        name = self.editor.free_node_name(f"{self.prefix}/{label}")
        output = self.editor.free_tensor_name(name)
        self.nodes.append(make_node(op_type, list(inputs), [output], name, **attributes))
        return output

    def vector(self, label: str, values: Sequence[int]) -> str:
        """Add a constant; return its name."""
        made = int64_vector(self.editor.free_tensor_name(f"{self.prefix}/{label}"), values)
        self.constants.append(made)
        return str(made.name)


def same_ends(chain: Chain, size: str, window: Window, padding: Padding) -> tuple[str, str]:
    """Add what computes how many elements "same" puts before and after each axis.

    Parameters
    ----------
    chain : Chain
        The nodes so far.
    size : str
        The tensor that holds the sizes n, shape ``(rank,)``.
    window : Window
        The window on these axes.
    padding : Padding
        SAME_UPPER or SAME_LOWER.
    """
    total, small = _halved(chain, size, window)
    large = chain.node("Sub", [total, small], "large")
    return (small, large) if padding is Padding.SAME_UPPER else (large, small)


def same_start(chain: Chain, size: str, window: Window, padding: Padding) -> str:
    """Add what computes how many elements "same" puts before each axis; see `same_ends`."""
    total, small = _halved(chain, size, window)
    return small if padding is Padding.SAME_UPPER else chain.node("Sub", [total, small], "large")


def _halved(chain: Chain, size: str, window: Window) -> tuple[str, str]:
    """Add what computes how many elements each axis gets, and the smaller half of them."""
    total = _total(chain, size, window)
    return total, chain.node("Div", [total, chain.vector("two", [2] * window.rank)], "small")


def _total(chain: Chain, size: str, window: Window) -> str:
    """Add what computes how many elements each axis gets."""
    axes = zip(window.kernel_shape, window.strides, window.dilations, strict=True)
    overlaps = [effective_kernel(kernel, dilation) - s for kernel, s, dilation in axes]
    stride = chain.vector("strides", window.strides)
    round_up = chain.vector("round_up", [s - 1 for s in window.strides])
    rounded = chain.node("Add", [size, round_up], "rounded")
    windows = chain.node("Div", [rounded, stride], "windows")
    covered = chain.node("Mul", [windows, stride], "covered")
    reach = chain.node("Add", [covered, chain.vector("overlap", overlaps)], "reach")
    overhang = chain.node("Sub", [reach, size], "overhang")
    if min(overlaps) >= 0:
        return overhang
    zero = chain.vector("zero", [0] * window.rank)
    if chain.opset >= _INTEGER_MAX_OPSET:
        return chain.node("Max", [overhang, zero], "total")
    positive = chain.node("Greater", [overhang, zero], "positive")
    return chain.node("Where", [positive, overhang, zero], "total")
