"""ONNX: a pool at every place where a window may stand, and a Slice that takes the right ones.

Where "same" pads the start of an axis by an amount that depends on an open size, no ``pads`` of a
strided pool are right for all sizes; and a Pad in front of a pool that counts no padding, or gives
Indices, would be counted. At stride 1 the most that any size needs, ``(b, a)``, is right: a
window of the pool then stands at ``-b, -b + 1, ...``. The windows of "same" are every s-th of
them from ``b - before(n)`` on, and there are ``ceil(n / s)`` of them up to the end: one more would
need more than ``a`` elements behind the input. Axes whose start is alike at all sizes keep their
stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from padaudit.formats.onnx.build import make_node
from padaudit.formats.onnx.document import OnnxDocument, opset_at
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import clear_padding, write_ints, write_pads
from padaudit.formats.onnx.protos import NodeProto
from padaudit.ir.site import PaddingSite, Window
from padaudit.padding.amounts import FORMULAS, AxisPads
from padaudit.padding.symbolic import AxisAmounts, ByRemainder, lasting_amounts, open_amounts
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.declared import contradiction
from padaudit.rewriting.strategies.onnx_amounts import Chain, same_start
from padaudit.rewriting.strategies.onnx_pad import mark
from padaudit.rewriting.strategies.onnx_pads_attribute import too_wide

NOTE: Final = (
    "the pool runs at stride 1, and a Slice takes the windows of the size it is run with; "
    "with --input-shape it keeps its stride"
)
_SLICE_INPUTS_OPSET: Final = 10
_TO_THE_END: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of the pool.

    Parameters
    ----------
    pads : AxisPads
        (before, after) that the pool gets.
    varies : bool
        Whether the Slice takes the windows, so that the pool has stride 1.
    """

    pads: AxisPads
    varies: bool


def refuse(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why a pool can't be sliced, or None if it can."""
    if site.window is None:
        return site.unresolved or "its kernel is not known"
    wide = too_wide(tuple(axis.pads for axis in _axes(site, site.window)), site.window.kernel_shape)
    opset = opset_at(document.model, site.op.origin)
    if wide is None and opset < _SLICE_INPUTS_OPSET:
        return (
            f"no Slice of opset {opset} follows a size; one of --opset {_SLICE_INPUTS_OPSET} does"
        )
    return wide or contradiction(site)


def edit(editor: GraphEditor, item: Edit) -> str | None:
    """Let the pool run at stride 1 and slice its results; no Pad is added."""
    site, window = item.site, item.site.window
    if window is None:
        return None
    axes = _axes(site, window)
    pool = editor.node(site.op.origin)
    clear_padding(pool, site)
    write_pads(pool, tuple(axis.pads for axis in axes))
    if not any(axis.varies for axis in axes):
        return None
    kept = [1 if axis.varies else s for axis, s in zip(axes, window.strides, strict=True)]
    write_ints(pool, "strides", kept)
    name = editor.free_node_name(f"{pool.name or site.op.name}/slice")
    chain = Chain(editor, name, editor.opset(site.op.origin))
    bounds = _bounds(chain, site, window, axes, pool.input[0])
    slices = [_sliced(chain, item, pool, slot, bounds) for slot in _results(pool)]
    editor.replace(site.op.origin, [*chain.nodes, pool, *slices], chain.constants)
    return None


def _axes(site: PaddingSite, window: Window) -> tuple[_Axis, ...]:
    """Return what the pool gets on every axis; where a size is not known, what fits any."""
    sides = zip(window.kernel_shape, window.strides, window.dilations, strict=True)
    found = []
    for amounts, side in zip(site.amounts, sides, strict=True):
        given = amounts or open_amounts(FORMULAS[site.padding.value], *side)
        lasting = lasting_amounts(given, *side)
        found.append(_most(given) if lasting is None else _Axis(lasting, False))
    return tuple(found)


def _most(amounts: AxisAmounts) -> _Axis:
    """Return the most that any size needs at either end."""
    if not isinstance(amounts, ByRemainder):
        return _Axis(amounts, False)
    before, after = zip(*amounts.cases, strict=True)
    return _Axis((max(before), max(after)), True)


def _bounds(
    chain: Chain, site: PaddingSite, window: Window, axes: Sequence[_Axis], source: str
) -> list[str]:
    """Add what computes where the windows begin; return starts, ends, axes and steps of Slice."""
    varying = [index for index, axis in enumerate(axes) if axis.varies]
    part = Window(
        tuple(window.kernel_shape[index] for index in varying),
        tuple(window.strides[index] for index in varying),
        tuple(window.dilations[index] for index in varying),
    )
    places = chain.vector("axes", [site.spatial_axes[index] for index in varying])
    size = chain.node("Gather", [chain.node("Shape", [source], "shape"), places], "size", axis=0)
    before = same_start(chain, size, part, site.padding)
    most = chain.vector("most", [axes[index].pads[0] for index in varying])
    ends = chain.vector("ends", [_TO_THE_END] * len(varying))
    steps = chain.vector("steps", part.strides)
    return [chain.node("Sub", [most, before], "starts"), ends, places, steps]


def _results(pool: NodeProto) -> list[int]:
    return [slot for slot, name in enumerate(pool.output) if name]


def _sliced(
    chain: Chain, item: Edit, pool: NodeProto, slot: int, bounds: Sequence[str]
) -> NodeProto:
    """Return a Slice that gives a result of the pool its name, and the pool another one."""
    editor, result = chain.editor, pool.output[slot]
    name = editor.free_node_name(f"{chain.prefix}_{slot}") if slot else chain.prefix
    pool.output[slot] = editor.free_tensor_name(f"{result}/every_window")
    made = make_node("Slice", [pool.output[slot], *bounds], [result], name)
    mark(editor, made, item)
    return made
