"""In the process that runs Keras: a model is traced with a mark for each padded operator.

Keras's layers convolve and pool through the functions of its backend. While a model is traced
for ONNX these are replaced: whatever TensorFlow can't run, compiles or takes apart (groups,
dilations, transposed convolutions) then arrives in ONNX as the one operator that it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from padaudit.formats.keras.translation.functions import Functions
from padaudit.formats.keras.translation.replacing import replaced
from padaudit.formats.keras.translation.tracer import Tracer
from padaudit.padding import amounts

_UNSCOPED: Final = re.compile(r"[^A-Za-z0-9_.\\/>-]")
_PADDING: Final = (
    "conv",
    "depthwise_conv",
    "separable_conv",
    "conv_transpose",
    "max_pool",
    "average_pool",
)
"""The functions of Keras's backend that pad."""


@contextmanager
def traced(tracer: Tracer) -> Iterator[None]:
    """Let Keras's layers leave marks instead of convolving and pooling."""
    import keras
    import tensorflow as tf
    from keras.src import backend
    from keras.src.ops.function import Function

    functions = Functions(tracer)
    with ExitStack() as stack:
        for name in _PADDING:
            stack.enter_context(replaced(backend.nn, name, getattr(functions, name)))
        for owner, name, wrapper in (
            (Function, "_run_through_graph", _naming),
            (keras.layers.Layer, "__call__", _entering),
            (keras.layers.Conv1D, "call", _causal_call),
            (keras.layers.TimeDistributed, "call", _distributed_call),
        ):
            wrapped = wrapper(tracer, getattr(owner, name))
            stack.enter_context(replaced(owner, name, wrapped))
        stack.enter_context(replaced(tf, "name_scope", _tolerant(tf.name_scope)))
        yield


def _tolerant(name_scope: Any) -> Callable[[str], Any]:
    """Let TensorFlow take the name of any layer: it refuses some characters in graphs."""
    return lambda name: name_scope(_UNSCOPED.sub("_", str(name)).lstrip("_-/") or "layer")


def _naming(tracer: Tracer, original: Callable[..., Any]) -> Callable[..., Any]:
    """Name each call of a layer as padaudit does: after the layer, with the call's number."""

    def run(self: Any, inputs: Any, operation_fn: Any = None, call_fn: Any = None) -> Any:
        wrap = operation_fn or (lambda operation: operation)
        if call_fn is not None:
            return original(self, inputs, wrap, call_fn)
        labels = _labels(self)

        def named(operation: Any) -> Callable[..., Any]:
            made, label = wrap(operation), next(labels)

            def call(*args: Any, **kwargs: Any) -> Any:
                with tracer.within(operation, label):
                    return made(*args, **kwargs)

            return call

        return original(self, inputs, named)

    return run


def _labels(function: Any) -> Iterator[str]:
    """Yield the names of the calls of a Keras graph, in the order in which it makes them."""
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if node.operation and not node.is_input:
                calls = [
                    call
                    for index, call in enumerate(node.operation._inbound_nodes)
                    if f"{id(node.operation)}_ib-{index}" in function._nodes
                ]
                number = next(index for index, call in enumerate(calls) if call is node)
                name = str(node.operation.name)
                yield name if number == 0 else f"{name}#{number + 1}"


def _entering(tracer: Tracer, original: Callable[..., Any]) -> Callable[..., Any]:
    """Name a layer that another layer's code calls."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if tracer.runs(self):
            return original(self, *args, **kwargs)
        backward = getattr(tracer.caller, "backward_layer", None) is self
        side = "backward" if backward else None
        with tracer.within(None, side), tracer.within(self, str(self.name)):
            return original(self, *args, **kwargs)

    return call


def _causal_call(tracer: Tracer, original: Callable[..., Any]) -> Callable[..., Any]:
    """Leave the padding of a causal convolution to its mark."""

    def call(self: Any, inputs: Any) -> Any:
        if self.padding != "causal":
            return original(self, inputs)
        left = amounts.causal(1, self.kernel_size[0], 1, self.dilation_rate[0])[0]
        with tracer.causal(left), replaced(self, "padding", "valid"):
            return original(self, inputs)

    return call


def _distributed_call(tracer: Tracer, original: Callable[..., Any]) -> Callable[..., Any]:
    """Apply a layer to all time steps at once, as more of the batch.

    Keras applies it step by step: as many copies of it, or a loop that ONNX does not have.
    """
    import tensorflow as tf

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        with tracer.within(self.layer, str(self.layer.name)):
            if mask is not None:
                return original(self, inputs, training, mask)
            merged = _reshaped(inputs, [-1], inputs.shape[2:], 2)
            given = {"training": False} if self.layer._call_has_training_arg else {}
            result = self.layer.call(merged, **given)
            steps = inputs.shape[1]
            lead = [-1, steps] if steps is not None else tf.shape(inputs)[:2]
            return _reshaped(result, lead, result.shape[1:], 1)

    return call


def _reshaped(x: Any, lead: Any, rest: Any, skipped: int) -> Any:
    """Replace the first axes of a tensor; ``rest`` is the static shape of the others."""
    import tensorflow as tf

    if rest.is_fully_defined():
        tail: Any = [int(size) for size in rest]
        shape = [*lead, *tail] if isinstance(lead, list) else tf.concat([lead, tail], 0)
    else:
        shape = tf.concat([lead, tf.shape(x)[skipped:]], 0)
    return tf.reshape(x, shape)
