"""Shape inference for ONNX graphs, without the weights' values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from padaudit.formats.guard import at_node
from padaudit.formats.onnx.computed import settle_pads
from padaudit.formats.onnx.dtypes import dtype_code, dtype_name
from padaudit.formats.onnx.normal import normalize
from padaudit.formats.onnx.protos import (
    GraphProto,
    ModelProto,
    SparseTensorProto,
    TensorProto,
    TensorShapeProto,
    TypeProto,
    ValueInfoProto,
    compiled,
)
from padaudit.formats.onnx.skeleton import LARGE_TENSOR_BYTES
from padaudit.formats.onnx.stand_ins import inferable, inferable_functions
from padaudit.ir.dims import Open, Shape
from padaudit.ir.tensor import TensorInfo

_LENIENT: Final = False
_PROPAGATE_DATA: Final = True
_MAX_ROUNDS: Final = 100
"""How many computed Pads may stand behind each other; each round settles the next one."""
_INVENTED: Final = "unk__"
"""How onnx names the sizes that it can't express."""


def infer(model: ModelProto) -> tuple[ModelProto, str | None]:
    """Return a weightless copy of a model with inferred types, and why inference failed.

    Parameters
    ----------
    model : ModelProto
        Not changed; large initializers are not copied.
    """
    light = _without_weights(model)
    try:
        inferred = _inferred(light)
        for _ in range(_MAX_ROUNDS):
            if not settle_pads(light, inferred):
                break
            inferred = _inferred(light)
        return inferred, None
    except Exception as error:
        # onnx raises several unrelated types here, RuntimeError and its own among them.
        return light, f"onnx shape inference failed ({(str(error).splitlines() or ['?'])[0]})"


def _inferred(light: ModelProto) -> ModelProto:
    infer_shapes = compiled().shape_inference.infer_shapes
    text = infer_shapes(light.SerializeToString(), _LENIENT, _LENIENT, _PROPAGATE_DATA)
    inferred: ModelProto = ModelProto.FromString(text)
    return inferred


def override_inputs(model: ModelProto, shapes: Mapping[str, TensorInfo]) -> ModelProto:
    """Return a weightless copy of a model whose inputs have the given shapes.

    What the file recorded for inner tensors belongs to the old sizes and is dropped.
    """
    light = _without_weights(model)
    for value in light.graph.input:
        info = shapes.get(value.name)
        if info is not None and info.shape is not None:
            value.type.tensor_type.shape.CopyFrom(_shape_proto(info.shape))
    del light.graph.value_info[:]
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    return light


def inferred_outputs(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Return the types of a model's outputs by its nodes alone, whatever it records."""
    return {value.name: value for value in _inferred(override_inputs(model, {})).graph.output}


def retyped(value: ValueInfoProto, info: TensorInfo) -> ValueInfoProto:
    """Return a copy of a graph input with another shape."""
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    if info.shape is not None:
        copy.type.tensor_type.shape.CopyFrom(_shape_proto(info.shape))
    return copy


def type_table(graph: GraphProto) -> dict[str, TensorInfo]:
    """Return what a graph's own records say of its tensors."""
    table = {
        value.name: tensor_info(value.type)
        for value in (*graph.value_info, *graph.output, *graph.input)
    }
    table |= {tensor.name: weight_info(tensor) for tensor in graph.initializer}
    return table


def tensor_info(kind: TypeProto) -> TensorInfo:
    """Return an ONNX type as a `TensorInfo` (sequences and maps: nothing known)."""
    if not kind.HasField("tensor_type"):
        return TensorInfo(None)
    tensor = kind.tensor_type
    dtype = dtype_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return TensorInfo(None, dtype)
    return TensorInfo(tuple(_dim(dim) for dim in tensor.shape.dim), dtype)


def weight_info(tensor: TensorProto) -> TensorInfo:
    """Return the type of a tensor whose values the model holds."""
    return TensorInfo(tuple(tensor.dims), dtype_name(tensor.data_type), constant=True)


def typed_value(name: str, info: TensorInfo) -> ValueInfoProto:
    """Return a graph input of a type; a float where the element type is not known."""
    value = ValueInfoProto(name=name)
    tensor = value.type.tensor_type
    tensor.elem_type = dtype_code(info.dtype) or TensorProto.FLOAT
    if info.shape is not None:
        tensor.shape.CopyFrom(_shape_proto(info.shape))
    return value


def _dim(dim: TensorShapeProto.Dimension) -> int | Open:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    name = dim.dim_param
    return Open(None if not name or name.startswith(_INVENTED) else name)


def _shape_proto(shape: Shape) -> TensorShapeProto:
    proto = TensorShapeProto()
    for size in shape:
        dim = proto.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif isinstance(size, Open) and size.name:
            dim.dim_param = size.name
    return proto


def _without_weights(model: ModelProto) -> ModelProto:
    light = ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(inferable_functions(model.functions))
    graph, old = light.graph, model.graph
    graph.name = old.name
    for node in old.node:
        with at_node(node.name or node.op_type):
            graph.node.extend(inferable(node))
    graph.input.extend(old.input)
    graph.output.extend(old.output)
    graph.value_info.extend(old.value_info)
    graph.initializer.extend(_light_tensors(old.initializer))
    graph.initializer.extend(_dense_stand_ins(old.sparse_initializer))
    normalize(light)
    return light


def _light_tensors(tensors: Iterable[TensorProto]) -> Iterable[TensorProto]:
    for tensor in tensors:
        if tensor.ByteSize() <= LARGE_TENSOR_BYTES:
            yield tensor
        else:
            yield _weightless(tensor, tensor.dims)


def _dense_stand_ins(tensors: Iterable[SparseTensorProto]) -> Iterable[TensorProto]:
    return (_weightless(tensor.values, tensor.dims) for tensor in tensors)


def _weightless(tensor: TensorProto, dims: Iterable[int]) -> TensorProto:
    return TensorProto(
        name=tensor.name,
        data_type=tensor.data_type,
        dims=dims,
        data_location=TensorProto.EXTERNAL,
    )
