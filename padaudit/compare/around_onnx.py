"""ONNX: what Pads in front of an operator add, and what is taken away behind it.

Slices take away, and so do Pads of negative amounts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from padaudit.compare.values import Values
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import PaddingSite
from padaudit.padding.amounts import AxisPads

POINTWISE: Final = frozenset(
    {"BatchNormalization", "Cast", "Clip", "Dropout", "Elu", "Identity", "LeakyRelu", "Relu"}
    | {"Sigmoid", "Tanh"}
)
"""What may stand between an operator and the Slice behind it: each element stays in place."""
_KEEPS_ZERO: Final = frozenset({"Cast", "Dropout", "Elu", "Identity", "LeakyRelu", "Relu", "Tanh"})
"""What may stand between a Pad and the operator behind it: zeros stay zeros."""
_MAX_CHAIN: Final = 16
_LARGE: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around an operator, per spatial axis, and where it starts.

    Parameters
    ----------
    ahead, behind : tuple of AxisPads
        What is padded in front (negative: cropped), and cropped behind.
    pads : tuple of Op
        The padding and cropping operators in front, the nearest one first.
    crops : tuple of Op
        The cropping operators behind, the nearest one first.
    settled : bool
        Whether the amounts of all of them are known.
    fill : float
        The value that they pad with, if the mode is ``constant``; NaN where that is several.
    mode : str
        How they pad, in ONNX's words.
    """

    ahead: tuple[AxisPads, ...]
    behind: tuple[AxisPads, ...]
    pads: tuple[Op, ...] = ()
    crops: tuple[Op, ...] = ()
    settled: bool = True
    fill: float = 0.0
    mode: str = "constant"


def around_onnx(
    values: Values, graph: Graph, site: PaddingSite, claimed: Collection[Op] = ()
) -> Around:
    """Return what stands around a site of an ONNX model.

    Parameters
    ----------
    values : Values
        Values of the graph's small tensors.
    graph : Graph
        The graph that holds the site.
    site : PaddingSite
        The site.
    claimed : collection of Op
        The operators that crop what stands in front of them.
    """
    ahead, pads, settled = _ahead(values, graph, site, claimed)
    behind, crops = _behind(values, graph, site)
    filling = [op for op in pads if op.op_type == "Pad"]
    fills = {_fill(values, op) for op in filling} or {0.0}
    fill = fills.pop() if len(fills) == 1 else math.nan
    mode = _mode(filling[0]) if filling else "constant"
    return Around(ahead, behind, pads, crops, settled, fill, mode)


def stacked(nearer: Sequence[AxisPads], further: Sequence[AxisPads]) -> list[AxisPads] | None:
    """Return what two operators in front of another add together; None if they don't add up.

    What is cropped and then padded is not what was there.

    Parameters
    ----------
    nearer, further : sequence of AxisPads
        What they pad; negative where they crop.
    """
    found = []
    for (a, b), (c, d) in zip(nearer, further, strict=True):
        if (a > 0 > c) or (b > 0 > d):
            return None
        found.append((a + c, b + d))
    return found


def crops_behind(values: Values, graph: Graph, sites: Iterable[PaddingSite]) -> list[Op]:
    """Return the Slices and Pads of a graph that crop what its sites give."""
    return [crop for site in sites for crop in _behind(values, graph, site)[1]]


def unsettled_amounts(values: Values, graph: Graph) -> list[str]:
    """Return the tensors that hold amounts of Pads and Slices and whose values are not known.

    Those of Slices count where the sizes of all inputs are known.
    """
    shapes = [graph.tensor(name).shape or (None, None) for name in graph.inputs]
    sized = all(isinstance(size, int) for shape in shapes for size in shape[1:])
    slots = {"Pad": (1,), "Slice": (1, 2) if sized else ()}
    names = [
        op.inputs[slot]
        for op in graph.ops()
        for slot in slots.get(op.op_type, ())
        if slot < len(op.inputs) and values.ints(op, slot) is None
    ]
    return list(dict.fromkeys(names))


