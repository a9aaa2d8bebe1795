"""ONNX: the amounts in the operator's own ``pads`` attribute; no new node."""

from __future__ import annotations

from collections.abc import Sequence

from padaudit.formats.onnx.document import OnnxDocument
from padaudit.formats.onnx.edit import GraphEditor, clear_padding, copied, write_pads
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Applied, Edit


def refuse(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why an operator can't take a pads attribute, or None if it can."""
    if "pads" in site.op.attributes:
        return "auto_pad stands together with pads, and runtimes disagree on which counts"
    return None


def apply(document: OnnxDocument, edits: Sequence[Edit]) -> Applied:
    """Return the model with ``pads`` written and ``auto_pad`` removed."""
    rewritten = copied(document)
    editor = GraphEditor(rewritten.model)
    for edit in edits:
        node = editor.node(edit.site.op.origin)
        clear_padding(node)
        if edit.adds_padding:
            write_pads(node, edit.pads)
    return Applied(rewritten)
