"""Random ONNX networks whose padded operators stand anywhere: branches, loops, functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

CHANNELS = 3
LOCAL = "local"
OPSET = 17
LEAVES = ("Conv", "Conv", "depthwise", "MaxPool", "AveragePool", "ConvTranspose")
BLOCKS = ("leaf", "leaf", "residual", "branch", "loop", "scan", "call", "call", "branch in call")
FLOAT = TensorProto.FLOAT


@dataclass
class Net:
    """A network under construction."""

    nodes: list[NodeProto] = field(default_factory=list)
    tensors: list[TensorProto] = field(default_factory=list)
    functions: dict[str, FunctionProto] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    chooses: bool = False
    count: int = 0

    def fresh(self, word: str) -> str:
        self.count += 1
        return f"{word}{self.count}"

    def constant(self, values: Any) -> str:
        name = self.fresh("c")
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name


@dataclass(frozen=True)
class Leaf:
    """One padded operator; its weights may be shared with others."""

    kind: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    mode: str
    weights: np.ndarray[Any, Any] | None

    def node(self, source: str, result: str, name: str, weights: str) -> NodeProto:
        how: dict[str, Any] = {"auto_pad": self.mode, "kernel_shape": self.kernel}
        how["strides"] = self.strides
        if self.kind == "depthwise":
            how["group"] = CHANNELS
        kind = "Conv" if self.kind == "depthwise" else self.kind
        inputs = [source] if self.weights is None else [source, weights]
        return helper.make_node(kind, inputs, [result], name, **how)


@st.composite
def leaves(draw: st.DrawFn, strided: bool = False) -> Leaf:
    kind = draw(st.sampled_from(LEAVES if not strided else LEAVES[:-1]))
    kernel = draw(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    strides = (draw(st.integers(1, 2)), 2) if strided else (1, 1)
    mode = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (CHANNELS, 1 if kind == "depthwise" else CHANNELS, *kernel)
    weights = None if "Pool" in kind else rng.normal(size=shape).astype(np.float32)
    return Leaf(kind, kernel, strides, mode, weights)


@st.composite
def nets(draw: st.DrawFn, blocks: Sequence[str] = BLOCKS) -> ModelProto:
    """Draw a network; every tensor between blocks may be an output too."""
    net, tensor = Net(), "x"
    calls: list[tuple[str, list[str]]] = []
    for _ in range(draw(st.integers(2, 4))):
        kind = draw(st.sampled_from(blocks))
        if "call" in kind and calls and draw(st.booleans()):
            name, inputs = calls[0]
            result = net.fresh("t")
            net.nodes.append(
                helper.make_node(name, [tensor, *inputs], [result], net.fresh("call"), domain=LOCAL)
            )
        else:
            result = _BUILDERS[kind](draw, net, tensor, calls)
        if draw(st.booleans()):
            net.outputs.append(result)
        tensor = result
    net.outputs = list(dict.fromkeys([*net.outputs, tensor]))
    return model_of(net, draw(st.tuples(st.integers(9, 12), st.integers(9, 12))))


def model_of(net: Net, size: tuple[int, int]) -> ModelProto:
    given = [helper.make_tensor_value_info("x", FLOAT, [1, CHANNELS, *size])]
    if net.chooses:
        given.append(helper.make_tensor_value_info("choose", TensorProto.BOOL, []))
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in net.outputs]
    graph = helper.make_graph(net.nodes, "net", given, results, net.tensors)
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(LOCAL, 1)]
    functions = list(net.functions.values())
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


Calls = list[tuple[str, list[str]]]


def _applied(net: Net, leaf: Leaf, source: str, nodes: list[NodeProto]) -> str:
    result = net.fresh("t")
    weights = net.constant(leaf.weights) if leaf.weights is not None else ""
    nodes.append(leaf.node(source, result, net.fresh("n"), weights))
    return result


def _leaf(draw: st.DrawFn, net: Net, source: str, calls: Calls) -> str:
    return _applied(net, draw(leaves(draw(st.booleans()))), source, net.nodes)


def _residual(draw: st.DrawFn, net: Net, source: str, calls: Calls) -> str:
    inner = _applied(net, draw(leaves()), source, net.nodes)
    result = net.fresh("t")
    net.nodes.append(helper.make_node("Add", [source, inner], [result], net.fresh("add")))
    return result


def _branches(
    draw: st.DrawFn, net: Net, source: str, strided: bool, weights: list[str] | None = None
) -> dict[str, GraphProto]:
    """Return two branches, of different lengths; weights of functions come from outside."""
    strides, found = draw(leaves(strided)).strides, {}
    for label, length in (("then_branch", 2), ("else_branch", 1)):
        nodes: list[NodeProto] = []
        tensor = source
        for place in range(length):
            leaf = draw(leaves(strided))
            leaf = Leaf(
                leaf.kind, leaf.kernel, strides if not place else (1, 1), leaf.mode, leaf.weights
            )
            if weights is not None and leaf.weights is not None:
                weights.append(net.constant(leaf.weights))
                name = f"w{len(weights) - 1}"
                nodes.append(leaf.node(tensor, net.fresh("t"), net.fresh("n"), name))
                tensor = nodes[-1].output[0]
            else:
                tensor = _applied(net, leaf, tensor, nodes)
        result = helper.make_tensor_value_info(tensor, FLOAT, None)
        found[label] = helper.make_graph(nodes, label, [], [result])
    return found


def _branch(draw: st.DrawFn, net: Net, source: str, calls: Calls) -> str:
    net.chooses, result = True, net.fresh("t")
    inner = _branches(draw, net, source, draw(st.booleans()))
    net.nodes.append(helper.make_node("If", ["choose"], [result], net.fresh("if"), **inner))
    return result


def _step(draw: st.DrawFn, net: Net) -> tuple[list[NodeProto], str]:
    nodes: list[NodeProto] = []
    tensor = "state"
    for _ in range(draw(st.integers(1, 2))):
        tensor = _applied(net, draw(leaves()), tensor, nodes)
    half = net.constant(np.float32(0.5))
    nodes.append(helper.make_node("Mul", [tensor, half], [net.fresh("t")]))
    return nodes, nodes[-1].output[0]


def _loop(draw: st.DrawFn, net: Net, source: str, calls: Calls) -> str:
    nodes, following = _step(draw, net)
    nodes.insert(0, helper.make_node("Identity", ["go"], ["on"]))
    infos = [("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("state", FLOAT, None)]
    given = [helper.make_tensor_value_info(*info) for info in infos]
    results = [helper.make_tensor_value_info("on", TensorProto.BOOL, [])]
    results.append(helper.make_tensor_value_info(following, FLOAT, None))
    body = helper.make_graph(nodes, "step", given, results)
    count, go = net.constant(np.int64(draw(st.integers(2, 3)))), net.constant(np.bool_(True))
    result = net.fresh("t")
    net.nodes.append(
        helper.make_node("Loop", [count, go, source], [result], net.fresh("loop"), body=body)
    )
    return result


def _scan(draw: st.DrawFn, net: Net, source: str, calls: Calls) -> str:
    nodes, following = _step(draw, net)
    seen = net.fresh("t")
    nodes.append(helper.make_node("Mul", [following, "factor"], [seen]))
    given = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("state", "factor")]
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in (following, seen)]
    body = helper.make_graph(nodes, "step", given, results)
    factors = net.constant(np.asarray([1, 2, 3], np.float32).reshape(3, 1))
    result, stack = net.fresh("t"), net.fresh("stack")
    how: dict[str, Any] = {"body": body, "num_scan_inputs": 1}
    if draw(st.booleans()):
        how |= {"scan_output_axes": [1], "scan_output_directions": [1]}
    net.nodes.append(
        helper.make_node("Scan", [source, factors], [result, stack], net.fresh("scan"), **how)
    )
    net.outputs.append(stack)
    return result


def _call(draw: st.DrawFn, net: Net, source: str, calls: Calls) -> str:
    """Call a new function of two operators, whose weights are given to it."""
    first, second = draw(leaves(draw(st.booleans()))), draw(leaves())
    nodes = [
        first.node("data", "between", net.fresh("n"), "w0"),
        helper.make_node("Relu", ["between"], ["positive"], net.fresh("relu")),
        second.node("positive", "result", net.fresh("n"), "w1"),
    ]
    given = [
        leaf.weights if leaf.weights is not None else np.float32(0) for leaf in (first, second)
    ]
    return _called(net, source, nodes, [net.constant(item) for item in given], calls, False)


def _branch_in_call(draw: st.DrawFn, net: Net, source: str, calls: Calls) -> str:
    net.chooses, weights = True, []
    inner = _branches(draw, net, "data", False, weights)
    nodes = [helper.make_node("If", ["c"], ["result"], net.fresh("if"), **inner)]
    return _called(net, source, nodes, weights, calls, True)


def _called(
    net: Net,
    source: str,
    nodes: list[NodeProto],
    weights: list[str],
    calls: Calls,
    chooses: bool,
) -> str:
    name, result = net.fresh("Block"), net.fresh("t")
    names = [*(["c"] if chooses else []), *(f"w{place}" for place in range(len(weights)))]
    imports = [helper.make_opsetid("", OPSET)]
    net.functions[name] = helper.make_function(
        LOCAL, name, ["data", *names], ["result"], nodes, imports
    )
    inputs = [*(["choose"] if chooses else []), *weights]
    net.nodes.append(
        helper.make_node(name, [source, *inputs], [result], net.fresh("call"), domain=LOCAL)
    )
    calls.append((name, inputs))
    return result


_BUILDERS: dict[str, Callable[..., str]] = {
    "leaf": _leaf,
    "residual": _residual,
    "branch": _branch,
    "loop": _loop,
    "scan": _scan,
    "call": _call,
    "branch in call": _branch_in_call,
}
