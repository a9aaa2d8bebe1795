"""ONNX: a Pad whose amounts the graph computes from the size it is run with."""

from __future__ import annotations

from typing import Final

from padaudit.formats.onnx.build import make_node
from padaudit.formats.onnx.document import OnnxDocument, opset_at
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import PAD_INPUTS_OPSET, clear_padding, pad_name
from padaudit.ir.site import Family, PaddingSite
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.declared import contradiction
from padaudit.rewriting.strategies.onnx_amounts import Chain, same_ends
from padaudit.rewriting.strategies.onnx_pad import put_pad, refuse_pad

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
    chain = Chain(editor, name, editor.opset(site.op.origin))
    size = _spatial_size(chain, site, source)
    before, after = same_ends(chain, size, site.window, site.padding)
    amounts = chain.node("Concat", _ends(chain, site, before, after), "pads", axis=0)
    pad = make_node("Pad", ["", amounts], [], name, mode="constant")
    put_pad(editor, item, pad, chain.nodes, chain.constants)
    return name


def _spatial_size(chain: Chain, site: PaddingSite, source: str) -> str:
    """Add what reads the spatial sizes n, shape ``(rank,)``."""
    first, last = site.spatial_axes[0], site.spatial_axes[-1] + 1
    if chain.opset >= _SHAPE_RANGE_OPSET:
        return chain.node("Shape", [source], "size", start=first, end=last)
    shape = chain.node("Shape", [source], "shape")
    bounds = [chain.vector("first", [first]), chain.vector("last", [last])]
    return chain.node("Slice", [shape, *bounds], "size")


def _ends(chain: Chain, site: PaddingSite, before: str, after: str) -> list[str]:
    """Return the parts of Pad's amounts: zeros for the axes around the spatial ones."""
    lead = chain.vector("lead", [0] * site.spatial_axes[0])
    trailing = 2 - site.spatial_axes[0]
    trail = [chain.vector("trail", [0] * trailing)] if trailing else []
    return [lead, before, *trail, lead, after, *trail]
