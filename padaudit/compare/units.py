"""A model's padded operators as units, with the order between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from padaudit.compare.around_keras import around_keras
from padaudit.compare.around_keras import crops_behind as keras_crops
from padaudit.compare.around_onnx import Around, around_onnx
from padaudit.compare.around_onnx import crops_behind as onnx_crops
from padaudit.compare.kernels import (
    Kernels,
    OnnxKernels,
    in_onnx_layout,
    keras_kernels,
    rows,
)
from padaudit.compare.unit import Unit
from padaudit.compare.values import Values
from padaudit.formats.guard import well_formed
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Family, PaddingSite, Window
from padaudit.ir.walk import graph_of_op, walk

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded

Array = NDArray[Any]
POINTWISE = "pointwise"


def units_of(model: Loaded, seen: Mapping[str, Array] | None = None) -> list[Unit]:
    """Return the padded operators of a model whose windows are known, in execution order.

    Parameters
    ----------
    model : Loaded
        The model.
    seen : Mapping, optional
        Values of tensors that a run of the model showed (ONNX).

    Raises
    ------
    InputError
        If the weights of a Keras file can't be read, or the definition has a wrong value.
    """
    holders = graph_of_op(model.graph)
    onnx = model.document.format == "onnx"
    units: list[Unit] = []
    with well_formed(model.document.path):
        maker = _onnx_units(model, seen or {}) if onnx else _keras_units(model)
        for site in model.sites:
            if site.window is not None:
                units += maker(holders[id(site.op)], site, len(units))
        _link(model.graph, units)
    return units


Maker = Callable[[Graph, PaddingSite, int], list[Unit]]


def _onnx_units(model: Loaded, seen: Mapping[str, Array]) -> Maker:
    from padaudit.formats.onnx.constants import Constants

    document: Any = model.document
    constants, kernels = Constants.beside(document), OnnxKernels(document)
    tables: dict[int, tuple[Values, list[Op]]] = {}

    def make(graph: Graph, site: PaddingSite, position: int) -> list[Unit]:
        kernel = kernels.of(graph, site)
        if id(graph) not in tables:
            values = Values(constants, graph, seen if graph is model.graph else None)
            tables[id(graph)] = values, onnx_crops(values, graph, _sites_in(model, graph))
        around = around_onnx(tables[id(graph)][0], graph, site, tables[id(graph)][1])
        channels = _channels(graph, site)
        if kernel is not None and site.family is not Family.TRANSPOSED_CONV:
            channels = kernel.shape[1] * site.group, kernel.shape[0]
        return [_unit(site, around, site.group, channels, kernel, position)]

    return make


def _keras_units(model: Loaded) -> Maker:
    document: Any = model.document
    stored = keras_kernels(document)
    claimed: dict[int, list[Op]] = {}

    def make(graph: Graph, site: PaddingSite, position: int) -> list[Unit]:
        if id(graph) not in claimed:
            claimed[id(graph)] = keras_crops(graph, _sites_in(model, graph))
        around = around_keras(graph, site, claimed[id(graph)])
        channels = _channels(graph, site)
        name = site.op.name.split("#")[0]
        top = (*site.scope, name)[0].split("#")[0]
        kernels = stored.get((top, name), {})
        op_type = site.op.op_type
        if op_type.startswith("Depthwise"):
            kernel = _laid_out(kernels, ("depthwise_kernel", "kernel"), "depthwise")
            return [_unit(site, around, channels[0], channels, kernel, position)]
        if op_type.startswith("Separable"):
            return _separable(site, around, channels, kernels, position)
        kind = "transposed" if site.family is Family.TRANSPOSED_CONV else "conv"
        kernel = _laid_out(kernels, ("kernel",), kind)
        return [_unit(site, around, site.group, channels, kernel, position)]

    return make


def _sites_in(model: Loaded, graph: Graph) -> list[PaddingSite]:
    ops = set(map(id, graph.ops()))
    return [site for site in model.sites if id(site.op) in ops]


def _separable(
    site: PaddingSite,
    around: Around,
    channels: tuple[int | None, int | None],
    kernels: Kernels,
    position: int,
) -> list[Unit]:
    """A separable convolution is two: by channel, and between channels without a window."""
    multiplier = site.op.attributes.get("depth_multiplier") or 1
    middle = None if channels[0] is None else channels[0] * multiplier
    first = _laid_out(kernels, ("depthwise_kernel",), "depthwise")
    second = _laid_out(kernels, ("pointwise_kernel",), "conv")
    rank = len(site.spatial_axes)
    nothing = Around(((0, 0),) * rank, ((0, 0),) * rank)
    return [
        _unit(site, around, channels[0], (channels[0], middle), first, position),
        _unit(site, nothing, 1, (middle, channels[1]), second, position + 1, POINTWISE),
    ]


def _laid_out(kernels: Kernels, names: tuple[str, ...], kind: str) -> Array | None:
    found = next((kernels[name] for name in names if name in kernels), None)
    return None if found is None or found.ndim < 3 else in_onnx_layout(found, kind)


def _channels(graph: Graph, site: PaddingSite) -> tuple[int | None, int | None]:
    return _channel(graph, site, site.op.inputs[0]), _channel(graph, site, site.op.outputs[0])


def _channel(graph: Graph, site: PaddingSite, tensor: str) -> int | None:
    shape = graph.tensor(tensor).shape
    if not shape or not site.spatial_axes:
        return None
    channel = shape[1 if site.spatial_axes[0] > 1 else -1]
    return channel if isinstance(channel, int) else None


def _unit(
    site: PaddingSite,
    around: Around,
    group: int | None,
    channels: tuple[int | None, int | None],
    kernel: Array | None,
    position: int,
    part: str = "",
) -> Unit:
    window = site.window or Window((), (), ())
    if part:
        ones = (1,) * window.rank
        window = Window(ones, ones, ones)
    axes = tuple(axis for axis in range(window.rank) if not _idle(site, window, around, axis))
    padded = any(max(pair) > 0 for pair in around.ahead)
    own = site.pads is None or any(map(any, site.pads))
    counts = padded or (own and bool(site.op.attributes.get("count_include_pad")))
    weights, lengths = rows(kernel)
    return Unit(
        site,
        part,
        Window(
            tuple(window.kernel_shape[axis] for axis in axes),
            tuple(window.strides[axis] for axis in axes),
            tuple(window.dilations[axis] if window.kernel_shape[axis] > 1 else 1 for axis in axes),
        ),
        axes,
        group,
        *channels,
        tuple(around.ahead[axis] for axis in axes),
        tuple(around.behind[axis] for axis in axes),
        around.pads,
        around.crops,
        around.settled,
        around.fill if padded else -math.inf,
        around.mode if padded else "constant",
        counts and site.family is Family.AVG_POOL,
        weights,
        lengths,
        position,
    )


def _idle(site: PaddingSite, window: Window, around: Around, axis: int) -> bool:
    """Tell whether an axis has one element and a window that sees just that."""
    if window.kernel_shape[axis] != 1 or site.input_size[axis] != 1:
        return False
    return around.ahead[axis] == (0, 0) and site.amounts[axis] in ((0, 0), None)


def _link(graph: Graph, units: Sequence[Unit]) -> None:
    """Note for every unit what is next upstream and downstream."""
    parts: dict[int, list[Unit]] = {}
    for unit in units:
        parts.setdefault(id(unit.site.op), []).append(unit)
    known: dict[str, Sources] = {name: frozenset({name}) for name in graph.inputs}
    for first, second in _flow(graph, parts, known):
        if isinstance(first, str):
            units[second].reads.add(first)
        else:
            units[first].after.add(second)
            units[second].before.add(first)
    for name in graph.outputs:
        for place in known.get(name, ()):
            if isinstance(place, int):
                units[place].gives.add(name)


Sources = frozenset[int | str]
"""What a tensor comes from without another padded operator in between: the positions of such
operators, and the names of inputs."""


def _flow(
    graph: Graph, parts: Mapping[int, list[Unit]], known: dict[str, Sources]
) -> Iterator[tuple[int | str, int]]:
    """Yield what feeds which unit; ``known`` gets the sources of every tensor."""
    for op in graph.ops():
        sources = _union(known.get(name, frozenset()) for name in op.inputs)
        for unit in parts.get(id(op), ()):
            yield from ((source, unit.position) for source in sources)
            sources = frozenset({unit.position})
        results: list[Sources] = []
        for label, inner in graph.nested.get(op.name, {}).items():
            if not any(id(visit.op) in parts for visit in walk(inner)):
                continue
            inside = dict(known) if label else {}
            for slot, name in enumerate(inner.inputs):
                called = not label and slot < len(op.inputs)
                own = known.get(op.inputs[slot], frozenset()) if called else sources
                inside[name] = own
            yield from _flow(inner, parts, inside)
            results += [inside.get(name, sources) for name in inner.outputs]
        known |= dict.fromkeys(op.outputs, _union(results) or sources)


def _union(sets: Iterable[Sources]) -> Sources:
    return frozenset[int | str]().union(*sets)
