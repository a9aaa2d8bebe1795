"""The corrected port: the amounts that differ, written where the port has its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from padaudit.compare.differences import PaddingDifference
from padaudit.compare.making_up import take_out_rescaling
from padaudit.compare.stale import forget_sizes
from padaudit.compare.surroundings import Ahead, ahead_of, crops_are_measured, take_out_crops
from padaudit.compare.unit import Fill, Unit
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
from padaudit.ir.site import Family, Padding, PaddingSite
from padaudit.ir.walk import graph_of_op
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.functions import function_copies
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
    copies = function_copies(editor, graph, [_edit(item) for item in found])
    done: dict[tuple[str, NodeOrigin], str | None] = {}
    left: list[Unfixed] = []
    for item in found:
        op = item.port.site.op
        place = (copies.get(id(op), ""), op.origin)
        if place not in done:
            editor.in_copy(place[0])
            done[place] = _correct(editor, holders[id(op)], item)
        reason = done[place]
        if reason:
            left.append(Unfixed(item, reason))
    unfixed = [item.difference for item in left]
    forget_sizes(editor, graph, [item for item in found if item not in unfixed])
    return editor.result(), tuple(left)


def _edit(item: PaddingDifference) -> Edit:
    """Return a correction as an edit: calls of a function share it where all of it is equal."""
    port, original = item.port, item.original
    right = (original.counts_padding, original.fill, original.mode)
    what = (item.appended, item.unscaled, port.ahead, port.behind, port.mode, right)
    return Edit(port.site, f"{STRATEGY} {what}", item.expected_pads)


def _correct(editor: GraphEditor, graph: Graph, item: PaddingDifference) -> str | None:
    """Correct one operator; return why that can't be done, or None."""
    port = item.port
    if item.expected_pads is None:
        return _by_mode(editor, item)
    if port.transposed:
        return _correct_crop(editor, graph, item, item.expected_pads)
    if _is_filled(port) or _is_filled(item.original):
        return _refill(editor, graph, item, item.expected_pads)
    hindered, ahead = _hinders(item, item.expected_pads), ahead_of(graph, port)
    if hindered and ahead is None:
        return "what pads or crops in front of it is used elsewhere too"
    if ahead is not None and not (hindered or ahead.directly):
        ahead = None
    sliced = not (
        crops_are_measured(graph, port) or _crop_hinders(item, item.expected_pads, ahead is None)
    )
    own = _own(port, item.expected_pads, ahead is None, sliced)
    zeros = _counts_zeros(item)
    as_attribute = _fits(port.site, own) and not (zeros and port.family is Family.MAX_POOL)
    if not as_attribute and not zeros and port.family is Family.AVG_POOL:
        return f"it would need the pads {own}, which runtimes refuse for an average pool"
    _clear_around(editor, graph, item, ahead, sliced)
    node = editor.node(port.site.op.origin)
    clear_padding(node)
    if port.family in _POOLS:
        remove_attributes(node, ["ceil_mode"])
    if port.family is Family.AVG_POOL:
        write_int(node, "count_include_pad", int(zeros))
    if not as_attribute:
        # A pool that takes padding for zero is padded as a convolution is.
        site = replace(port.site, family=Family.CONV) if zeros else port.site
        onnx_pad.edit(editor, Edit(site, STRATEGY, own))
    elif any(map(any, own)):
        write_pads(node, own)
    return None


def _clear_around(
    editor: GraphEditor, graph: Graph, item: PaddingDifference, ahead: Ahead | None, sliced: bool
) -> None:
    """Take out what stands around an operator and is not to stay."""
    if ahead is not None:
        ahead.take_out(editor)
    if not sliced:
        take_out_crops(editor, graph, item.port)
    if item.unscaled:
        removed = () if sliced else item.port.cropping_ops
        take_out_rescaling(editor, graph, item.port.site.op, removed)


def _is_filled(unit: Unit) -> bool:
    """Tell whether an operator pads with something else than zeros, or least values."""
    return unit.contents not in (None, Fill())


