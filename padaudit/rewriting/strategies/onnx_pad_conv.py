"""ONNX: a three-input Pad of full rank in front of a Conv without padding.

This is the form that onnxruntime fuses back into the Conv (no cost at inference), and that
other consumers read: no ``axes`` input, no ``auto_pad`` attribute, no ``pads`` attribute.
"""

from __future__ import annotations

from collections.abc import Sequence

from padaudit.formats.onnx.document import OnnxDocument, opset_at
from padaudit.formats.onnx.edit import ELEMENT_TYPES, GraphEditor, clear_padding, copied
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Applied, Edit

_PAD_OPSET = 2
_BFLOAT16_OPSET = 13


def refuse(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why a Conv can't get a Pad node, or None if it can."""
    if "pads" in site.op.attributes:
        return "auto_pad stands together with pads, and runtimes disagree on which counts"
    opset = opset_at(document.model, site.op.origin)
    if opset < _PAD_OPSET:
        return "Pad of opset 1 is not implemented by runtimes; --style attrs needs none"
    if site.dtype == "bfloat16" and opset < _BFLOAT16_OPSET:
        return f"Pad of opset {opset} takes no bfloat16"
    if site.dtype not in ELEMENT_TYPES:
        return "the element type of its weights is not known, so no pad value can be written"
    return None


def apply(document: OnnxDocument, edits: Sequence[Edit]) -> Applied:
    """Return the model with Pad nodes inserted."""
    rewritten = copied(document)
    editor = GraphEditor(rewritten.model)
    created: dict[str, str] = {}
    names: dict[object, str] = {}
    for edit in edits:
        origin = edit.site.op.origin
        if origin not in names:
            clear_padding(editor.node(origin))
            names[origin] = editor.pad_before(edit) if edit.adds_padding else ""
        if names[origin]:
            created[edit.site.id] = names[origin]
    editor.commit()
    return Applied(rewritten, created)