def unmeasured(graph: Graph, op: Op) -> list[tuple[Op, int, int]]:
    """Return the uses of an operator's results but those that ask for their shape alone."""
    return [use for use in graph.uses(op) if use[0].op_type != "Shape"]


def _ahead(
    values: Values, graph: Graph, site: PaddingSite, claimed: Collection[Op]
) -> tuple[tuple[AxisPads, ...], tuple[Op, ...], bool]:
    axes: list[int] = list(site.spatial_axes)
    total: list[AxisPads] = [(0, 0)] * len(axes)
    pads: list[Op] = []
    name = site.op.inputs[0]
    for _ in range(_MAX_CHAIN):
        op = graph.producer(name)
        if op is None or op.domain or op in claimed:
            break
        if op.op_type == "Pad":
            if _mode(op) != "constant" and (pads or _pads_itself(site)):
                break
            amounts = _pad_amounts(values, op, axes)
            if amounts is None:
                return tuple(total), tuple(pads), not _may_add_zeros(values, op)
            both = stacked(total, amounts)
            if both is None:
                break
            pads.append(op)
            total = both
            if _mode(op) != "constant":
                break
        elif op.op_type == "Slice":
            both = _with_crop(values, op, axes, total)
            if both is None:
                break
            pads.append(op)
            total = both
        elif (moved := _moved(values, op, axes)) is not None:
            axes = moved
        elif op.op_type not in _KEEPS_ZERO:
            break
        name = op.inputs[0]
    return tuple(total), tuple(pads), True


def _with_crop(
    values: Values, op: Op, axes: Sequence[int], total: Sequence[AxisPads]
) -> list[AxisPads] | None:
    """Return what a Slice and the operators behind it pad together; None if that is not known."""
    shape = values.graph.tensor(op.inputs[0]).shape
    if shape is None or not set(axes) <= set(range(len(shape))):
        return None
    sizes = [size if isinstance(size := shape[axis], int) else None for axis in axes]
    crops = slice_amounts(values, op, axes, sizes, len(shape))
    return None if crops is None else stacked(total, [(-a, -b) for a, b in crops])


def _may_add_zeros(values: Values, pad: Op) -> bool:
    """Tell whether a Pad is one of constants whose amounts are not known."""
    return _mode(pad) == "constant" and len(pad.inputs) > 1 and values.ints(pad, 1) is None


def _pad_amounts(values: Values, pad: Op, axes: Sequence[int]) -> list[AxisPads] | None:
    """Return the amounts of a Pad for some axes; None if it does anything else."""
    flat = pad.attributes.get("pads", pad.attributes.get("paddings"))
    flat = values.ints(pad, 1) if flat is None else flat
    if not isinstance(flat, list) or len(flat) % 2:
        return None
    places = values.ints(pad, 3)
    rank = len(flat) // 2
    if places is None:
        places = list(range(rank))
    elif min(places, default=0) < 0:
        shape = values.graph.tensor(pad.inputs[0]).shape
        if shape is None:
            return None
        places = [place % len(shape) for place in places]
    by_axis = {axis: (flat[index], flat[rank + index]) for index, axis in enumerate(places)}
    others = [pair for axis, pair in by_axis.items() if axis not in axes]
    if any(map(any, others)):
        return None
    return [by_axis.get(axis, (0, 0)) for axis in axes]


def _mode(pad: Op) -> str:
    return str(pad.attributes.get("mode", "constant"))


def _pads_itself(site: PaddingSite) -> bool:
    """Tell whether an operator may pad with zeros what a Pad in front has filled otherwise."""
    return site.pads is None or any(map(any, site.pads))


def _fill(values: Values, pad: Op) -> float:
    stated = pad.attributes.get("value")
    if isinstance(stated, float):
        return stated
    if len(pad.inputs) < 3 or not pad.inputs[2]:
        return 0.0
    value = values.of(pad, pad.inputs[2])
    return float(value.ravel()[0]) if value is not None and value.size else 0.0


