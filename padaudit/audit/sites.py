"""Operators of the graph -> padding sites, by the tables of ``rules/ops``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final

from padaudit.audit.amounts import AMOUNTS, SiteDraft
from padaudit.formats.guard import at_node
from padaudit.ir.dims import Dim, Shape, Unknown
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Padding, PaddingSite, Window
from padaudit.ir.walk import Visit, walk
from padaudit.rules.load import op_index
from padaudit.rules.schema import Operator, OpTable

MAX_WINDOW: Final = 1 << 16
_MAX_RANK: Final = 8
_UNPADDED: Final = frozenset({Padding.VALID, Padding.EXPLICIT})


def find_sites(graph: Graph) -> tuple[PaddingSite, ...]:
    """Return every padding site of a graph and its nested graphs, in execution order.

    Ids are unique: where two sites would share one, later ones get ``#2``, ``#3``, ...
    """
    sites: list[PaddingSite] = []
    for visit in walk(graph):
        with at_node(visit.path):
            site = site_of(visit)
        if site is not None:
            sites.append(site)
    taken = {site.id for site in sites}
    seen: set[str] = set()
    for index, site in enumerate(sites):
        if site.id in seen:
            free = (f"{site.id}#{number}" for number in count(2))
            name = next(name for name in free if name not in taken)
            sites[index] = replace(site, id=name)
            taken.add(name)
        seen.add(site.id)
    return tuple(sites)


def site_of(visit: Visit) -> PaddingSite | None:
    """Return the padding site of one operator, or None if its window is never padded."""
    op = visit.op
    entry = op_index().get((op.domain, op.op_type))
    if entry is None or not op.inputs or not op.outputs:
        return None
    table, operator = entry
    padding = _padding(table, op)
    window, problem = _window(table, operator, visit.graph, op)
    axes = _spatial_axes(table, operator, op, visit.graph, window)
    cause = visit.graph.tensor(op.inputs[0]).cause
    data = visit.graph.tensor(op.inputs[0]).shape
    result = visit.graph.tensor(op.outputs[0]).shape
    site = PaddingSite(
        id=visit.path,
        framework=table.framework,
        op=op,
        scope=visit.scope,
        family=table.family,
        window=window,
        group=_group(table, op),
        padding=padding,
        amounts=(None,) * len(axes),
        input_size=_sizes(data, axes, cause),
        output_size=_sizes(result, _output_axes(axes, data, result), cause),
        spatial_axes=axes,
        pad_value=table.pad_value,
        strategies=tuple(table.strategies),
        zero_point_input=table.zero_point_input,
        derived=bool(_ints(_declared(op, table.window.output_shape))),
        dtype=_dtype(visit.graph, op, 1 if table.zero_point_input else 2),
        kept=table.kept,
        remark=table.remark,
        unresolved=problem or cause,
    )
    if window is None:
        return site
    draft = SiteDraft(site, window, _declared_pads(table, op, window.rank))
    return AMOUNTS[table.amounts](draft)


def _dtype(graph: Graph, op: Op, inputs: int) -> str | None:
    """Return the data's element type; that of the weights is the same unless quantised."""
    types = (graph.tensor(name).dtype for name in op.inputs[:inputs] if name)
    return next((dtype for dtype in types if dtype), None)


def _padding(table: OpTable, op: Op) -> Padding:
    words = table.padding
    declared = op.attributes.get(words.attribute)
    word = declared if isinstance(declared, str) else words.default
    padding = words.values.get(word, words.values[words.default])
    if padding in _UNPADDED and _ints(_declared(op, table.window.output_shape)):
        return Padding.EXPLICIT
    if padding is Padding.EXPLICIT and not any(_ints(_declared(op, table.window.pads)) or ()):
        return Padding.VALID
    return padding