def _refill(
    editor: GraphEditor, graph: Graph, item: PaddingDifference, expected: Pads
) -> str | None:
    """Write amounts with a Pad of the original's mode and value, instead of the port's."""
    port, fill = item.port, item.original.contents or Fill()
    if fill.value and port.site.dtype is None:
        return "its element type is not known"
    ahead = ahead_of(graph, port)
    if port.padding_ops and ahead is None:
        return "what pads or crops in front of it is used elsewhere too"
    own = _own(port, expected, ahead=False)
    if ahead is not None:
        ahead.take_out(editor)
    node = editor.node(port.site.op.origin)
    clear_padding(node)
    if port.family in _POOLS:
        remove_attributes(node, ["ceil_mode"])
    if fill == Fill() and port.family is Family.CONV and min(map(min, own)) >= 0:
        write_pads(node, own)
        return None
    site = replace(port.site, family=Family.CONV)
    onnx_pad.edit(editor, Edit(site, STRATEGY, own), fill.mode, fill.value)
    return None


def _counts_zeros(item: PaddingDifference) -> bool:
    """Tell whether what a pool pads has to count as zeros."""
    if item.port.family is Family.AVG_POOL:
        return (item.original if item.divisor else item.port).counts_padding
    return item.port.family is Family.MAX_POOL and not item.original.fills_least


def _hinders(item: PaddingDifference, expected: Pads) -> bool:
    """Tell whether what is in front of an operator has to go before its amounts can be right.

    A mean counts what a Pad adds, and what a Slice takes away is nothing that can be padded.
    """
    port = item.port
    own = _own(port, expected)
    unlike = port.family is Family.MAX_POOL and port.fills_least != item.original.fills_least
    unlike = unlike or port.family is Family.AVG_POOL
    return any(
        (unlike and added > 0) or mine > 0 > added
        for index, axis in enumerate(port.axes)
        for mine, added in zip(own[axis], port.ahead[index], strict=True)
    )


def _crop_hinders(item: PaddingDifference, expected: Pads, ahead: bool) -> bool:
    """Tell whether a pool can be padded rightly only if nothing is cropped behind it."""
    port = item.port
    if port.family not in _POOLS or not port.cropping_ops:
        return False
    return not _fits(port.site, _own(port, expected, ahead))


def _own(port: Unit, expected: Pads, ahead: bool = True, behind: bool = True) -> Pads:
    """Return what is left for the operator itself of the amounts that are right.

    ``ahead`` and ``behind`` tell what of its surroundings stays.
    """
    own = list(expected)
    for index, axis in enumerate(port.axes):
        around = port.around(index, ahead, behind)
        own[axis] = own[axis][0] - around[0], own[axis][1] - around[1]
    return tuple(own)


def _correct_crop(
    editor: GraphEditor, graph: Graph, item: PaddingDifference, expected: Pads
) -> str | None:
    """Write what a transposed convolution crops, and what it appends."""
    port = item.port
    chosen = sliced = _crop(item, expected, behind=True)
    if isinstance(sliced, str) or crops_are_measured(graph, port):
        chosen = _crop(item, expected, behind=False)
    if isinstance(chosen, str):
        return chosen
    if chosen is not sliced:
        take_out_crops(editor, graph, port)
    pads, appended = chosen
    node = editor.node(port.site.op.origin)
    clear_padding(node)
    remove_attributes(node, ["output_shape", "output_padding"])
    if any(map(any, pads)):
        write_pads(node, pads)
    if any(appended):
        write_ints(node, "output_padding", appended)
    return None


def _crop(item: PaddingDifference, expected: Pads, behind: bool) -> tuple[Pads, list[int]] | str:
    """Return what to crop and to append, with or without what is sliced behind; or why not."""
    port, pads, appended = item.port, list(expected), [0] * len(expected)
    for index, axis in enumerate(port.axes):
        around = port.around(index, behind=behind)
        before = expected[axis][0] - around[0]
        after = expected[axis][1] - item.appended[axis] - around[1]
        pads[axis], appended[axis] = (before, max(after, 0)), max(-after, 0)
        if before < 0:
            return "it would have to start in front of its full output"
        if appended[axis] >= port.window.strides[index]:
            return f"it would need an output_padding of {appended}, not below its stride"
    return tuple(pads), appended


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


def _fits(site: PaddingSite, pads: Pads) -> bool:
    """Tell whether runtimes take pads as an attribute: pools want them below their kernel."""
    if min((min(pair) for pair in pads), default=0) < 0:
        return False
    if site.family not in _POOLS or site.window is None:
        return True
    return all(max(pair) < size for pair, size in zip(pads, site.window.kernel_shape, strict=True))
