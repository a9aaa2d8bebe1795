"""Small models of one padded operator each, one per family and rank, for `inference.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

IMAGE = (1, 32, 112, 111)
FLOAT, UINT8, INT32 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT32
Weights = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """One padded operator, its kernel and constants; a model of it and nothing else."""

    op_type: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("x", "w")
    attributes: Mapping[str, Any] = field(default_factory=dict)
    element: int = FLOAT
    made: int = FLOAT
    quantised_around: bool = False

    def model(self) -> ModelProto:
        """Return the model, auto_pad=SAME_UPPER."""
        node = helper.make_node(
            self.op_type,
            list(self.inputs),
            ["y"],
            "op",
            auto_pad="SAME_UPPER",
            kernel_shape=list(self.kernel),
            strides=list(self.strides),
            **self.attributes,
        )
        nodes = _quantised(node) if self.quantised_around else [node]
        graph = helper.make_graph(
            nodes,
            "case",
            [helper.make_tensor_value_info("x", self.element, self.shape)],
            [helper.make_tensor_value_info("y", self.made, [None] * len(self.shape))],
            [
                numpy_helper.from_array(np.asarray(value), name)
                for name, value in self.weights.items()
            ],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _quantised(node: NodeProto) -> list[NodeProto]:
    node.input[:], node.output[:] = ["x_float", "w_float"], ["y_float"]
    return [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["x_float"], "dx"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_float"], "dw"),
        node,
        helper.make_node("QuantizeLinear", ["y_float", "y_scale", "y_zero"], ["y"], "qy"),
    ]


def cases() -> dict[str, Case]:
    """Return one case per family and rank, kernels and strides unequal where it matters."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> Weights:
        return {"w": rng.standard_normal(shape).astype(np.float32) / 10}

    def pool(op_type: str, kernel: int, stride: int, **attributes: int) -> Case:
        sizes = (kernel, kernel), (stride, stride)
        return Case(op_type, IMAGE, *sizes, inputs=("x",), attributes=attributes)

    quantised: Weights = {
        "w": rng.integers(-100, 100, (64, 32, 3, 3)).astype(np.int8),
        "x_scale": np.array(0.05, np.float32),
        "x_zero": np.array(128, np.uint8),
        "w_scale": np.array(0.02, np.float32),
        "w_zero": np.array(0, np.int8),
        "y_scale": np.array(0.5, np.float32),
        "y_zero": np.array(120, np.uint8),
    }
    linear = ("x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero")
    integer: Weights = {
        "w": rng.integers(0, 255, (64, 32, 3, 3)).astype(np.uint8),
        "z": np.array(128, np.uint8),
    }
    two, one = (2, 2), (1, 1)
    depthwise = {"group": 32}
    return {
        "Conv 3x3 s2": Case("Conv", IMAGE, (3, 3), two, weight(64, 32, 3, 3)),
        "Conv 3x3 s1": Case("Conv", IMAGE, (3, 3), one, weight(64, 32, 3, 3)),
        "Conv 5x2 s2": Case("Conv", IMAGE, (5, 2), two, weight(64, 32, 5, 2)),
        "Conv depthwise s2": Case(
            "Conv", IMAGE, (3, 3), two, weight(32, 1, 3, 3), attributes=depthwise
        ),
        "Conv 1-D k5 s2": Case("Conv", (1, 64, 4096), (5,), (2,), weight(64, 64, 5)),
        "Conv 3-D s2": Case("Conv", (1, 8, 32, 31, 32), (3,) * 3, (2,) * 3, weight(16, 8, 3, 3, 3)),
        "ConvTranspose s2": Case(
            "ConvTranspose", (1, 32, 56, 55), (3, 3), two, weight(32, 16, 3, 3)
        ),
        "MaxPool 3x3 s2": pool("MaxPool", 3, 2),
        "MaxPool 3x3 s1": pool("MaxPool", 3, 1),
        "MaxPool 1-D k3 s2": Case("MaxPool", (1, 64, 8192), (3,), (2,), inputs=("x",)),
        "MaxPool uint8": Case(
            "MaxPool", IMAGE, (3, 3), two, inputs=("x",), element=UINT8, made=UINT8
        ),
        "AveragePool": pool("AveragePool", 3, 2),
        "AveragePool, padding counts": pool("AveragePool", 3, 2, count_include_pad=1),
        "LpPool": pool("LpPool", 3, 2, p=2),
        "QLinearConv": Case(
            "QLinearConv", IMAGE, (3, 3), two, quantised, linear, element=UINT8, made=UINT8
        ),
        "ConvInteger": Case(
            "ConvInteger", IMAGE, (3, 3), two, integer, ("x", "w", "z"), element=UINT8, made=INT32
        ),
        "QDQ Conv": Case(
            "Conv", IMAGE, (3, 3), two, quantised, quantised_around=True, element=UINT8, made=UINT8
        ),
    }


def two_readers() -> ModelProto:
    """Return a model of two convolutions that read, and pad, the same tensor."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((32, 1, 3, 3)).astype(np.float32), name)
        for name in ("v", "w")
    ]
    depthwise: dict[str, Any] = {"auto_pad": "SAME_UPPER", "group": 32, "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", name], [f"{name}_out"], f"conv_{name}", **depthwise)
        for name in ("v", "w")
    ]
    nodes.append(helper.make_node("Sub", ["v_out", "w_out"], ["y"], "sub"))
    given = helper.make_tensor_value_info("x", FLOAT, IMAGE)
    made = helper.make_tensor_value_info("y", FLOAT, [None] * 4)
    graph = helper.make_graph(nodes, "two readers", [given], [made], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
