"""In the process that runs Keras: a traced model becomes ONNX, and its marks become operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from padaudit.formats.keras.translation.fold import fold_constants
from padaudit.formats.keras.translation.functions import TOKEN
from padaudit.formats.keras.translation.legacy import traced_legacy
from padaudit.formats.keras.translation.marks import DOMAIN, OPERATOR, Layout, Mark
from padaudit.formats.keras.translation.operators import HANDLERS
from padaudit.formats.keras.translation.replacing import replaced
from padaudit.formats.keras.translation.tracer import Shapes, Tracer
from padaudit.formats.keras.translation.tracing import traced


class TranslationError(Exception):
    """A model has no translation; the text is one clause."""


def export(
    model: Any,
    opset: int,
    shapes: Sequence[Sequence[int | None]] | None,
    layout: Layout,
    legacy: bool = False,
) -> tuple[Any, tuple[Mark, ...]]:
    """Translate a Keras model to ONNX; return it with the marks of its padded operators.

    Parameters
    ----------
    model : keras.Model
        A model with known inputs.
    opset : int
        The opset of the result.
    shapes : sequence of shape, optional
        The shapes of the inputs; the model's own if None.
    layout : Layout
        Which inputs and outputs have their channels moved.
    legacy : bool
        Whether it is a model of tf-keras.

    Raises
    ------
    TranslationError
        If it holds an operator that has no translation.
    """
    import tf2onnx

    tracer = Tracer()

    def handle(context: Any, node: Any, name: str, arguments: Any) -> None:
        token = node.get_attr("token").s.decode()
        if token.startswith(TOKEN):
            _keep(context, node, tracer, int(token.removeprefix(TOKEN)))

    with _bfloat16_kept(), traced_legacy(tracer) if legacy else traced(tracer):
        proto, _ = tf2onnx.convert.from_keras(
            _traceable(model, layout, tracer),
            input_signature=_signature(model, shapes, layout),
            opset=opset,
            custom_op_handlers={**HANDLERS, "PyFuncStateless": (handle, [])},
            extra_opset=[_opset_id(DOMAIN)],
        )
    _settle_graph(proto.graph, tracer)
    fold_constants(proto.graph, {mark.name for mark in tracer.marks})
    _refuse_unknown(proto.graph)
    kept = [item for item in proto.opset_import if item.domain != DOMAIN]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    _rename(proto.graph, [str(tensor.name) for tensor in _inputs(model)], _output_names(model))
    proto.graph.name = str(model.name)
    return proto, tuple(tracer.marks)


@contextmanager
def _bfloat16_kept() -> Iterator[None]:
    """Let tf2onnx translate bfloat16 as that: it writes float16 for it, beside bfloat16 weights."""
    import ml_dtypes
    import onnx
    from tensorflow.core.framework import types_pb2
    from tf2onnx import tf_utils, utils

    here = onnx.TensorProto.BFLOAT16
    there = types_pb2.DT_BFLOAT16
    types = {**tf_utils.TF_TO_ONNX_DTYPE, there: here}
    with (
        replaced(tf_utils, "TF_TO_ONNX_DTYPE", types),
        replaced(
            utils, "ONNX_TO_NUMPY_DTYPE", {**utils.ONNX_TO_NUMPY_DTYPE, here: ml_dtypes.bfloat16}
        ),
    ):
        yield


def _signature(
    model: Any, shapes: Sequence[Sequence[int | None]] | None, layout: Layout
) -> list[Any]:
    import tensorflow as tf

    inputs = _inputs(model)
    own = shapes or [tuple(tensor.shape) for tensor in inputs]
    return [
        tf.TensorSpec(_permuted(shape, layout), tensor.dtype, name=f"input_{index}")
        for index, (shape, tensor) in enumerate(zip(own, inputs, strict=True))
    ]


def _traceable(model: Any, layout: Layout, tracer: Tracer) -> Any:
    """Return what tf2onnx takes for a Keras model; its outputs have names that sort."""
    import tensorflow as tf

    class Traceable(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("traceable")
            self.model = model

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def __call__(self, *given: Any, training: bool) -> dict[str, Any]:
            tracer.restart()
            values = [_moved(value, layout.inverse()) for value in given]
            with tracer.within(model, None):
                outputs = tf.nest.flatten(model(packed(model, values), training=training))
            return {
                f"output_{index:05d}": tf.identity(_moved(value, layout))
                for index, value in enumerate(outputs)
            }

    return Traceable()


def _inputs(model: Any) -> list[Any]:
    from tensorflow import nest

    return list(nest.flatten(model.inputs))


def _output_names(model: Any) -> list[str]:
    """Return the names of the outputs; a Sequential of Keras 3 has none of its own."""
    names = getattr(model, "output_names", None)
    return [str(name) for name in names] if names else [str(model.layers[-1].name)]


def packed(model: Any, values: list[Any]) -> Any:
    """Return flat inputs in the structure that a model takes."""
    from tensorflow import nest

    structure = getattr(model, "_inputs_struct", getattr(model, "_nested_inputs", None))
    if structure is None:
        return values if len(values) > 1 else values[0]
    return nest.pack_sequence_as(structure, values)


def _permuted(shape: Sequence[int | None], layout: Layout) -> list[int | None]:
    order = layout.order(len(shape))
    return [shape[axis] for axis in order] if order else list(shape)


def _moved(value: Any, layout: Layout) -> Any:
    import tensorflow as tf

    order = layout.order(len(value.shape)) if value.shape.rank is not None else None
    return tf.transpose(value, order) if order else value


def _opset_id(domain: str) -> Any:
    import onnx

    return onnx.helper.make_opsetid(domain, 1)


def _keep(context: Any, node: Any, tracer: Tracer, index: int) -> None:
    """Make a marked operator one that tf2onnx's optimizers leave as it is."""
    for name in list(node.attr):
        del node.attr[name]
    node.type = OPERATOR
    node.domain = DOMAIN
    node.set_attr("mark", index)
    shape = tracer.shapes[index][1]
    context.set_shape(node.output[0], [-1 if size is None else size for size in shape])


