"""ONNX pools of open size: fixed amounts, and the rest by ``ceil_mode``.

Where "same" pads the start of an axis by the same amount at every size (a kernel of 2 at stride
2, the usual one), only its end varies, and that is what ``ceil_mode`` lets a last window reach
over. It counts in no divisor and moves no index, so this form is exact where a Pad is not.
"""

from __future__ import annotations

from typing import Final

from padaudit.formats.onnx.document import OnnxDocument, opset_at
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import clear_padding, write_int, write_pads
from padaudit.ir.dims import Dim
from padaudit.ir.site import Family, PaddingSite
from padaudit.padding.amounts import (
    AxisPads,
    ceil_outputs,
    effective_kernel,
    same_output,
)
from padaudit.padding.symbolic import AxisAmounts
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.declared import contradiction

_CEIL_MODE_OPSET: Final = 10
_POOLS: Final = frozenset({Family.MAX_POOL, Family.AVG_POOL})


def refuse(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why ``ceil_mode`` can't stand for the end of a pool's padding, or None if it can."""
    if site.family not in _POOLS or site.window is None or site.zero_point_input is not None:
        return "ceil_mode is for pools"
    if site.pads is not None:
        return "its amounts are the same for all sizes"
    if opset_at(document.model, site.op.origin) < _CEIL_MODE_OPSET:
        return f"ceil_mode comes with opset {_CEIL_MODE_OPSET}"
    if site.family is Family.AVG_POOL and site.op.attributes.get("count_include_pad"):
        return "its divisor counts padding, but not what ceil_mode adds"
    if fixed_pads(site) is None:
        return (
            "its amounts at the start change with a size that is open; fix the size with "
            "--input-shape"
        )
    return contradiction(site)


def edit(editor: GraphEditor, item: Edit) -> str | None:
    """Write the fixed amounts and ``ceil_mode``."""
    node = editor.node(item.site.op.origin)
    clear_padding(node, item.site)
    pads = fixed_pads(item.site) or ()
    if any(map(any, pads)):
        write_pads(node, pads)
    write_int(node, "ceil_mode", 1)
    return None


def fixed_pads(site: PaddingSite) -> tuple[AxisPads, ...] | None:
    """Return the amounts beside which ``ceil_mode`` gives every size its "same" windows."""
    window = site.window
    if window is None:
        return None
    found: list[AxisPads] = []
    axes = zip(window.kernel_shape, window.strides, window.dilations, strict=True)
    for size, amounts, axis in zip(site.input_size, site.amounts, axes, strict=True):
        pads = _fixed(size, amounts, axis)
        if pads is None or max(pads) >= axis[0]:
            return None
        found.append(pads)
    return tuple(found)


def _fixed(size: Dim, amounts: AxisAmounts | None, axis: tuple[int, int, int]) -> AxisPads | None:
    if amounts is None:
        return None
    cases = [amounts] if isinstance(amounts, tuple) else list(amounts.cases)
    pads = cases[0][0], min(after for _, after in cases)
    kernel, stride, dilation = axis
    sizes = range(1, effective_kernel(kernel, dilation) + 2 * stride + 1)
    alike = all(
        set(ceil_outputs(n, kernel, stride, dilation, pads)) == {same_output(n, stride)}
        for n in ([size] if isinstance(size, int) else sizes)
    )
    return pads if alike and len({before for before, _ in cases}) == 1 else None
