"""In the process that runs tf-keras (Keras 2): its layers leave marks too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from padaudit.formats.keras.translation.functions import Functions
from padaudit.formats.keras.translation.replacing import replaced
from padaudit.formats.keras.translation.tracer import Tracer
from padaudit.padding import amounts

Operation = Callable[[Functions, Any, Any], Any]


@contextmanager
def traced_legacy(tracer: Tracer) -> Iterator[None]:
    """Let the layers of tf-keras leave marks instead of convolving and pooling."""
    import tf_keras
    from tf_keras.src import backend
    from tf_keras.src.engine.base_layer import Layer
    from tf_keras.src.engine.functional import Functional

    functions, naming = Functions(tracer), _Naming(tracer)
    with ExitStack() as stack:
        for name, operation in _OPERATIONS.items():
            layer = getattr(tf_keras.layers, name)
            stack.enter_context(replaced(layer, "call", _call(functions, operation)))
        for name in ("conv1d", "conv2d", "conv3d"):
            stack.enter_context(replaced(backend, name, functions.conv))
        run = naming.running(Functional._run_internal_graph)
        stack.enter_context(replaced(Functional, "_run_internal_graph", run))
        stack.enter_context(replaced(Layer, "__call__", naming.entering(Layer.__call__)))
        yield


def _call(functions: Functions, operation: Operation) -> Callable[[Any, Any], Any]:
    """Return the call of a layer: what it does with its window, its bias and its activation."""

    def call(self: Any, inputs: Any) -> Any:
        if self.padding == "causal":
            left = amounts.causal(1, self.kernel_size[0], 1, self.dilation_rate[0])[0]
            with functions.tracer.causal(left):
                outputs = operation(functions, self, inputs)
        else:
            outputs = operation(functions, self, inputs)
        if getattr(self, "use_bias", False):
            outputs = outputs + _bias(self, outputs)
        activation = getattr(self, "activation", None)
        return outputs if activation is None else activation(outputs)

    return call


def _bias(layer: Any, outputs: Any) -> Any:
    import tensorflow as tf

    if layer.data_format == "channels_last":
        return tf.convert_to_tensor(layer.bias)
    return tf.reshape(layer.bias, [1, -1, *[1] * (len(outputs.shape) - 2)])


def _how(layer: Any) -> tuple[Any, str, str, Any]:
    padding = "valid" if layer.padding == "causal" else layer.padding
    return layer.strides, padding, layer.data_format, layer.dilation_rate


def _convolve(functions: Functions, layer: Any, x: Any) -> Any:
    return functions.conv(x, layer.kernel, *_how(layer))


def _convolve_depthwise(functions: Functions, layer: Any, x: Any) -> Any:
    return functions.depthwise_conv(x, layer.depthwise_kernel, *_how(layer))


def _convolve_separably(functions: Functions, layer: Any, x: Any) -> Any:
    kernels = layer.depthwise_kernel, layer.pointwise_kernel
    return functions.separable_conv(x, *kernels, *_how(layer))


def _convolve_transposed(functions: Functions, layer: Any, x: Any) -> Any:
    strides, padding, *rest = _how(layer)
    return functions.conv_transpose(x, layer.kernel, strides, padding, layer.output_padding, *rest)


def _take_maximum(functions: Functions, layer: Any, x: Any) -> Any:
    return functions.max_pool(x, layer.pool_size, layer.strides, layer.padding, layer.data_format)


def _take_mean(functions: Functions, layer: Any, x: Any) -> Any:
    how = layer.pool_size, layer.strides, layer.padding, layer.data_format
    return functions.average_pool(x, *how)


_OPERATIONS: Final[dict[str, Operation]] = {
    **{f"Conv{rank}D": _convolve for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": _convolve_depthwise for rank in (1, 2)},
    **{f"SeparableConv{rank}D": _convolve_separably for rank in (1, 2)},
    **{f"Conv{rank}DTranspose": _convolve_transposed for rank in (1, 2, 3)},
    **{f"MaxPooling{rank}D": _take_maximum for rank in (1, 2, 3)},
    **{f"AveragePooling{rank}D": _take_mean for rank in (1, 2, 3)},
}
"""What each layer class of tf-keras does with its window."""


class _Naming:
    """Names each call of a layer as padaudit does: after the layer, with the call's number."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self._waiting: list[Iterator[tuple[Any, str]]] = []
        self._next: list[tuple[Any, str] | None] = []

    def running(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap what runs the graph of a functional model."""

        def run(model: Any, *args: Any, **kwargs: Any) -> Any:
            self._waiting.append(_calls(model))
            self._next.append(next(self._waiting[-1], None))
            try:
                return original(model, *args, **kwargs)
            finally:
                self._waiting.pop()
                self._next.pop()

        return run

    def entering(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the call of a layer."""

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self.tracer.runs(layer):
                return original(layer, *args, **kwargs)
            side, label = self._place(layer)
            with self.tracer.within(None, side), self.tracer.within(layer, label):
                return original(layer, *args, **kwargs)

        return call

    def _place(self, layer: Any) -> tuple[str | None, str]:
        """Name a layer as the definition does, where Bidirectional renames copies of it."""
        caller = self.tracer.caller
        if layer is getattr(caller, "forward_layer", None):
            return None, str(caller.layer.name)
        if layer is getattr(caller, "backward_layer", None):
            own = getattr(caller, "_backward_layer_config", None)
            return ("backward", own["config"]["name"]) if own else (None, str(caller.layer.name))
        return None, self._label(layer)

    def _label(self, layer: Any) -> str:
        expected = self._next[-1] if self._next else None
        if expected is None or expected[0] is not layer:
            return str(layer.name)
        self._next[-1] = next(self._waiting[-1], None)
        return expected[1]


def _calls(model: Any) -> Iterator[tuple[Any, str]]:
    """Yield the calls of a model's graph with their names, in the order in which it makes them."""
    own = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input:
                calls = [call for call in node.layer._inbound_nodes if id(call) in own]
                number = next(index for index, call in enumerate(calls) if call is node)
                name = str(node.layer.name)
                yield node.layer, name if number == 0 else f"{name}#{number + 1}"
