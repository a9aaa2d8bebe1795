"""The weights of convolutions, in one layout: rows of output channels."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from padaudit.errors import InputError
from padaudit.formats.keras.config import parse_model
from padaudit.formats.keras.container import WEIGHTS_MEMBER, KerasDocument
from padaudit.formats.keras.weights import keyed_groups
from padaudit.formats.onnx.constants import Constants
from padaudit.formats.onnx.document import OnnxDocument
from padaudit.ir.graph import Graph
from padaudit.ir.site import Family, PaddingSite
from padaudit.rules.load import op_index

Array = NDArray[Any]
Kernels = dict[str, Array]
"""Weights by what they do: ``kernel``, or ``depthwise_kernel`` and ``pointwise_kernel``."""
_FOLLOWED: Final = frozenset({"Cast", "DequantizeLinear", "Identity"})
_MAX_CHAIN: Final = 8
_LEAVES: Final = frozenset({"kernel", "depthwise_kernel", "pointwise_kernel"})
_BY_NUMBER: Final = {
    "conv": ("kernel",),
    "depthwise": ("depthwise_kernel",),
    "separable": ("depthwise_kernel", "pointwise_kernel"),
}
"""What the first variables of a layer are, by the start of its class in snake case."""


class OnnxKernels:
    """The weights of an ONNX model, read when the first one is asked for.

    Parameters
    ----------
    document : OnnxDocument
        The model; values of large tensors are read from its file, and from those beside it.
    """

    def __init__(self, document: OnnxDocument) -> None:
        self.document = document

    @cached_property
    def _constants(self) -> Constants:
        return Constants(ModelProto.FromString(self.document.buffer()[:]))

    def of(self, graph: Graph, site: PaddingSite) -> Array | None:
        """Return the weights of a site as ``(out, in / group, *window)``; None if not fixed."""
        entry = op_index().get((site.op.domain, site.op.op_type))
        if entry is None:
            return None
        slot = entry[1].weight_input or entry[0].window.weight_input
        if slot is None or slot >= len(site.op.inputs):
            return None
        values = self._value(graph, site, site.op.inputs[slot])
        if values is None or values.ndim < 3:
            return None
        return values.swapaxes(0, 1) if site.family is Family.TRANSPOSED_CONV else values

    def _value(self, graph: Graph, site: PaddingSite, name: str) -> Array | None:
        order: list[list[int]] = []
        for _ in range(_MAX_CHAIN):
            tensor = self._constants.tensor(site.op.origin.steps, name)
            if tensor is not None:
                folder = self.document.path.parent if self.document.path else Path()
                values = np.asarray(numpy_helper.to_array(tensor, str(folder)))
                for perm in reversed(order):
                    values = values.transpose(perm)
                return values
            op = graph.producer(name)
            if op is None:
                return None
            if op.op_type == "Transpose" and isinstance(op.attributes.get("perm"), list):
                order.append(op.attributes["perm"])
            elif op.op_type not in _FOLLOWED:
                return None
            name = op.inputs[0]
        return None


def keras_kernels(document: KerasDocument) -> dict[tuple[str, str], Kernels]:
    """Return the weights in a Keras file, by the outermost layer and the layer itself.

    Raises
    ------
    InputError
        If the file's weights can't be read.
    """
    import h5py

    if document.path is None:
        return {}
    try:
        if document.format == "keras-h5":
            with h5py.File(document.path, "r") as file:
                return _from_h5(file.get("model_weights", file))
        with zipfile.ZipFile(document.path) as archive:
            content = io.BytesIO(archive.read(WEIGHTS_MEMBER))
        with h5py.File(content, "r") as file:
            return dict(_from_archive(file, document))
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        cause = f"its weights can't be read ({error})"
        raise InputError(document.path, cause, "copy or download it again") from error


def _from_h5(group: Any) -> dict[tuple[str, str], Kernels]:
    found: dict[tuple[str, str], Kernels] = {}

    def visit(name: str, item: Any) -> None:
        parts = re.sub(r":\d+$", "", name).split("/")
        if hasattr(item, "shape") and parts[-1] in _LEAVES and len(parts) > 1:
            owner = parts[-2] if len(parts) > 2 else parts[0]
            found.setdefault((parts[0], owner), {})[parts[-1]] = np.asarray(item)

    group.visititems(visit)
    return found


def _from_archive(file: Any, document: KerasDocument) -> Iterator[tuple[tuple[str, str], Kernels]]:
    root = next((name for name in ("layers", "_layer_checkpoint_dependencies") if name in file), "")
    if not root:
        return
    for top, name, class_name, group in keyed_groups(file[root], parse_model(document.config)):
        words = next((w for start, w in _BY_NUMBER.items() if class_name.startswith(start)), ())
        variables = group.get("vars", {})
        kernels = {
            word: np.asarray(variables[str(place)])
            for place, word in enumerate(words)
            if str(place) in variables
        }
        if kernels:
            yield (top, name), kernels


def rows(kernel: Array | None) -> tuple[Array, Array] | tuple[None, None]:
    """Return weights as one row per output channel, in float64, and the lengths of these rows.

    Each row is of length 1. Batch normalisation that is folded into a convolution scales its
    rows, and nothing else.
    """
    if kernel is None or kernel.size == 0:
        return None, None
    flat = kernel.reshape(kernel.shape[0], -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1)
    lengths = np.where(norms > 0, norms, 1.0)
    return flat / lengths[:, np.newaxis], lengths


def in_onnx_layout(kernel: Array, kind: str) -> Array:
    """Return weights of Keras as ``(out, in / group, *window)``.

    Keras has ``(*window, in, out)``; ``(*window, in, multiplier)`` for depthwise layers and
    ``(*window, out, in)`` for transposed ones.
    """
    return _LAYOUTS[kind](kernel)


def _depthwise(kernel: Array) -> Array:
    *window, channels, multiplier = kernel.shape
    moved = np.moveaxis(kernel, (-2, -1), (0, 1))
    return moved.reshape(channels * multiplier, 1, *window)


_LAYOUTS: Final[dict[str, Callable[[Array], Array]]] = {
    "conv": lambda kernel: np.moveaxis(kernel, (-1, -2), (0, 1)),
    "depthwise": _depthwise,
    "transposed": lambda kernel: np.moveaxis(kernel, (-2, -1), (0, 1)),
}
