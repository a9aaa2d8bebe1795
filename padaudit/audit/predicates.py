"""The named facts that rules are made of: each says one thing about a site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from padaudit.audit.backends import divergent
from padaudit.ir.dims import Open
from padaudit.ir.graph import Graph
from padaudit.ir.site import Family, Padding, PaddingSite
from padaudit.padding.amounts import FORMULAS, AxisPads, effective_kernel, sees_only_padding
from padaudit.padding.symbolic import AxisAmounts, lasting_amounts, open_amounts

Predicate = Callable[[PaddingSite, Graph], bool]
PREDICATES: Final[dict[str, Predicate]] = {}
"""Predicate by the name that ``rules/checks`` uses (the function's own name)."""

PAD_OPERATORS: Final = frozenset(
    {
        "Pad",
        "ZeroPadding1D",
        "ZeroPadding2D",
        "ZeroPadding3D",
        "PadImages",
        "pad",
        "pad_v2",
        "pad_to_bounding_box",
    }
)
"""Of ONNX, layers and operations of Keras, functions of TensorFlow."""


def _predicate(function: Predicate) -> Predicate:
    PREDICATES[function.__name__] = function
    return function


@_predicate
def implicit(site: PaddingSite, graph: Graph) -> bool:
    """The amounts follow from a mode (same, causal) instead of standing in the model."""
    return site.implicit


@_predicate
def explicit(site: PaddingSite, graph: Graph) -> bool:
    """The amounts stand in the model."""
    return site.padding is Padding.EXPLICIT and not site.implicit


@_predicate
def amounts_known(site: PaddingSite, graph: Graph) -> bool:
    """Every amount is a number."""
    return site.pads is not None


@_predicate
def asymmetric(site: PaddingSite, graph: Graph) -> bool:
    """Some axis is padded unequally."""
    return any(before != after for before, after in site.pads or ())


@_predicate
def varies_with_open_size(site: PaddingSite, graph: Graph) -> bool:
    """An amount changes with a size that the model leaves open."""
    return site.by_remainder


@_predicate
def open_size(site: PaddingSite, graph: Graph) -> bool:
    """A spatial input size is open in the model."""
    return site.has_open_size


@_predicate
def unresolved_size(site: PaddingSite, graph: Graph) -> bool:
    """A spatial input size or the kernel could not be inferred."""
    return site.has_unknown_size or site.window is None


@_predicate
def same_lower(site: PaddingSite, graph: Graph) -> bool:
    """The odd element goes before."""
    return site.padding is Padding.SAME_LOWER


@_predicate
def causal(site: PaddingSite, graph: Graph) -> bool:
    """All padding goes before."""
    return site.padding is Padding.CAUSAL


@_predicate
def strided(site: PaddingSite, graph: Graph) -> bool:
    """Some stride is larger than 1."""
    return site.window is not None and any(stride > 1 for stride in site.window.strides)


@_predicate
def right_at_every_size(site: PaddingSite, graph: Graph) -> bool:
    """The explicit amounts of every open, strided axis are those of "same" at every size."""
    window = site.window
    if window is None or site.pads is None:
        return False
    axes = zip(window.kernel_shape, window.strides, window.dilations, strict=True)
    found = [
        pads in _lasting(*axis)
        for size, pads, axis in zip(site.input_size, site.pads, axes, strict=True)
        if isinstance(size, Open) and axis[1] > 1
    ]
    return bool(found) and all(found)


def _lasting(kernel: int, stride: int, dilation: int) -> list[AxisPads | None]:
    """Return the constant amounts that stand for "same", by either side of the odd element."""
    axis = (kernel, stride, dilation)
    modes = (Padding.SAME_UPPER, Padding.SAME_LOWER)
    return [lasting_amounts(open_amounts(FORMULAS[mode], *axis), *axis) for mode in modes]


@_predicate
def dilated(site: PaddingSite, graph: Graph) -> bool:
    """Some dilation is larger than 1."""
    return site.window is not None and any(value > 1 for value in site.window.dilations)


@_predicate
def onnx(site: PaddingSite, graph: Graph) -> bool:
    """The operator is ONNX's."""
    return site.framework == "onnx"


@_predicate
def quantized(site: PaddingSite, graph: Graph) -> bool:
    """Padding stands for the zero point."""
    return site.quantized


@_predicate
def padded(site: PaddingSite, graph: Graph) -> bool:
    """Something is padded, or may be (amounts not known)."""
    amounts = site.pads
    return site.padding is not Padding.VALID and (amounts is None or any(map(any, amounts)))


@_predicate
def transposed(site: PaddingSite, graph: Graph) -> bool:
    """The operator is a transposed convolution."""
    return site.family is Family.TRANSPOSED_CONV


@_predicate
def average_pool(site: PaddingSite, graph: Graph) -> bool:
    """The operator is an average pool."""
    return site.family is Family.AVG_POOL


@_predicate
def auto_pad_with_pads(site: PaddingSite, graph: Graph) -> bool:
    """ONNX: auto_pad other than NOTSET stands together with pads."""
    attributes = site.op.attributes
    mode = attributes.get("auto_pad", "NOTSET")
    return site.framework == "onnx" and mode != "NOTSET" and "pads" in attributes


@_predicate
def crop_disputed(site: PaddingSite, graph: Graph) -> bool:
    """A transposed convolution whose implicit crop runtimes compute differently.

    Measured: SAME with an effective kernel (plus output_padding) below the stride, SAME
    with output_padding, output_shape without SAME_UPPER.
    """
    if site.family is not Family.TRANSPOSED_CONV or site.window is None:
        return False
    attributes = site.op.attributes
    if site.framework == "onnx" and "output_shape" in attributes:
        return site.padding is not Padding.SAME_UPPER
    if not site.implicit:
        return False
    extra = attributes.get("output_padding")
    return any(_as_list(extra)) or _kernel_below_stride(site)


@_predicate
def backends_differ(site: PaddingSite, graph: Graph) -> bool:
    """A Keras layer that some backend was measured to compute differently.

    In the Keras version that wrote the file, or in a current one: see ``rules/backends``.
    """
    return bool(divergent(site, graph.producer_version))


@_predicate
def fed_by_padding(site: PaddingSite, graph: Graph) -> bool:
    """An explicit Pad or ZeroPadding layer stands directly in front of the operator."""
    tensor = site.op.inputs[0]
    producer = graph.producer(tensor)
    while producer is not None and "" in graph.nested.get(producer.name, {}):
        # What an inner model or a wrapped layer ends with.
        slot = producer.outputs.index(tensor)
        graph = graph.nested[producer.name][""]
        tensor = graph.outputs[min(slot, len(graph.outputs) - 1)]
        producer = graph.producer(tensor)
    return producer is not None and producer.op_type in PAD_OPERATORS


@_predicate
def input_skipped_or_unread(site: PaddingSite, graph: Graph) -> bool:
    """Some window reads only padding, or implicit padding skips input.

    A kernel smaller than its stride always skips input; it counts where its axis is padded
    as well, or where onnxruntime places its windows elsewhere than the specification.
    """
    if site.window is None or site.family is Family.TRANSPOSED_CONV:
        return False
    axes = zip(
        site.input_size,
        site.window.kernel_shape,
        site.window.strides,
        site.window.dilations,
        site.amounts,
        strict=True,
    )
    return any(
        _skips_and_pads(site, kernel, stride, dilation, pads)
        or (
            isinstance(size, int)
            and isinstance(pads, tuple)
            and sees_only_padding(size, kernel, stride, dilation, pads)
        )
        for size, kernel, stride, dilation, pads in axes
    ) or _start_disputed(site)


def _skips_and_pads(
    site: PaddingSite, kernel: int, stride: int, dilation: int, pads: AxisAmounts | None
) -> bool:
    return site.implicit and effective_kernel(kernel, dilation) < stride and pads != (0, 0)


def _kernel_below_stride(site: PaddingSite) -> bool:
    if site.window is None:
        return False
    return any(e < s for e, s in zip(_extents(site), site.window.strides, strict=True))


def _start_disputed(site: PaddingSite) -> bool:
    """Whether onnxruntime shifts or refuses an auto_pad whose total is negative.

    Measured with onnxruntime 1.32: a convolution is shifted from -3 on with SAME_UPPER
    and from -4 on with SAME_LOWER; pools already from -1 on.
    """
    if site.framework != "onnx" or site.window is None or not site.implicit:
        return False
    allowed = 2 if site.padding is Padding.SAME_UPPER else 3
    if site.family is not Family.CONV:
        allowed = 0
    return any(
        extent - stride + (-size % stride if isinstance(size, int) else 0) < -allowed
        for extent, stride, size in zip(
            _extents(site), site.window.strides, site.input_size, strict=True
        )
    )


def _extents(site: PaddingSite) -> tuple[int, ...]:
    if site.window is None:
        return ()
    pairs = zip(site.window.kernel_shape, site.window.dilations, strict=True)
    return tuple(effective_kernel(kernel, dilation) for kernel, dilation in pairs)


def _as_list(value: object, rank: int = 1) -> list[int]:
    if isinstance(value, int):
        return [value] * rank
    if not isinstance(value, list | tuple):
        return []
    return [item for item in value if isinstance(item, int)]
