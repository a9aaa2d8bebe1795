"""ONNX: a three-input Pad of full rank in front of an operator without padding.

This is the form that onnxruntime fuses back into a Conv (no cost at inference), and that
other consumers read: no ``axes`` input, no ``auto_pad`` attribute, no ``pads`` attribute.
"""

from __future__ import annotations

from collections.abc import Sequence

from padaudit.formats.onnx.build import int64_vector, make_node, scalar
from padaudit.formats.onnx.document import NodeOrigin, OnnxDocument, opset_at
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import (
    PAD_INPUTS_OPSET,
    PAD_TYPES,
    clear_padding,
    full_pads,
    pad_name,
    pad_type_refused,
    pad_value,
)
from padaudit.formats.onnx.protos import NodeProto, TensorProto
from padaudit.ir.site import Family, PaddingSite
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.declared import VARYING, contradiction

_NODE_METADATA_IR = 10


def refuse(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why an operator can't get a Pad with constant amounts, or None if it can."""
    pads = site.lasting_pads
    if pads is None:
        return VARYING
    reason = contradiction(site)
    if reason or not any(map(any, pads)):
        return reason
    return refuse_pad(document, site)


def refuse_pad(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why no Pad can stand in front of an operator, or None if one can."""
    if site.family is Family.AVG_POOL and not site.op.attributes.get("count_include_pad"):
        return "its divisor counts no padding (count_include_pad=0), but would count a Pad's"
    if site.family is Family.MAX_POOL and any(site.op.outputs[1:]):
        return "its Indices would count the elements that a Pad adds"
    quantized = site.zero_point_input is not None
    if quantized and site.family is Family.AVG_POOL:
        return "onnxruntime rounds its halves in another way behind a Pad"
    if not quantized and site.dtype not in (None, *PAD_TYPES):
        return f"there is no Pad for {site.dtype}"
    if site.family is Family.MAX_POOL and site.dtype is None:
        return "its element type is not known, so its least value isn't either"
    opset = opset_at(document.model, site.op.origin)
    return pad_type_refused(opset, "uint8" if quantized else site.dtype)


def edit(
    editor: GraphEditor, item: Edit, mode: str = "constant", value: float | None = None
) -> str | None:
    """Insert a Pad with constant amounts; return its name.

    Parameters
    ----------
    editor : GraphEditor
        The model.
    item : Edit
        The site, and its amounts.
    mode : str
        How to pad, in ONNX's words.
    value : float, optional
        What to pad with in mode ``constant``; by default what the operator itself would.
    """
    origin: NodeOrigin = item.site.op.origin
    node = editor.node(origin)
    clear_padding(node, item.site)
    if item.pads is None or not item.adds_padding:
        return None
    name = editor.free_node_name(pad_name(item.site))
    flat = full_pads(item.site, item.pads)
    if editor.opset(origin) < PAD_INPUTS_OPSET:
        stated = float(pad_value(item.site) if value is None else value)
        pad = make_node("Pad", [], [], name, mode=mode, pads=flat, value=stated)
        put_pad(editor, item, pad, [], [])
        return name
    amounts = constant(editor, f"{name}/pads", flat)
    pad = make_node("Pad", ["", amounts.name], [], name, mode=mode)
    put_pad(editor, item, pad, [], [amounts], value)
    return name


def constant(editor: GraphEditor, name: str, values: Sequence[int]) -> TensorProto:
    """Return an int64 vector under a free name."""
    return int64_vector(editor.free_tensor_name(name), values)


def put_pad(
    editor: GraphEditor,
    item: Edit,
    pad: NodeProto,
    ahead: list[NodeProto],
    constants: list[TensorProto],
    value: float | None = None,
) -> None:
    """Connect a Pad (and what computes its amounts) in front of a site's operator."""
    node = editor.node(item.site.op.origin)
    source = node.input[0]
    padded = editor.free_tensor_name(f"{source}/{pad.name}")
    if pad.input:
        held = _value_input(editor, item.site, pad.name, constants, value)
        pad.input[0] = source
        pad.input.extend([held] if held else [])
    else:
        pad.input.append(source)
    pad.output.append(padded)
    node.input[0] = padded
    mark(editor, pad, item)
    editor.insert_before(item.site.op.origin, [*ahead, pad], constants)


def mark(editor: GraphEditor, node: NodeProto, item: Edit) -> None:
    """Note on a new node which site it belongs to, where the IR has a place for that."""
    if editor.model.ir_version >= _NODE_METADATA_IR:
        node.metadata_props.add(key="padaudit.site", value=item.site.id)
        node.metadata_props.add(key="padaudit.strategy", value=item.strategy)


def _value_input(
    editor: GraphEditor,
    site: PaddingSite,
    name: str,
    constants: list[TensorProto],
    stated: float | None,
) -> str:
    """Return the tensor that holds the pad value; ``""`` for a zero of whatever type."""
    value = pad_value(site) if stated is None else stated
    if isinstance(value, str):
        return value
    if site.dtype not in PAD_TYPES:
        return ""
    free = editor.free_tensor_name(f"{name}/value")
    constants.append(scalar(free, site.dtype, value))
    return free
