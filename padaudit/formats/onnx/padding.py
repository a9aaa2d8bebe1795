"""Padding as ONNX writes it: attributes of a node, and Pad nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from padaudit.formats.onnx.build import make_attribute
from padaudit.formats.onnx.protos import NodeProto
from padaudit.ir.site import Family, PaddingSite, Window
from padaudit.padding.amounts import AxisPads, effective_kernel

PAD_INPUTS_OPSET: Final = 11
"""From here on Pad takes its amounts and value as inputs, and integers."""
_FIRST_PAD_OPSET: Final = 2
_BFLOAT16_OPSET: Final = 13
_FLOATS: Final = frozenset({"float32", "float64", "float16"})
PAD_TYPES: Final = frozenset(
    {"float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64"}
)
_LEAST: Final = {"int8": -(2**7), "uint8": 0, "int32": -(2**31), "int64": -(2**63)}


def remove_attributes(node: NodeProto, names: Iterable[str]) -> None:
    """Remove attributes from a node where it has them."""
    stale = [index for index, item in enumerate(node.attribute) if item.name in set(names)]
    for index in reversed(stale):
        del node.attribute[index]


def clear_padding(node: NodeProto, site: PaddingSite | None = None) -> None:
    """Remove what a node says of its padding (NOTSET without pads is "valid").

    ``ceil_mode`` has no meaning beside SAME. It gets none without it where the amounts of a
    site replace its mode and windows fit exactly: at a fixed size, where no kernel is smaller
    than its stride. Elsewhere it is removed.
    """
    mode = next((item.s for item in node.attribute if item.name == "auto_pad"), b"")
    remove_attributes(node, ["auto_pad", "pads"])
    if site is None:
        same, exact = mode.startswith(b"SAME"), False
    else:  # Its mode may come from the call of a function.
        same, exact = site.implicit, site.pads is not None and _fits_exactly(site.window)
    if same and not exact:
        remove_attributes(node, ["ceil_mode"])


def _fits_exactly(window: Window | None) -> bool:
    if window is None:
        return False
    axes = zip(window.kernel_shape, window.strides, window.dilations, strict=True)
    return all(effective_kernel(kernel, dilation) >= stride for kernel, stride, dilation in axes)


def write_ints(node: NodeProto, name: str, values: Sequence[int]) -> None:
    """Write an attribute that is a list of integers, in place of one it may have."""
    remove_attributes(node, [name])
    node.attribute.append(make_attribute(name, list(values)))


def write_int(node: NodeProto, name: str, value: int) -> None:
    """Write an attribute that is an integer, in place of one it may have."""
    remove_attributes(node, [name])
    node.attribute.append(make_attribute(name, value))


def write_pads(node: NodeProto, pads: tuple[AxisPads, ...]) -> None:
    """Write the ``pads`` attribute: all begins, then all ends."""
    write_ints(node, "pads", [begin for begin, _ in pads] + [end for _, end in pads])


def full_pads(site: PaddingSite, pads: tuple[AxisPads, ...]) -> list[int]:
    """Return the amounts of all axes of the input, begins then ends.

    Pad's ``axes`` input would block onnxruntime's fusion.
    """
    rank = len(pads) + 2
    full = [0] * (2 * rank)
    for axis, (before, after) in zip(site.spatial_axes, pads, strict=True):
        full[axis], full[rank + axis] = before, after
    return full


def pad_type_refused(opset: int, dtype: str | None) -> str | None:
    """Return why Pad of an opset does not take an element type (None: it does).

    Source: the type constraints of https://onnx.ai/onnx/operators/onnx__Pad.html.
    """
    if opset < _FIRST_PAD_OPSET:
        return "Pad of opset 1 is not implemented by runtimes"
    limited = opset < PAD_INPUTS_OPSET and dtype is not None and dtype not in _FLOATS
    if limited or (dtype == "bfloat16" and opset < _BFLOAT16_OPSET):
        return f"Pad of opset {opset} takes no {dtype}"
    return None


def pad_value(site: PaddingSite) -> float | int | str:
    """Return what padding stands for at a site: a number, or the tensor that holds it.

    For a max pool it is the least value of the type, for a quantised operator its zero
    point (0 where that input is absent).
    """
    if site.zero_point_input is not None:
        slot = site.zero_point_input
        given = site.op.inputs[slot] if slot < len(site.op.inputs) else ""
        return given or 0
    if site.family is not Family.MAX_POOL:
        return 0.0
    return _LEAST.get(site.dtype or "", float("-inf"))


def pad_name(site: PaddingSite) -> str:
    """Return what a Pad in front of a site would best be called."""
    return f"{site.op.origin.node.name or site.op.name}/pad"
