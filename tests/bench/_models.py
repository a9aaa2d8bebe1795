"""The models of the benchmarks; ``python _models.py KIND ARGUMENT... PATH`` makes one.

Run as a process of its own by `_measure.make`, so that a benchmark itself stays small.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

SIDE = 4096
TENSOR_BYTES = SIDE * SIDE * 4
CHUNK_BYTES = 2**20
FLOAT = TensorProto.FLOAT
MOBILENET_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
MOBILENET_V2_END = ((6, 160, 3, 2), (6, 320, 1, 1))


def model_of(graph: GraphProto, opset: int = 17) -> ModelProto:
    """Return a model of one graph."""
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("bench", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _value(name: str, shape: Sequence[int | None] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, shape)


# ---------------------------------------------------------------- 1.5 GB


def large(size: int, path: Path, external: bool = False) -> None:
    """Write a model of about ``size`` bytes: a few convolutions, then large matrices.

    The weights are written chunk by chunk, into the file itself or into ``weights.bin``.
    """
    count = max(size // TENSOR_BYTES, 1)
    graph = _large_graph(count)
    if external:
        for index in range(count):
            graph.initializer.append(_external(index))
        onnx.save(model_of(graph), path)
        with (path.parent / "weights.bin").open("wb") as file:
            for _ in range(count):
                _write_weights(file)
        return
    graph_bytes = graph.SerializeToString()
    heads = [_tensor_head(index) for index in range(count)]
    total = len(graph_bytes) + sum(len(head) + TENSOR_BYTES for head in heads)
    with path.open("wb") as file:
        file.write(_model_without_graph() + b"\x3a" + _varint(total) + graph_bytes)
        for head in heads:
            file.write(head)
            _write_weights(file)


def _large_graph(count: int) -> GraphProto:
    rng = np.random.default_rng(0)
    nodes, weights, tensor = [], [], "x"
    for index, (channels, kernel, stride) in enumerate(((3, 3, 2), (16, 5, 1), (16, 3, 2))):
        weight = rng.standard_normal((16, channels, kernel, kernel)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"conv{index}/kernel"))
        nodes.append(
            helper.make_node(
                "Conv",
                [tensor, f"conv{index}/kernel"],
                [f"conv{index}/out"],
                f"conv{index}",
                auto_pad="SAME_UPPER",
                strides=[stride, stride],
            )
        )
        tensor = f"conv{index}/out"
    nodes.append(helper.make_node("Reshape", [tensor, "flat"], ["flat/out"], "flat_"))
    weights.append(numpy_helper.from_array(np.array([1, SIDE], np.int64), "flat"))
    tensor = "flat/out"
    for index in range(count):
        nodes.append(
            helper.make_node("MatMul", [tensor, f"dense{index}/w"], [f"d{index}"], f"dense{index}")
        )
        tensor = f"d{index}"
    outputs = [_value(tensor, [1, SIDE])]
    return helper.make_graph(nodes, "large", [_value("x", [1, 3, 64, 64])], outputs, weights)


def _external(index: int) -> TensorProto:
    tensor = TensorProto(name=f"dense{index}/w", data_type=FLOAT, dims=(SIDE, SIDE))
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": "weights.bin", "offset": index * TENSOR_BYTES, "length": TENSOR_BYTES}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _model_without_graph() -> bytes:
    model = model_of(GraphProto())
    model.ClearField("graph")
    return model.SerializeToString()


def _tensor_head(index: int) -> bytes:
    """Everything of an ``initializer`` field that stands before its raw data."""
    tensor = TensorProto(name=f"dense{index}/w", data_type=FLOAT, dims=(SIDE, SIDE))
    inner = tensor.SerializeToString() + b"\x4a" + _varint(TENSOR_BYTES)
    return b"\x2a" + _varint(len(inner) + TENSOR_BYTES) + inner


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _write_weights(file: BinaryIO) -> None:
    rng = np.random.default_rng(0)
    chunk = rng.uniform(-0.02, 0.02, CHUNK_BYTES // 4).astype(np.float32).tobytes()
    for _ in range(TENSOR_BYTES // CHUNK_BYTES):
        file.write(chunk)


# ---------------------------------------------------------------- many nodes


def chain(kind: str, count: int, path: Path) -> None:
    """Write a chain of ``count`` nodes, Conv and Relu in turn, every fourth Conv with auto_pad.

    Kinds: ``plain``; ``weights`` (each Conv its own); ``unnamed`` nodes; ``unknown``: a custom
    operator in front, after which no shape is known; ``bodies``: the chain in If branches of 100.
    """
    inits = [_weight("w")]
    nodes = list(_links(kind, count, "x", ""))
    if kind == "unknown":
        nodes.insert(0, helper.make_node("Custom", ["x"], ["x0"], "custom", domain="bench"))
        nodes[1].input[0] = "x0"
    if kind == "weights":
        inits = [_weight(node.input[1]) for node in nodes if node.op_type == "Conv"]
    last = nodes[-1].output[0]
    if kind == "bodies":
        nodes, last = _in_bodies(count)
        inits.append(numpy_helper.from_array(np.array(True), "yes"))
    known = [1, 4, 16, 17]
    given, made = [_value("x", known)], [_value(last, [None] * 4 if kind == "unknown" else known)]
    onnx.save(model_of(helper.make_graph(nodes, "chain", given, made, inits)), path)


def _links(kind: str, count: int, tensor: str, prefix: str) -> Iterator[NodeProto]:
    for index in range(0, count, 2):
        padding: dict[str, Any] = (
            {"auto_pad": "SAME_UPPER"} if index % 8 == 0 else {"pads": [1, 1, 1, 1]}
        )
        weight = f"{prefix}w{index}" if kind == "weights" else "w"
        names = (None, None) if kind == "unnamed" else (f"{prefix}conv{index}", f"{prefix}a{index}")
        made = (f"{prefix}c{index}", f"{prefix}r{index}")
        yield helper.make_node("Conv", [tensor, weight], [made[0]], names[0], **padding)
        yield helper.make_node("Relu", [made[0]], [made[1]], names[1])
        tensor = made[1]


def _in_bodies(count: int) -> tuple[list[NodeProto], str]:
    nodes, tensor = [], "x"
    for number in range(max(count // 200, 1)):
        branches = {}
        for branch in ("then", "else"):
            links = list(_links("plain", 100, tensor, f"{branch}{number}/"))
            out = _value(links[-1].output[0], None)
            branches[f"{branch}_branch"] = helper.make_graph(links, branch, [], [out])
        nodes.append(helper.make_node("If", ["yes"], [f"if{number}"], f"if_{number}", **branches))
        tensor = f"if{number}"
    return nodes, tensor


def _weight(name: str) -> TensorProto:
    values = np.linspace(-1, 1, 4 * 4 * 3 * 3, dtype=np.float32).reshape(4, 4, 3, 3)
    return numpy_helper.from_array(values, name)


# ---------------------------------------------------------------- MobileNetV2


class _MobileNet:
    """Nodes and weights while the network grows."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        self.weights = [
            numpy_helper.from_array(np.array(bound, np.float32), name)
            for name, bound in (("low", 0), ("high", 6))
        ]
        self.tensor, self.channels, self.convs = "x", 3, 0

    def conv(self, channels: int, kernel: int, stride: int, *, depthwise: bool, act: bool) -> None:
        """Append a convolution with auto_pad=SAME_UPPER, its bias folded in, and a Clip."""
        name = f"conv{self.convs}"
        self.convs += 1
        fan_in = 1 if depthwise else self.channels
        scale = (2 / (fan_in * kernel * kernel)) ** 0.5
        self.weight(f"{name}/w", (channels, fan_in, kernel, kernel), scale)
        self.weight(f"{name}/b", (channels,), 0.1)
        attributes: dict[str, Any] = {
            "auto_pad": "SAME_UPPER",
            "kernel_shape": [kernel, kernel],
            "strides": [stride, stride],
            "group": self.channels if depthwise else 1,
        }
        self.node("Conv", name, f"{name}/w", f"{name}/b", **attributes)
        self.channels = channels
        if act:
            self.node("Clip", f"{name}/relu6", "low", "high")

    def node(self, op_type: str, name: str, *others: str, **attributes: Any) -> None:
        """Append a node that reads the last tensor and ``others``."""
        self.nodes.append(
            helper.make_node(op_type, [self.tensor, *others], [f"{name}/out"], name, **attributes)
        )
        self.tensor = f"{name}/out"

    def weight(self, name: str, shape: tuple[int, ...], scale: float) -> None:
        """Add a random weight."""
        values: NDArray[np.float32] = self.rng.standard_normal(shape, np.float32) * np.float32(
            scale
        )
        self.weights.append(numpy_helper.from_array(values, name))

    def block(self, expansion: int, channels: int, stride: int) -> None:
        """Append an inverted residual block."""
        shortcut, before = self.tensor, self.channels
        if expansion > 1:
            self.conv(before * expansion, 1, 1, depthwise=False, act=True)
        self.conv(self.channels, 3, stride, depthwise=True, act=True)
        self.conv(channels, 1, 1, depthwise=False, act=False)
        if stride == 1 and before == channels:
            self.node("Add", f"add{self.convs}", shortcut)