def _moved(values: Values, op: Op, axes: Sequence[int]) -> list[int] | None:
    """Return where axes of an operator's output are in its input; None if it mixes them."""
    if op.op_type == "Transpose":
        order = op.attributes.get("perm")
        return [order[axis] for axis in axes] if isinstance(order, list) else None
    if op.op_type not in ("Unsqueeze", "Squeeze"):
        return None
    places = op.attributes.get("axes") or values.ints(op, 1)
    shape = values.graph.tensor(op.inputs[0]).shape
    if not isinstance(places, list) or shape is None:
        return None
    if op.op_type == "Squeeze":
        gone = {place % len(shape) for place in places}
        kept = [axis for axis in range(len(shape)) if axis not in gone]
        return [kept[axis] for axis in axes]
    new = {place % (len(shape) + len(places)) for place in places}
    kept = [axis for axis in range(len(shape) + len(places)) if axis not in new]
    # A new axis has no place in the input, and no Pad in front can reach it.
    return [kept.index(axis) if axis in kept else -1 - axis for axis in axes]


def _behind(
    values: Values, graph: Graph, site: PaddingSite
) -> tuple[tuple[AxisPads, ...], tuple[Op, ...]]:
    axes = site.spatial_axes
    sizes = [size if isinstance(size, int) else None for size in site.output_size]
    total: list[AxisPads] = [(0, 0)] * len(axes)
    found: list[Op] = []
    op = site.op
    for _ in range(_MAX_CHAIN):
        uses = unmeasured(graph, op)
        if len(uses) != 1 or op.outputs[0] in graph.outputs or uses[0][2] != 0:
            break
        op = uses[0][0]
        if op.op_type in ("Pad", "Slice") and not op.domain:
            crops = _taken(values, op, axes, sizes)
            if crops is None:
                break
            found.append(op)
            total = [(a + c, b + d) for (a, b), (c, d) in zip(total, crops, strict=True)]
            pairs = zip(sizes, crops, strict=True)
            sizes = [None if size is None else size - sum(crop) for size, crop in pairs]
        elif op.op_type not in POINTWISE or op.domain:
            break
    return tuple(total), tuple(found)


def _taken(
    values: Values, op: Op, axes: Sequence[int], sizes: Sequence[int | None]
) -> list[AxisPads] | None:
    """Return what a Slice or Pad takes from both ends of some axes; None if it does else."""
    if op.op_type == "Slice":
        return slice_amounts(values, op, axes, sizes)
    pads = _pad_amounts(values, op, axes) if _mode(op) == "constant" else None
    if pads is None or not any(map(any, pads)) or max(map(max, pads)) > 0:
        return None
    return [(-before, -after) for before, after in pads]


def slice_amounts(
    values: Values,
    op: Op,
    axes: Sequence[int],
    sizes: Sequence[int | None],
    rank: int | None = None,
) -> list[AxisPads] | None:
    """Return what a Slice takes from both ends of some axes; None if it does anything else."""
    given = [
        op.attributes.get(word) if word in op.attributes else values.ints(op, slot)
        for slot, word in enumerate(("starts", "ends", "axes", "steps"), start=1)
    ]
    starts, ends, places, steps = given
    if not isinstance(starts, list) or not isinstance(ends, list):
        return None
    if any(step != 1 for step in steps or ()):
        return None
    where = [place % (rank or len(sizes) + 2) for place in places or range(len(starts))]
    if len(where) != len(starts) or len(starts) != len(ends) or not set(where) <= set(axes):
        return None
    found: list[AxisPads] = [(0, 0)] * len(axes)
    for place, start, end in zip(where, starts, ends, strict=True):
        axis = list(axes).index(place)
        crop = _cropped(start, end, sizes[axis])
        if crop is None:
            return None
        found[axis] = crop
    return found


def _cropped(start: int, end: int, size: int | None) -> AxisPads | None:
    if size is None:
        if start < 0 or 0 <= end < _LARGE:
            return None
        return start, -end if end < 0 else 0
    first = max(size + start, 0) if start < 0 else min(start, size)
    last = max(size + end, 0) if end < 0 else min(end, size)
    return first, size - last
