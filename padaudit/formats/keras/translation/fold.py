"""In the process that runs Keras: biases and factors per channel go into convolutions.

tf2onnx does so for its own convolutions, and may scale weights that another layer shares; it
leaves marked ones alone. Here weights that have another use are copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_CHANNEL_AXIS: Final = {"Conv": 0, "ConvTranspose": 1}
"""Where the weights of an operator have its output channels."""


def fold_constants(graph: Any, names: Collection[str]) -> None:
    """Fold what is added to or multiplied with convolutions, channel by channel.

    Parameters
    ----------
    graph : onnx.GraphProto
        It is changed; bodies are left as they are.
    names : collection of str
        The convolutions that are meant.
    """
    folder = _Folder(graph)
    for node in list(graph.node):
        if node.op_type in _CHANNEL_AXIS and node.name in names:
            while folder.fold_next(node):
                pass
    folder.clean()


class _Folder:
    """The state of one pass over a graph."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.values = {tensor.name: tensor for tensor in graph.initializer}
        self.uses = Counter(_reads(graph))
        self.readers = {name: node for node in graph.node for name in node.input}
        self.gone: set[int] = set()

    def fold_next(self, node: Any) -> bool:
        """Fold the operator behind a convolution into it; tell whether there was one to fold."""
        result = node.output[0]
        reader = self.readers.get(result)
        if self.uses[result] != 1 or reader is None or reader.op_type not in ("Add", "Mul"):
            return False
        operand = next((name for name in reader.input if name != result), None)
        factor = self._per_channel(node, operand)
        if factor is None:
            return False
        done = self._add(node, factor) if reader.op_type == "Add" else self._scale(node, factor)
        if done:
            node.output[0] = reader.output[0]
            self.gone.add(id(reader))
        return done

    def _per_channel(self, node: Any, name: str | None) -> Array | None:
        """Return a constant as one value per output channel, or None if it is none."""
        weights = self._array(node.input[1])
        value = self._array(name)
        if weights is None or value is None or value.dtype != weights.dtype:
            return None
        group = next((item.i for item in node.attribute if item.name == "group"), 1)
        if node.op_type == "ConvTranspose" and group != 1:
            return None
        channels, rank = weights.shape[_CHANNEL_AXIS[node.op_type]], weights.ndim - 2
        if value.ndim > rank + 2 or value.size not in (1, channels):
            return None
        full = value.reshape((1,) * (rank + 2 - value.ndim) + value.shape)
        if full.size > 1 and full.shape[1] != channels:
            return None
        return np.broadcast_to(full.reshape(-1), (channels,))

    def _add(self, node: Any, addend: Array) -> bool:
        bias = self._array(node.input[2]) if len(node.input) > 2 else np.zeros_like(addend)
        if bias is None:
            return False
        self._write(node, 2, f"{node.name}/bias", bias + addend)
        return True

    def _scale(self, node: Any, factor: Array) -> bool:
        weights = self._array(node.input[1])
        bias = self._array(node.input[2]) if len(node.input) > 2 else None
        if weights is None or weights.dtype != np.float32 or (len(node.input) > 2 and bias is None):
            return False
        shape = [1] * weights.ndim
        shape[_CHANNEL_AXIS[node.op_type]] = -1
        scaled = weights * factor.reshape(shape)
        if not np.isfinite(scaled).all():
            return False
        self._write(node, 1, f"{node.name}/weights", scaled)
        if bias is not None:
            self._write(node, 2, f"{node.name}/bias", bias * factor)
        return True

    def _array(self, name: str | None) -> Array | None:
        from onnx import numpy_helper

        tensor = self.values.get(name or "")
        return None if tensor is None else numpy_helper.to_array(tensor)

    def _write(self, node: Any, slot: int, name: str, value: Array) -> None:
        """Give an operator an input of its own."""
        from onnx import numpy_helper

        while len(node.input) <= slot:
            node.input.append("")
        free = name
        while free in self.values and free != node.input[slot]:
            free += "_"
        self.values[free] = numpy_helper.from_array(np.ascontiguousarray(value), free)
        self.uses[node.input[slot]] -= 1
        self.uses[free] = 1
        node.input[slot] = free

    def clean(self) -> None:
        """Take away what was folded and what nothing reads any more."""
        graph = self.graph
        kept = [node for node in graph.node if id(node) not in self.gone]
        made = {name for node in kept for name in node.output}
        typed = [value for value in graph.value_info if value.name in made | self.values.keys()]
        tensors = [tensor for name, tensor in self.values.items() if self.uses[name] > 0]
        for field, items in ((graph.node, kept), (graph.value_info, typed)):
            copies = [type(item).FromString(item.SerializeToString()) for item in items]
            del field[:]
            field.extend(copies)
        del graph.initializer[:]
        graph.initializer.extend(tensors)


def _reads(graph: Any) -> Iterator[str]:
    """Yield every use of a tensor, in bodies and as a result too."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _reads(attribute.g)
    for value in graph.output:
        yield value.name
