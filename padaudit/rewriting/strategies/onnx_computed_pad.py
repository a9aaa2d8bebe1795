"""ONNX: a Pad whose amounts the graph computes from the size it is run with.

``t = max(ceil(n / s) * s + (ke - s) - n, 0)``, which is `padaudit.padding.amounts.same_total`
written with the operators of opset 11. ``ceil(n / s)`` is ``(n + s - 1) / s``: ONNX's integer
Div truncates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from padaudit.formats.onnx.build import make_node
from padaudit.formats.onnx.document import OnnxDocument, opset_at
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import PAD_INPUTS_OPSET, clear_padding, pad_name
from padaudit.formats.onnx.protos import NodeProto, TensorProto
from padaudit.ir.site import Family, Padding, PaddingSite, Window
from padaudit.padding.amounts import effective_kernel
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.declared import contradiction
from padaudit.rewriting.strategies.onnx_pad import constant, put_pad, refuse_pad

_INTEGER_MAX_OPSET: Final = 12
_SHAPE_RANGE_OPSET: Final = 15


def refuse(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why the amounts of a site can't be computed in the graph, or None if they can."""
    if site.window is None:
        return site.unresolved or "its kernel is not known"
    if site.family is Family.TRANSPOSED_CONV:
        return "what it crops depends on a size that is open"
    opset = opset_at(document.model, site.op.origin)
    if opset < PAD_INPUTS_OPSET:
        return (
            f"its amounts depend on a size that is open, and Pad of opset {opset} can't compute "
            f"them; convert the model with --opset {PAD_INPUTS_OPSET} or newer, or fix the size "
            "with --input-shape"
        )
    return contradiction(site) or refuse_pad(document, site)


def edit(editor: GraphEditor, item: Edit) -> str | None:
    """Insert a Pad and the nodes that compute its amounts; return the Pad's name."""
    site = item.site
    if site.window is None:
        return None
    node = editor.node(site.op.origin)
    source = node.input[0]
    clear_padding(node, site)
    name = editor.free_node_name(pad_name(site))
    chain = _Chain(editor, name, editor.opset(site.op.origin))
    total = _total(chain, _spatial_size(chain, site, source), site.window)
    small = chain.node("Div", [total, chain.vector("two", [2] * site.window.rank)], "small")
    large = chain.node("Sub", [total, small], "large")
    before, after = (small, large) if site.padding is Padding.SAME_UPPER else (large, small)
    amounts = chain.node("Concat", _ends(chain, site, before, after), "pads", axis=0)
    pad = make_node("Pad", ["", amounts], [], name, mode="constant")
    put_pad(editor, item, pad, chain.nodes, chain.constants)
    return name


class _Chain:
    """Nodes on one-dimensional int64 tensors, named after the Pad that they serve."""

    def __init__(self, editor: GraphEditor, prefix: str, opset: int) -> None:
        self.editor = editor
        self.prefix = prefix
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, op_type: str, inputs: Sequence[str], label: str, **attributes: int) -> str:
        name = self.editor.free_node_name(f"{self.prefix}/{label}")
        output = self.editor.free_tensor_name(name)
        self.nodes.append(make_node(op_type, list(inputs), [output], name, **attributes))
        return output

    def vector(self, label: str, values: Sequence[int]) -> str:
        made = constant(self.editor, f"{self.prefix}/{label}", values)
        self.constants.append(made)
        return str(made.name)


def _spatial_size(chain: _Chain, site: PaddingSite, source: str) -> str:
    """Add what reads the spatial sizes n, shape ``(rank,)``."""
    first, last = site.spatial_axes[0], site.spatial_axes[-1] + 1
    if chain.opset >= _SHAPE_RANGE_OPSET:
        return chain.node("Shape", [source], "size", start=first, end=last)
    shape = chain.node("Shape", [source], "shape")
    bounds = [chain.vector("first", [first]), chain.vector("last", [last])]
    return chain.node("Slice", [shape, *bounds], "size")


def _total(chain: _Chain, size: str, window: Window) -> str:
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


def _ends(chain: _Chain, site: PaddingSite, before: str, after: str) -> list[str]:
    """Return the parts of Pad's amounts: zeros for the axes around the spatial ones."""
    lead = chain.vector("lead", [0] * site.spatial_axes[0])
    trailing = 2 - site.spatial_axes[0]
    trail = [chain.vector("trail", [0] * trailing)] if trailing else []
    return [lead, before, *trail, lead, after, *trail]
