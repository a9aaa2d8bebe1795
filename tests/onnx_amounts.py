"""The amounts of a rewritten ONNX operator, wherever they stand, to be changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from padaudit.formats.onnx.document import container_at
from padaudit.ir.site import PaddingSite

Write = Callable[[list[int]], None]


@dataclass(frozen=True)
class Amounts:
    """What pads the spatial axes of an operator: all begins, then all ends."""

    values: list[int]
    write: Write


def amounts_of(proto: ModelProto, site: PaddingSite) -> Amounts | None:
    """Return the constant amounts of a site of a model; None if it has none that are stated.

    Parameters
    ----------
    proto : ModelProto
        The model; it is what is written to.
    site : PaddingSite
        The site, read from that model.
    """
    container = container_at(proto, site.op.origin.steps)
    node = container.node[site.op.origin.index]
    pad = next((item for item in container.node if node.input[0] in item.output), None)
    if pad is not None and pad.op_type == "Pad":
        return _of_pad(proto, container, pad, site)
    found = next((item for item in node.attribute if item.name == "pads"), None)
    if found is None:
        return None
    return Amounts(list(found.ints), lambda values: _write_ints(found, values))


def _write_ints(attribute: Any, values: list[int]) -> None:
    attribute.ints[:] = values


def _of_pad(proto: ModelProto, container: Any, pad: NodeProto, site: PaddingSite) -> Amounts | None:
    rank = len(site.spatial_axes) + 2
    places = [*site.spatial_axes, *(axis + rank for axis in site.spatial_axes)]
    for item in pad.attribute:
        if item.name == "pads":
            flat = list(item.ints)

            def write_attribute(values: list[int], item: Any = item) -> None:
                for place, value in zip(places, values, strict=True):
                    item.ints[place] = value

            return Amounts([flat[place] for place in places], write_attribute)
    tensor = constant_in(container, pad.input[1])
    if tensor is None:
        return None
    flat = numpy_helper.to_array(tensor).copy()

    def write(values: list[int]) -> None:
        flat[places] = values
        tensor.CopyFrom(numpy_helper.from_array(flat, tensor.name))

    return Amounts([int(flat[place]) for place in places], write)


def constant_in(container: Any, name: str) -> TensorProto | None:
    """Return a constant of a graph or function, to be changed in place."""
    for tensor in getattr(container, "initializer", ()):
        if tensor.name == name:
            return tensor
    for node in container.node:
        if node.op_type == "Constant" and name in node.output:
            return node.attribute[0].t
    return None
