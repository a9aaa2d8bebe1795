"""A model as onnxruntime accepts it: what it refuses for its spelling alone is respelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from padaudit.formats.onnx.padding import remove_attributes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_CONVOLUTIONS: Final = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv"})


def respelled(model: ModelProto, path: Path, target: Path) -> str:
    """Write a model without what onnxruntime refuses though it has no meaning, if it has any.

    Parameters
    ----------
    model : ModelProto
        The model's structure.
    path : Path
        Its file.
    target : Path
        Where the model goes; large ones with their data beside it.

    Returns
    -------
    str
        What was respelled, one clause; empty if nothing had to be, and nothing was written.
    """
    reasons = list(dict.fromkeys(_respell(model, change=False)))
    if not reasons:
        return ""
    import onnx

    whole = onnx.load(path)
    list(_respell(whole, change=True))
    save(whole, target)
    return " and ".join(reasons)


def save(model: ModelProto, target: Path) -> None:
    """Write a model that holds all of its tensors, a large one with its data beside it."""
    import onnx

    large = model.ByteSize() > _LARGEST
    onnx.save_model(model, target, save_as_external_data=large, location=f"{target.name}.data")


_LARGEST: Final = 2**31 - 2**20
"""How large a protobuf message may be."""


def _respell(model: ModelProto, change: bool) -> Iterator[str]:
    for nodes in _all_nodes(model):
        named = Counter(node.name for node in nodes if node.name)
        for node in nodes:
            if named[node.name] > 1:
                yield "onnxruntime refuses two nodes of one name"
                if change:
                    node.name = ""
            if _idle_pads(node):
                yield "onnxruntime refuses auto_pad together with pads, even zeros"
                if change:
                    remove_attributes(node, ["pads"])


def _all_nodes(model: ModelProto) -> Iterator[list[NodeProto]]:
    """Yield the nodes of each graph, body and function."""
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        container: GraphProto = pending.pop()
        nodes = list(container.node)
        yield nodes
        for node in nodes:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += attribute.graphs


def _idle_pads(node: NodeProto) -> bool:
    """Tell whether a convolution has pads of zeros beside auto_pad VALID, which says the same."""
    if node.op_type not in _CONVOLUTIONS:
        return False
    valid = any(item.name == "auto_pad" and item.s == b"VALID" for item in node.attribute)
    return valid and any(item.name == "pads" and not any(item.ints) for item in node.attribute)