def mobilenet() -> ModelProto:
    """Return a MobileNetV2 with random weights: 52 convolutions with auto_pad, 14 MB."""
    net = _MobileNet()
    net.conv(32, 3, 2, depthwise=False, act=True)
    for expansion, channels, repeats, stride in (*MOBILENET_V2, *MOBILENET_V2_END):
        for index in range(repeats):
            net.block(expansion, channels, 1 if index else stride)
    net.conv(1280, 1, 1, depthwise=False, act=True)
    net.node("GlobalAveragePool", "pool")
    net.node("Flatten", "flatten")
    net.weight("dense/w", (1280, 1000), 0.03)
    net.weight("dense/b", (1000,), 0.1)
    net.node("Gemm", "dense", "dense/w", "dense/b")
    given, made = [_value("x", [1, 3, 224, 224])], [_value(net.tensor, [1, 1000])]
    return model_of(helper.make_graph(net.nodes, "mobilenet_v2", given, made, net.weights))


def main() -> None:
    """Make the model that the command line asks for."""
    kind, *arguments, path = sys.argv[1:]
    if kind in ("single", "external"):
        large(int(arguments[0]), Path(path), external=kind == "external")
    elif kind == "mobilenet":
        onnx.save(mobilenet(), path)
    else:
        chain(kind, int(arguments[0]), Path(path))


if __name__ == "__main__":
    main()
