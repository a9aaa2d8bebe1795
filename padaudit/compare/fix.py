"""The corrected port: the amounts that differ, written where the port has its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from padaudit.compare.differences import PaddingDifference
from padaudit.compare.unit import Unit
from padaudit.formats.onnx.build import make_attribute
from padaudit.formats.onnx.document import NodeOrigin, OnnxDocument
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import (
    clear_padding,
    remove_attributes,
    write_int,
    write_ints,
    write_pads,
)
from padaudit.formats.onnx.protos import NodeProto
from padaudit.formats.onnx.write import RewrittenOnnx
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Family, Padding, PaddingSite
from padaudit.ir.walk import graph_of_op
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies import onnx_pad

STRATEGY: Final = "compare_fix"
_POOLS: Final = frozenset({Family.MAX_POOL, Family.AVG_POOL, Family.LP_POOL})
_MODES: Final = {Padding.SAME_UPPER: "SAME_UPPER", Padding.SAME_LOWER: "SAME_LOWER"}
Pads = tuple[AxisPads, ...]


@dataclass(frozen=True, slots=True)
class Unfixed:
    """A difference that could not be corrected in the port, and why (a clause)."""

    difference: PaddingDifference
    reason: str


def corrected(
    document: OnnxDocument, graph: Graph, found: Sequence[PaddingDifference]
) -> tuple[RewrittenOnnx, tuple[Unfixed, ...]]:
    """Return a port with the padding that its original has, and what could not be corrected.

    Parameters
    ----------
    document : OnnxDocument
        The port; it is not changed.
    graph : Graph
        Its graph.
    found : sequence of PaddingDifference
        What to correct.
    """
    holders, editor = graph_of_op(graph), GraphEditor(document)
    calls = Counter(item.port.site.op.origin for item in found)
    done: set[NodeOrigin] = set()
    left: list[Unfixed] = []
    for item in found:
        origin: NodeOrigin = item.port.site.op.origin
        if origin in done:
            continue
        reason = _refuse_shared(origin, calls[origin])
        reason = reason or _correct(editor, holders[id(item.port.site.op)], item)
        if reason:
            left.append(Unfixed(item, reason))
        else:
            done.add(origin)
    return editor.result(), tuple(left)


def _refuse_shared(origin: NodeOrigin, calls: int) -> str | None:
    if calls > 1:
        return "it stands in a function that is called several times; inline the function first"
    return None


def _correct(editor: GraphEditor, graph: Graph, item: PaddingDifference) -> str | None:
    """Correct one operator; return why that can't be done, or None."""
    port = item.port
    if item.expected_pads is None:
        return _by_mode(editor, item)
    if port.transposed:
        return _correct_crop(editor, item, item.expected_pads)
    pad = _foldable(graph, port)
    if port.family is Family.AVG_POOL and pad is None and any(map(any, port.ahead)):
        return "the Pad in front of it counts in its divisor, and is used elsewhere too"
    own = _own(port, item.expected_pads, without_ahead=pad is not None)
    node = editor.node(port.site.op.origin)
    fits = min((min(pair) for pair in own), default=0) >= 0 and _runtimes_take(port.site, own)
    zeros = port.family is Family.MAX_POOL and not item.original.fills_least
    fits = fits and not zeros
    if not fits and port.family is Family.AVG_POOL:
        return f"it would need the pads {own}, which runtimes refuse for an average pool"
    if port.family is Family.AVG_POOL:
        counts = item.original if item.divisor else port
        write_int(node, "count_include_pad", int(counts.counts_padding))
    if port.family in _POOLS:
        remove_attributes(node, ["ceil_mode"])
    clear_padding(node)
    if pad is not None:
        node.input[0] = pad.inputs[0]
        editor.remove(pad.origin)
    if not fits:
        # A pool that takes padding for zero is padded as a convolution is.
        site = replace(port.site, family=Family.CONV) if zeros else port.site
        onnx_pad.edit(editor, Edit(site, STRATEGY, own))
    elif any(map(any, own)):
        write_pads(node, own)
    return None


def _own(port: Unit, expected: Pads, without_ahead: bool) -> Pads:
    """Return what is left for the operator itself of the amounts that are right."""
    own = list(expected)
    for index, axis in enumerate(port.axes):
        around = port.around(index)
        if without_ahead:
            ahead = port.ahead[index]
            around = around[0] - ahead[0], around[1] - ahead[1]
        own[axis] = own[axis][0] - around[0], own[axis][1] - around[1]
    return tuple(own)


def _correct_crop(editor: GraphEditor, item: PaddingDifference, expected: Pads) -> str | None:
    """Write what a transposed convolution crops, and what it appends."""
    port, pads, appended = item.port, list(expected), [0] * len(expected)
    for index, axis in enumerate(port.axes):
        around = port.around(index)
        before = expected[axis][0] - around[0]
        after = expected[axis][1] - item.appended[axis] - around[1]
        pads[axis], appended[axis] = (before, max(after, 0)), max(-after, 0)
        if before < 0:
            return "a Slice behind it takes away more at the start than is right"
        if appended[axis] >= port.window.strides[index]:
            return f"it would need an output_padding of {appended}, not below its stride"
    node = editor.node(port.site.op.origin)
    clear_padding(node)
    remove_attributes(node, ["output_shape", "output_padding"])
    if any(map(any, pads)):
        write_pads(node, tuple(pads))
    if any(appended):
        write_ints(node, "output_padding", appended)
    return None


def _by_mode(editor: GraphEditor, item: PaddingDifference) -> str | None:
    """Give an operator of open size the original's mode, where that is all there is."""
    original, port = item.original, item.port
    mode = _MODES.get(original.site.padding)
    plain = not any(any(map(any, unit.ahead + unit.behind)) for unit in (original, port))
    if mode is None or not plain or port.transposed or set(port.window.dilations) != {1}:
        return "its amounts depend on a size that is open; fix it with --input-shape"
    node = editor.node(port.site.op.origin)
    clear_padding(node)
    _write_mode(node, mode)
    if port.family in _POOLS:
        remove_attributes(node, ["ceil_mode"])
    if port.family is Family.AVG_POOL:
        write_int(node, "count_include_pad", int(original.counts_padding))
    return None


def _write_mode(node: NodeProto, mode: str) -> None:
    node.attribute.append(make_attribute("auto_pad", mode))


def _foldable(graph: Graph, port: Unit) -> Op | None:
    """Return the one Pad that stands directly in front of an operator, for it alone."""
    if len(port.padding_ops) != 1:
        return None
    pad = port.padding_ops[0]
    alone = len(list(graph.uses(pad))) == 1 and pad.outputs[0] not in graph.outputs
    return pad if alone and port.site.op.inputs[0] == pad.outputs[0] else None


def _runtimes_take(site: PaddingSite, pads: Pads) -> bool:
    """Tell whether runtimes take pads as an attribute: pools want them below their kernel."""
    if site.family not in _POOLS or site.window is None:
        return True
    return all(max(pair) < size for pair, size in zip(pads, site.window.kernel_shape, strict=True))