def _window(
    table: OpTable, operator: Operator, graph: Graph, op: Op
) -> tuple[Window | None, str | None]:
    words, config = table.window, op.attributes
    fixed = operator.rank or _rank_of_input(table, graph, op)
    kernel = _per_axis(config.get(words.kernel_shape, words.kernel_default), fixed)
    if kernel is None and (slot := operator.weight_input or words.weight_input) is not None:
        kernel = _kernel_of_weights(graph, op, slot)
    if kernel is None:
        where = f"'{op.name}' ({op.op_type})"
        return (
            None,
            f"the kernel_shape of {where} is not stated, nor the shape of its weights known",
        )
    rank = len(kernel)
    default = kernel if words.strides_default == "kernel_shape" else (1,) * rank
    strides = _per_axis(_declared(op, words.strides), rank) or default
    dilations = _per_axis(_declared(op, words.dilations), rank) or (1,) * rank
    lengths = {len(strides), len(dilations), rank}
    values = (*kernel, *strides, *dilations)
    misfit = len(lengths) > 1 or rank > _MAX_RANK or operator.rank not in (None, rank)
    if misfit or not all(0 < value <= MAX_WINDOW for value in values):
        shown = values[: 3 * _MAX_RANK]
        return None, f"the window of '{op.name}' ({op.op_type}) makes no sense: {shown}"
    return Window(kernel, strides, dilations), None


def _rank_of_input(table: OpTable, graph: Graph, op: Op) -> int | None:
    """Return the number of spatial axes of an operation of Keras, which its input decides."""
    data = graph.tensor(op.inputs[0]).shape
    return len(data) - 2 if table.framework == "keras" and data and len(data) > 2 else None


def _kernel_of_weights(graph: Graph, op: Op, slot: int) -> tuple[int, ...] | None:
    shape = graph.tensor(op.inputs[slot]).shape if slot < len(op.inputs) else None
    return _ints(shape[2:]) if shape is not None and len(shape) > 2 else None


def _spatial_axes(
    table: OpTable, operator: Operator, op: Op, graph: Graph, window: Window | None
) -> tuple[int, ...]:
    data = graph.tensor(op.inputs[0]).shape
    rank = window.rank if window else operator.rank
    if rank is None:
        rank = max(len(data) - 2 - table.leading_axes, 0) if data else 0
    first = 1 + table.leading_axes
    if not _channels_last(table, operator, op):
        first += 1
    return tuple(range(first, first + min(rank, _MAX_RANK)))


def _channels_last(table: OpTable, operator: Operator, op: Op) -> bool:
    if table.framework == "keras":
        return op.attributes.get("data_format") != "channels_first"
    return operator.channels_last or _declared(op, operator.channels_last_attribute) == 1


def _output_axes(axes: Sequence[int], data: Shape | None, result: Shape | None) -> Sequence[int]:
    """Return the spatial axes of a result, which may have lost the time axis in front of them."""
    lost = len(data) - len(result) if data is not None and result is not None else 0
    return [axis - lost for axis in axes] if lost > 0 else axes


def _sizes(shape: Shape | None, axes: Sequence[int], cause: str | None) -> tuple[Dim, ...]:
    if shape is None or (axes and axes[-1] >= len(shape)):
        return (Unknown(cause or "its rank could not be inferred"),) * len(axes)
    return tuple(shape[axis] for axis in axes)


def _declared(op: Op, word: str) -> Any:
    """Return an attribute's value; None where the table has no word for it."""
    return op.attributes.get(word) if word else None


def _group(table: OpTable, op: Op) -> int:
    value = _declared(op, table.window.group) or 1
    return value if isinstance(value, int) and value > 0 else 1


def _declared_pads(table: OpTable, op: Op, rank: int) -> tuple[tuple[int, int], ...]:
    flat = _ints(_declared(op, table.window.pads))
    if flat is None or len(flat) != 2 * rank:
        return ((0, 0),) * rank
    return tuple(zip(flat[:rank], flat[rank:], strict=True))


def _per_axis(value: Any, rank: int | None) -> tuple[int, ...] | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,) * (rank or 1)
    values = _ints(value)
    if values and rank and len(values) == 1:
        return values * rank
    return values or None


def _ints(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, Mapping) and isinstance(value.get("items"), list):
        value = value["items"]
    if isinstance(value, list | tuple) and all(type(item) is int for item in value):
        return tuple(value)
    return None
