"""How each kind of operator turns its window and sizes into amounts.

The functions here choose the formula and feed it; the arithmetic is in `padaudit.padding`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from padaudit.ir.dims import Dim, Open, map_dim
from padaudit.ir.site import Padding, PaddingSite, Window
from padaudit.padding import amounts
from padaudit.padding.amounts import FORMULAS, AxisPads
from padaudit.padding.symbolic import AxisAmounts, open_amounts


@dataclass(frozen=True, slots=True)
class SiteDraft:
    """A site whose amounts are still to be found, with what is declared for it."""

    site: PaddingSite
    window: Window
    declared: tuple[AxisPads, ...]


def window_amounts(draft: SiteDraft) -> PaddingSite:
    """Resolve a convolution or pool: amounts are added around the input."""
    site, window = draft.site, draft.window
    if site.padding is Padding.EXPLICIT:
        found: tuple[AxisAmounts | None, ...] = draft.declared
    else:
        found = tuple(_window_axis(site, window, axis) for axis in range(window.rank))
    output = tuple(_window_output(site, window, axis, pads) for axis, pads in enumerate(found))
    return replace(site, amounts=found, output_size=output)


def keras_transposed(draft: SiteDraft) -> PaddingSite:
    """Resolve a Keras transposed convolution: amounts are cropped from the full output."""
    same = draft.site.padding is Padding.SAME_UPPER

    def output(size: int, axis: int) -> int:
        extra = _axis_value(draft.site.op.attributes.get("output_padding"), axis)
        return amounts.keras_transposed_output(size, *_axis(draft.window, axis), same, extra)

    return _transposed(draft, output, odd_first=False)


def tensorflow_transposed(draft: SiteDraft) -> PaddingSite:
    """Resolve a transposed convolution of TensorFlow, whose output size is an argument.

    Source: https://www.tensorflow.org/api_docs/python/tf/nn/conv2d_transpose.
    """
    if draft.site.padding is Padding.EXPLICIT:
        return replace(draft.site, amounts=draft.declared)

    def output(size: int, axis: int) -> int:
        stated = draft.site.output_size[axis]
        return stated if isinstance(stated, int) else size * draft.window.strides[axis]

    return _transposed(draft, output, odd_first=False)


def onnx_transposed(draft: SiteDraft) -> PaddingSite:
    """Resolve an ONNX ConvTranspose: auto_pad, output_shape, or pads.

    Source: the ``pads`` equations of https://onnx.ai/onnx/operators/onnx__ConvTranspose.html.
    """
    attributes = draft.site.op.attributes
    wanted = attributes.get("output_shape")
    if not draft.site.implicit and wanted is None:
        return replace(draft.site, amounts=draft.declared)

    def output(size: int, axis: int) -> int:
        chosen = _wanted(draft, axis)
        return chosen if chosen is not None else size * draft.window.strides[axis]

    return _transposed(draft, output, odd_first=draft.site.padding is not Padding.SAME_UPPER)


def _transposed(
    draft: SiteDraft, output: Callable[[int, int], int], odd_first: bool
) -> PaddingSite:
    crops: list[tuple[AxisPads, int] | None] = []
    sizes: list[Dim] = []
    for axis, size in enumerate(draft.site.input_size):
        if not isinstance(size, int):
            crops.append(_open_crop(draft, output, axis, odd_first))
            sizes.append(_open_output(draft, output, axis))
            continue
        out = output(size, axis)
        full = _full(draft, size, axis)
        crops.append(amounts.transposed_crop(full, out, odd_first))
        sizes.append(out)
    return replace(
        draft.site,
        amounts=tuple(crop[0] if crop else None for crop in crops),
        appended=tuple(crop[1] if crop else 0 for crop in crops),
        output_size=tuple(sizes),
    )


def _full(draft: SiteDraft, size: int, axis: int) -> int:
    extra = 0
    if draft.site.framework == "onnx":
        extra = _axis_value(draft.site.op.attributes.get("output_padding"), axis) or 0
    return amounts.transposed_full(size, *_axis(draft.window, axis)) + extra


def _open_crop(
    draft: SiteDraft, output: Callable[[int, int], int], axis: int, odd_first: bool
) -> tuple[AxisPads, int] | None:
    """The crop of an open size: a constant where full and wanted sizes grow alike."""
    if draft.site.op.attributes.get("output_shape") is not None:
        return None
    crops = {
        amounts.transposed_crop(_full(draft, n, axis), output(n, axis), odd_first)
        for n in (1, 2, 3)
    }
    return crops.pop() if len(crops) == 1 else None


def _open_output(draft: SiteDraft, output: Callable[[int, int], int], axis: int) -> Dim:
    wanted = _wanted(draft, axis)
    known = draft.site.output_size[axis] if wanted is None else wanted
    if isinstance(known, int) or not draft.site.implicit:
        return known
    stride = draft.window.strides[axis]
    extra = output(1, axis) - stride
    form = f"{stride}*{{}}{extra:+}" if extra else f"{stride}*{{}}"
    return map_dim(draft.site.input_size[axis], lambda n: output(n, axis), form)


def _window_axis(site: PaddingSite, window: Window, axis: int) -> AxisAmounts | None:
    formula, size = FORMULAS[site.padding.value], site.input_size[axis]
    kernel, stride, dilation = _axis(window, axis)
    if isinstance(size, int):
        return formula(size, kernel, stride, dilation) if size > 0 else None
    whatever = open_amounts(formula, kernel, stride, dilation)
    if isinstance(whatever, tuple) or isinstance(size, Open):
        return whatever
    return None


def _window_output(site: PaddingSite, window: Window, axis: int, pads: AxisAmounts | None) -> Dim:
    size, inferred = site.input_size[axis], site.output_size[axis]
    if isinstance(size, int) and site.implicit and site.padding is not Padding.CAUSAL:
        return amounts.same_output(size, window.strides[axis])
    kernel, stride, dilation = _axis(window, axis)
    rounds_up = bool(site.op.attributes.get("ceil_mode"))
    if isinstance(size, int) and isinstance(pads, tuple) and not rounds_up:
        return amounts.window_output(size, kernel, stride, dilation, pads)
    if isinstance(inferred, int):
        return inferred
    if site.implicit:
        form = f"ceil({{}}/{stride})" if stride > 1 else "{}"
        return map_dim(size, lambda n: amounts.same_output(n, stride), form)
    return inferred


def _wanted(draft: SiteDraft, axis: int) -> int | None:
    """Return the declared output size of a spatial axis; N and C may stand before them."""
    declared = draft.site.op.attributes.get("output_shape")
    if isinstance(declared, list | tuple):
        declared = declared[-draft.window.rank :]
    return _axis_value(declared, axis)


def _axis(window: Window, axis: int) -> tuple[int, int, int]:
    return window.kernel_shape[axis], window.strides[axis], window.dilations[axis]


def _axis_value(value: Any, axis: int) -> int | None:
    if isinstance(value, int):
        return value
    if isinstance(value, list | tuple) and value:
        item = value[axis] if axis < len(value) else value[-1]
        return item if isinstance(item, int) else None
    return None


AMOUNTS: Final[dict[str, Callable[[SiteDraft], PaddingSite]]] = {
    "window": window_amounts,
    "transposed_keras": keras_transposed,
    "transposed_onnx": onnx_transposed,
    "transposed_tensorflow": tensorflow_transposed,
}
"""Resolver by the name that the tables in ``rules/ops`` use."""
