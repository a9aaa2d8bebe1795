"""Keras: what ZeroPadding layers in front of an operator add, and Cropping layers take away."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from padaudit.compare.around_onnx import Around, stacked
from padaudit.formats.keras.shapes.reshaping import axis_pairs
from padaudit.formats.keras.shapes.rule import ShapeUnknown
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import PaddingSite
from padaudit.padding.amounts import AxisPads

_KEEPS_ZERO: Final = frozenset({"Dropout", "ELU", "LeakyReLU", "PReLU", "ReLU", "SpatialDropout2D"})
_POINTWISE: Final = _KEEPS_ZERO | {"Activation", "BatchNormalization"}
_ZERO_ACTIVATIONS: Final = frozenset({"elu", "linear", "relu", "relu6", "tanh"})
_MAX_CHAIN: Final = 16


def around_keras(graph: Graph, site: PaddingSite, claimed: Collection[Op] = ()) -> Around:
    """Return what stands around a site of a Keras model.

    Parameters
    ----------
    graph : Graph
        The graph that holds the site.
    site : PaddingSite
        The site.
    claimed : collection of Op
        The Cropping layers that crop what stands in front of them.
    """
    rank = len(site.spatial_axes)
    ahead = [(0, 0)] * rank
    pads: list[Op] = []
    op: Op | None = site.op
    for _ in range(_MAX_CHAIN):
        op = graph.producer(op.inputs[0]) if op is not None and op.inputs else None
        if op is None or op in claimed:
            break
        amounts = _added(op, rank)
        if amounts is not None:
            both = stacked(ahead, amounts)
            if both is None:
                break
            pads.append(op)
            ahead = both
        elif not _keeps_zero(op):
            break
    behind, crops = _behind(graph, site)
    return Around(tuple(ahead), behind, tuple(pads), crops)


def crops_behind(graph: Graph, sites: Iterable[PaddingSite]) -> list[Op]:
    """Return the Cropping layers of a graph that crop what its sites give."""
    return [crop for site in sites for crop in _behind(graph, site)[1]]


def _behind(graph: Graph, site: PaddingSite) -> tuple[tuple[AxisPads, ...], tuple[Op, ...]]:
    rank, op = len(site.spatial_axes), site.op
    behind, crops = [(0, 0)] * rank, []
    for _ in range(_MAX_CHAIN):
        uses = list(graph.uses(op))
        if len(uses) != 1 or op.outputs[0] in graph.outputs:
            break
        op = uses[0][0]
        amounts = _amounts(op, "Cropping", "cropping", rank)
        if amounts is not None:
            crops.append(op)
            behind = _sum(behind, amounts)
        elif op.op_type not in _POINTWISE:
            break
    return tuple(behind), tuple(crops)


def _added(op: Op, rank: int) -> list[AxisPads] | None:
    """Return what a layer pads, negative where it crops; None if it does neither."""
    cropped = _amounts(op, "Cropping", "cropping", rank)
    if cropped is not None:
        return [(-before, -after) for before, after in cropped]
    return _amounts(op, "ZeroPadding", "padding", rank)


def _amounts(op: Op, layer: str, word: str, rank: int) -> list[AxisPads] | None:
    if op.op_type != f"{layer}{rank}D":
        return None
    declared: Any = op.attributes.get(word, 1)
    try:
        return axis_pairs(declared, rank)
    except ShapeUnknown:
        return None


def _keeps_zero(op: Op) -> bool:
    if op.op_type == "Activation":
        return op.attributes.get("activation") in _ZERO_ACTIVATIONS
    return op.op_type in _KEEPS_ZERO


def _sum(a: list[AxisPads], b: list[AxisPads]) -> list[AxisPads]:
    return [(w + y, x + z) for (w, x), (y, z) in zip(a, b, strict=True)]
