"""TensorFlow functions as Keras 2 writes them: TFOpLambda, SlicingOpLambda, NodeDef."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from padaudit.formats.keras.shapes.rule import ShapeUnknown

LAMBDAS: Final = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod"})
NODES: Final = frozenset({"TensorFlowOpLayer"})
"""The classes whose config names a function, and those that hold a NodeDef."""
_OPERATORS: Final = {
    "AvgPool": "avg_pool",
    "AvgPool3D": "avg_pool3d",
    "Conv2D": "conv2d",
    "Conv3D": "conv3d",
    "DepthwiseConv2dNative": "depthwise_conv2d",
    "ExtractImagePatches": "extract_patches",
    "GatherV2": "gather",
    "MaxPool": "max_pool",
    "MaxPool3D": "max_pool3d",
    "Mean": "reduce_mean",
    "Max": "reduce_max",
    "Min": "reduce_min",
    "Sum": "reduce_sum",
    "Prod": "reduce_prod",
    "Any": "reduce_any",
    "All": "reduce_all",
    "ResizeNearestNeighbor": "resize",
    "ResizeBilinear": "resize",
    "ResizeBicubic": "resize",
    "ResizeArea": "resize",
    "ArgMax": "argmax",
    "ArgMin": "argmin",
    "Split": "split",
    "SplitV": "split_v",
    "Conv2DBackpropInput": "conv2d_transpose",
}
_CONSTANT_FIRST: Final[dict[str, tuple[str, ...]]] = {
    "Split": ("axis",),
    "Conv2DBackpropInput": ("output_shape",),
}
_CONSTANT_LAST: Final[dict[str, tuple[str, ...]]] = {
    "ConcatV2": ("axis",),
    "SplitV": ("num_or_size_splits", "axis"),
}
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def function_name(class_name: str, config: Mapping[str, Any]) -> str | None:
    """Return the function a layer calls, without its module; None for any other layer.

    Raises
    ------
    ShapeUnknown
        If its config does not name it.
    """
    if class_name in LAMBDAS:
        return _canonical(str(config.get("function") or config.get("method_name") or ""))
    if class_name in NODES:
        return _operator(_node(config))
    return None


def node_arguments(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a NodeDef by name and position, as those of a function.

    Parameters
    ----------
    config : Mapping
        The layer's config: ``node_def`` and ``constants`` (inputs by index).
    tensors : Mapping
        The call's own arguments by position.
    """
    node = _node(config)
    constants = {int(key): value for key, value in dict(config.get("constants") or {}).items()}
    given = iter(_flat(tensors))
    count = len(constants) + len(_flat(tensors))
    inputs = [constants[slot] if slot in constants else next(given) for slot in range(count)]
    return _attributes(node) | _inputs(str(node["op"]), inputs)


def _inputs(op: str, inputs: list[Any]) -> dict[str, Any]:
    if op in _CONSTANT_FIRST:
        names = _CONSTANT_FIRST[op]
        rest = inputs[len(names) :]
        if op == "Conv2DBackpropInput":
            rest = rest[::-1]
        return dict(zip(names, inputs, strict=False)) | _positions(rest)
    if op in _CONSTANT_LAST:
        names = _CONSTANT_LAST[op]
        rest = inputs[: -len(names)]
        data = {"0": rest} if op == "ConcatV2" else _positions(rest)
        return dict(zip(names, inputs[-len(names) :], strict=True)) | data
    return {"0": inputs} if op in ("Pack", "AddN") else _positions(inputs)


def _positions(values: list[Any]) -> dict[str, Any]:
    return {str(place): value for place, value in enumerate(values)}


def _flat(arguments: Mapping[str, Any]) -> list[Any]:
    first = arguments.get("0")
    return first if isinstance(first, list) else [first]


def _node(config: Mapping[str, Any]) -> Mapping[str, Any]:
    node = config.get("node_def")
    if not isinstance(node, Mapping) or not isinstance(node.get("op"), str):
        raise ShapeUnknown("its node_def is binary")
    return node


def _operator(node: Mapping[str, Any]) -> str:
    op = str(node["op"])
    return _OPERATORS.get(op) or _WORD.sub("_", op).lower()


def _attributes(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a NodeDef's attributes as plain values (protobuf's JSON form)."""
    found = {}
    attributes = node.get("attr")
    for name, value in (attributes if isinstance(attributes, Mapping) else {}).items():
        if isinstance(value, Mapping) and value:
            kind, content = next(iter(value.items()))
            found[name] = _attribute(str(kind), content)
    if found.get("padding") == "EXPLICIT":
        flat = found.get("explicit_paddings") or []
        found["padding"] = [flat[i : i + 2] for i in range(0, len(flat), 2)]
    return found


def _attribute(kind: str, content: Any) -> Any:
    if kind == "i":
        return int(content)
    if kind == "s":
        try:
            return base64.b64decode(str(content), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return str(content)
    if kind == "list" and isinstance(content, Mapping):
        items = content.get("i")
        return [int(item) for item in items] if isinstance(items, list) else []
    return content


def _canonical(function: str) -> str:
    """Return a function's own name, in lower case with underscores.

    >>> _canonical("compat.v1.nn.conv2d"), _canonical("__operators__.getitem")
    ('conv2d', 'getitem')
    """
    if not function:
        raise ShapeUnknown("its config names no function")
    return function.rsplit(".", 1)[-1]
