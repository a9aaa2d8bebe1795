"""ONNX: a constant zero Pad that feeds one convolution goes into its ``pads`` attribute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import clear_padding, write_pads
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Family, PaddingSite
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from padaudit.formats.onnx.constants import Constants

NAME: Final = "onnx_fold_pad"


def fold(constants: Constants, graph: Graph, site: PaddingSite) -> Edit | None:
    """Return the edit that folds the Pad in front of a convolution; None if there is none."""
    pad = graph.producer(site.op.inputs[0])
    if pad is None or pad.op_type != "Pad" or pad.domain or site.family is not Family.CONV:
        return None
    own = site.lasting_pads
    if site.zero_point_input is not None or own is None or not _only_use(graph, pad):
        return None
    ahead = _amounts(constants, pad, site)
    if ahead is None:
        return None
    total = tuple((a + c, b + d) for (a, b), (c, d) in zip(ahead, own, strict=True))
    return Edit(site, NAME, total, folded=pad)


def edit(editor: GraphEditor, item: Edit) -> str | None:
    """Write the sum of both amounts and take the Pad away."""
    if item.folded is None or item.pads is None:
        return None
    node = editor.node(item.site.op.origin)
    clear_padding(node, item.site)
    if item.adds_padding:
        write_pads(node, item.pads)
    node.input[0] = item.folded.inputs[0]
    editor.remove(item.folded.origin)
    return None


def _only_use(graph: Graph, pad: Op) -> bool:
    """Tell whether a tensor is read once, and not by a body or as a result of the graph."""
    name = pad.outputs[0]
    inner = any(
        name in _reads(body) for bodies in graph.nested.values() for body in bodies.values()
    )
    return len(list(graph.uses(pad))) == 1 and name not in graph.outputs and not inner


def _reads(graph: Graph) -> set[str]:
    names = {name for op in graph.ops() for name in op.inputs}
    for bodies in graph.nested.values():
        for body in bodies.values():
            names |= _reads(body)
    return names | set(graph.outputs)


def _amounts(constants: Constants, pad: Op, site: PaddingSite) -> tuple[AxisPads, ...] | None:
    """Return the spatial amounts of a Pad of zeros; None if it is anything else."""
    attributes = pad.attributes
    if attributes.get("mode", "constant") != "constant":
        return None
    if "pads" in attributes or "paddings" in attributes:
        flat: Any = attributes.get("pads", attributes.get("paddings"))
        value: Any = attributes.get("value", 0.0)
        axes: Any = None
    else:
        flat, value, axes = (_input(constants, pad, slot) for slot in (1, 2, 3))
        if flat is None or any(
            given is None and _given(pad, slot) for slot, given in ((2, value), (3, axes))
        ):
            return None
    if value is not None and any(item != 0 for item in _flat(value)):
        return None
    return _spatial([int(item) for item in _flat(flat)], axes, site)


def _flat(value: Any) -> list[Any]:
    """Return the elements of an array, a list or a number."""
    if hasattr(value, "ravel"):
        return list(value.ravel())
    return list(value) if isinstance(value, list | tuple) else [value]


def _spatial(
    flat: Sequence[int], axes: NDArray[Any] | None, site: PaddingSite
) -> tuple[AxisPads, ...] | None:
    rank = len(site.spatial_axes) + 2
    places = [int(axis) % rank for axis in axes] if axes is not None else list(range(rank))
    if len(flat) != 2 * len(places) or min(flat, default=0) < 0:
        return None
    by_axis = {axis: (flat[index], flat[index + len(places)]) for index, axis in enumerate(places)}
    others = [pair for axis, pair in by_axis.items() if axis not in site.spatial_axes]
    if any(map(any, others)):
        return None
    return tuple(by_axis.get(axis, (0, 0)) for axis in site.spatial_axes)


def _given(pad: Op, slot: int) -> bool:
    return slot < len(pad.inputs) and bool(pad.inputs[slot])


def _input(constants: Constants, pad: Op, slot: int) -> NDArray[Any] | None:
    if not _given(pad, slot) or constants.may_be_fed(pad.inputs[slot]):
        return None
    return constants.array(pad.origin.steps, pad.inputs[slot])
