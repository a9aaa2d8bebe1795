"""Where two forms of a padded operator hold the same value.

One model may crop with amounts and another one with a Slice behind, one may have a bias and
another one an Add behind. Their operators' own outputs differ then, and what comes behind them
does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from padaudit.compare.around_onnx import POINTWISE, slice_amounts
from padaudit.compare.values import Values
from padaudit.formats.onnx.constants import Constants
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Family, PaddingSite
from padaudit.ir.walk import graph_of_op
from padaudit.padding.amounts import AxisPads

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded

Names = tuple[str, str]
_MAX_CHAIN: Final = 16
_BIAS_SLOT: Final = 2
_BIASED: Final = frozenset({Family.CONV, Family.TRANSPOSED_CONV})
_BIAS: Final = "bias"
_NORMALIZED: Final = "BatchNormalization"
_PER_CHANNEL: Final = frozenset({_BIAS, _NORMALIZED})


@dataclass(frozen=True, slots=True)
class ValuePoint:
    """A tensor behind an operator.

    Parameters
    ----------
    tensor : str
        Its name.
    passed : tuple of str
        What the operator's result went through: ``bias``, and operators that work element by
        element.
    whole : bool
        Whether nothing behind it is known to crop it.
    """

    tensor: str
    passed: tuple[str, ...]
    whole: bool = True


class Points:
    """The value points of an ONNX model.

    Parameters
    ----------
    model : Loaded
        The model.
    """

    def __init__(self, model: Loaded) -> None:
        document: Any = model.document
        self._model = model
        self._holders = graph_of_op(model.graph)
        self._constants = Constants.beside(document)
        self._values: dict[int, Values] = {}

    def behind(self, site: PaddingSite) -> list[ValuePoint]:
        """Return the tensors behind an operator that may hold what it gives, nearest first.

        A tensor that something else reads too, or that is a result of the graph, is the last.
        What a Slice takes away may only be known when the model runs: the tensors in front of
        it and behind it are both returned then.
        """
        graph = self._holders[id(site.op)]
        values = self._values.setdefault(id(graph), Values(self._constants, graph))
        found = list(_chain(values, graph, site))
        cropped = max((place for place, item in enumerate(found) if not item.whole), default=-1)
        return found[cropped + 1 :]

    def ahead(self, site: PaddingSite) -> list[str]:
        """Return the tensors that an operator reads: in front of what pads it, and nearer."""
        graph = self._holders[id(site.op)]
        found = [site.op.inputs[0]]
        for _ in range(_MAX_CHAIN):
            op = graph.producer(found[0])
            if op is None or op.op_type != "Pad" or op.domain:
                break
            found.insert(0, op.inputs[0])
        # What is made outside of a body or function can't be looked at from inside.
        top = graph is self._model.graph
        return [name for name in found if top or graph.producer(name) is not None]


def settled(ours: Sequence[ValuePoint], theirs: Sequence[ValuePoint]) -> tuple[Names, ...]:
    """Return the tensors behind what is added and scaled per channel, in two models.

    A normalisation that one of them has folded makes no difference there.

    Parameters
    ----------
    ours, theirs : sequence of ValuePoint
        What stands behind an operator in either model.
    """
    last = [
        [point for point in points if _PER_CHANNEL.issuperset(point.passed)]
        for points in (ours, theirs)
    ]
    return ((last[0][-1].tensor, last[1][-1].tensor),) if all(last) else ()


def meeting(
    ours: Sequence[ValuePoint], theirs: Sequence[ValuePoint], scaled: bool
) -> tuple[Names, ...]:
    """Return the nearest tensors that hold the same value; the first counts whose shapes fit.

    Parameters
    ----------
    ours, theirs : sequence of ValuePoint
        What stands behind an operator in either model.
    scaled : bool
        Whether a factor and an offset per channel make no difference.
    """
    if not scaled and _normalized(ours) != _normalized(theirs):
        # One of them may have folded it: what stands in front of it is nothing to compare.
        behind = settled(ours, theirs)
        if behind:
            return behind
    for mine in ours:
        if any(mine.passed == other.passed for other in theirs):
            pairs = product(ours, theirs)
            same = (pair for pair in pairs if pair[0].passed == pair[1].passed == mine.passed)
            return tuple((a.tensor, b.tensor) for a, b in same)
    if scaled and all(_PER_CHANNEL.issuperset(points[0].passed) for points in (ours, theirs)):
        return ((ours[0].tensor, theirs[0].tensor),)
    return ()


def _normalized(points: Sequence[ValuePoint]) -> bool:
    per_channel = (point for point in points if _PER_CHANNEL.issuperset(point.passed))
    return any(_NORMALIZED in point.passed for point in per_channel)


def _chain(values: Values, graph: Graph, site: PaddingSite) -> Iterator[ValuePoint]:
    """Yield every tensor of the chain; one that a Slice behind it crops is not whole."""
    op, axes = site.op, site.spatial_axes
    sizes = [size if isinstance(size, int) else None for size in site.output_size]
    passed: tuple[str, ...] = (_BIAS,) if _has_bias(site) else ()
    for _ in range(_MAX_CHAIN):
        reader = _only_reader(graph, op)
        sliced = reader is not None and reader.op_type == "Slice" and not reader.domain
        crops = slice_amounts(values, reader, axes, sizes) if reader and sliced else None
        yield ValuePoint(op.outputs[0], passed, crops is None)
        if reader is None:
            return
        if sliced:
            sizes = _left_of(sizes, crops)
        elif _BIAS not in passed and _adds_bias(values, reader, site, op.outputs[0]):
            passed = (*passed, _BIAS)
        elif reader.op_type in POINTWISE and not reader.domain:
            passed = (*passed, reader.op_type)
        else:
            return
        op = reader


def _left_of(sizes: Sequence[int | None], crops: Sequence[AxisPads] | None) -> list[int | None]:
    if crops is None:
        return [None] * len(sizes)
    pairs = zip(sizes, crops, strict=True)
    return [None if size is None else size - sum(crop) for size, crop in pairs]


def _only_reader(graph: Graph, op: Op) -> Op | None:
    uses = list(graph.uses(op))
    if len(uses) != 1 or op.outputs[0] in graph.outputs:
        return None
    return uses[0][0]


def _has_bias(site: PaddingSite) -> bool:
    inputs = site.op.inputs
    return site.family in _BIASED and len(inputs) > _BIAS_SLOT and bool(inputs[_BIAS_SLOT])


def _adds_bias(values: Values, op: Op, site: PaddingSite, data: str) -> bool:
    """Tell whether an operator adds one constant per channel to a convolution's result."""
    if op.op_type != "Add" or op.domain or site.family not in _BIASED:
        return False
    other = next((name for name in op.inputs if name != data), "")
    addend = values.constants.tensor(op.origin.steps, other)
    rank = len(site.spatial_axes) + 2
    if addend is None or len(addend.dims) > rank:
        return False
    shape = [*[1] * (rank - len(addend.dims)), *addend.dims]
    channel = next(axis for axis in range(1, rank) if axis not in site.spatial_axes)
    return all(size == 1 for axis, size in enumerate(shape) if axis != channel)