def _settle_graph(graph: Any, tracer: Tracer) -> None:
    """Write the operators that marks stand for, in a graph and its bodies."""
    typed = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
    for node in graph.node:
        if node.domain == DOMAIN:
            index = node.attribute[0].i
            _settle(node, tracer.marks[index])
            _state_shapes(graph, node, tracer.shapes[index], typed)
        for body in _bodies(node):
            _settle_graph(body, tracer)


def _settle(node: Any, mark: Mark) -> None:
    import onnx

    node.op_type, node.domain, node.name = mark.operator, "", mark.name
    del node.attribute[:]
    node.attribute.extend(
        onnx.helper.make_attribute(name, value) for name, value in _attributes(mark).items()
    )


def _state_shapes(graph: Any, node: Any, shapes: Shapes, typed: dict[str, Any]) -> None:
    """Write the sizes that TensorFlow knows: ONNX's own inference loses some of them."""
    import onnx

    made = typed.get(node.output[0])
    if made is None:
        return
    element = made.type.tensor_type.elem_type
    if node.input[0] not in typed:
        value = onnx.helper.make_tensor_value_info(node.input[0], element, shapes[0])
        typed[node.input[0]] = value
        graph.value_info.append(value)


def _attributes(mark: Mark) -> Mapping[str, Any]:
    values: dict[str, Any] = {"kernel_shape": mark.kernel_shape, "strides": mark.strides}
    if "Conv" in mark.operator:
        values |= {"dilations": mark.dilations, "group": mark.group}
    if mark.counted:
        values["count_include_pad"] = 1
    if mark.same:
        values["auto_pad"] = "SAME_UPPER"
    if mark.pads is not None and any(map(any, mark.pads)):
        values["pads"] = [pad[0] for pad in mark.pads] + [pad[1] for pad in mark.pads]
    if mark.output_padding is not None and any(mark.output_padding):
        values["output_padding"] = mark.output_padding
    return values


def _bodies(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g


def _refuse_unknown(graph: Any) -> None:
    import onnx

    for node in graph.node:
        if not node.domain and not onnx.defs.has(node.op_type):
            raise TranslationError(
                f"there is no ONNX for TensorFlow's {node.op_type} ({node.name})"
            )
        for body in _bodies(node):
            _refuse_unknown(body)


def _rename(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give inputs and outputs the names and the order that they have in Keras."""
    graph.output.sort(key=lambda value: value.name)
    taken: set[str] = set()
    names: dict[str, str] = {}
    by_place = {value.name.split(":")[0]: value.name for value in graph.input}
    for index, name in enumerate(inputs):
        if f"input_{index}" in by_place:
            names[by_place[f"input_{index}"]] = _free(name, taken)
    for value, name in zip(graph.output, outputs, strict=True):
        names[value.name] = _free(name, taken)
    _apply_names(graph, names)


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def _apply_names(graph: Any, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in _bodies(node):
            _apply_names(body, names)
