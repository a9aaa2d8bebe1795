"""ONNX: the amounts in the operator's own ``pads`` attribute; no new node."""

from __future__ import annotations

from collections.abc import Sequence

from padaudit.formats.onnx.document import OnnxDocument
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import clear_padding, remove_attributes, write_ints, write_pads
from padaudit.ir.site import Family, PaddingSite
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies.declared import VARYING, contradiction

_VARYING_START = (
    "its amounts at the start change with a size that is open; fix the size with --input-shape"
)
_POOLS = frozenset({Family.MAX_POOL, Family.AVG_POOL, Family.LP_POOL})


def refuse(document: OnnxDocument, site: PaddingSite) -> str | None:
    """Return why an operator can't take a pads attribute, or None if it can."""
    amounts = site.lasting_pads
    if amounts is None or site.window is None:
        return _VARYING_START if site.by_remainder else VARYING
    if site.family in _POOLS and (reason := too_wide(amounts, site.window.kernel_shape)):
        return reason
    if site.family is Family.TRANSPOSED_CONV:
        return contradiction(site) or _refuse_output_padding(site)
    return contradiction(site)


def too_wide(amounts: Sequence[AxisPads], kernel: tuple[int, ...]) -> str | None:
    """Return why runtimes would not take the pads of a pool, or None if they do."""
    if any(max(pads) >= size for pads, size in zip(amounts, kernel, strict=True)):
        return f"runtimes refuse pads {amounts} that are not smaller than the kernel {kernel}"
    return None


def edit(editor: GraphEditor, item: Edit) -> str | None:
    """Write ``pads`` (for a transposed convolution output_padding too), remove ``auto_pad``."""
    node = editor.node(item.site.op.origin)
    clear_padding(node, item.site)
    if item.pads is not None and item.adds_padding:
        write_pads(node, item.pads)
    if item.site.family is Family.TRANSPOSED_CONV:
        remove_attributes(node, ["output_shape"])
        if any(item.site.appended):
            write_ints(node, "output_padding", _output_padding(item.site))
    return None


def _output_padding(site: PaddingSite) -> list[int]:
    """Return output_padding: what the node declares, and what its full output is short of."""
    declared = site.op.attributes.get("output_padding")
    appended = site.appended or (0,) * len(site.spatial_axes)
    given = declared if isinstance(declared, list) else [0] * len(appended)
    return [own + more for own, more in zip(given, appended, strict=False)]


def _refuse_output_padding(site: PaddingSite) -> str | None:
    """Return why runtimes would not take the output_padding that a site needs.

    ONNX allows it up to the larger of stride and dilation; onnxruntime only below the stride.
    """
    values = _output_padding(site)
    strides = site.window.strides if site.window is not None else ()
    if all(value < stride for value, stride in zip(values, strides, strict=False)):
        return None
    return f"it needs an output_padding of {values}, which has to stay below the stride {strides}"
