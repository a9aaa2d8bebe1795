"""Where a padded operator can stand: bodies, functions, and among its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import golden
import numpy as np
from onnx import NodeProto, TensorProto
from onnx_corpus import (
    FLOAT,
    INTS,
    STRING,
    Array,
    Built,
    Case,
    Run,
    body,
    distinct,
    function,
    ints,
    model,
    node,
    referring,
    tensor,
    value,
)

UPPER: dict[str, Any] = {"auto_pad": "SAME_UPPER", "strides": [3, 2]}
LOWER: dict[str, Any] = {"auto_pad": "SAME_LOWER", "strides": [2, 3]}
SHAPE = (1, 2, 16, 15)
WEIGHT = ints((2, 2, 4, 3), 1)
SECOND = ints((3, 2, 2, 5), 2)


def upper(data: Array, weight: Array = WEIGHT) -> Array:
    return golden.conv(data, weight, strides=[3, 2])


def lower(data: Array, weight: Array = SECOND) -> Array:
    return golden.conv(data, weight, strides=[2, 3], mode="SAME_LOWER")


def conv(inputs: str, output: str, name: str = "conv", **how: Any) -> NodeProto:
    return node("Conv", inputs, output, name, **(how or UPPER))


# --- bodies -------------------------------------------------------------------------------


def branches(then: Sequence[NodeProto], other: Sequence[NodeProto]) -> dict[str, Any]:
    """Return the bodies of an If; each gives its last node's output."""
    return {
        label: body(label, nodes, [value(nodes[-1].output[0], None)])
        for label, nodes in (("then_branch", then), ("else_branch", other))
    }


CHOICE = {"choose": ((), TensorProto.BOOL)}


def with_choice(data: Array, results: Sequence[Sequence[Array]]) -> list[Run]:
    """Return a run per branch: first for true, then for false."""
    return [
        Run({"x": data, "choose": np.asarray(choice)}, outputs)
        for choice, outputs in zip((True, False), results, strict=True)
    ]


def if_of_outer_tensors() -> Built:
    inner = branches([conv("r w", "a")], [conv("r v", "b", **LOWER)])
    nodes = [node("Relu", "x", "r", "relu"), node("If", "choose", "y", "choice", **inner)]
    data = ints(SHAPE)
    positive = np.maximum(data, 0)
    proto = model(nodes, {"x": SHAPE, **CHOICE}, [tensor("w", WEIGHT), tensor("v", SECOND)])
    return Built(proto, with_choice(data, [[upper(positive)], [lower(positive)]]))


def nested_if() -> Built:
    """Return an If in an If; three Convs have one name, in graphs of their own."""
    pool = node(
        "MaxPool", "x", "m", "pool", kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER"
    )
    deep = branches([conv("x v", "c", **LOWER)], [conv("m w", "d")])
    outer = branches([pool, node("If", "choose", "e", "inner", **deep)], [conv("x w", "f")])
    proto = model(
        [node("If", "choose", "y", "outer", **outer)],
        {"x": SHAPE, **CHOICE},
        [tensor("w", WEIGHT), tensor("v", SECOND)],
    )
    data = ints(SHAPE)
    return Built(proto, with_choice(data, [[lower(data)], [upper(data)]]))


def loop() -> Built:
    """Return a Loop that convolves its state and collects a strided view of it."""
    small = ints((2, 2, 2, 3), 4)
    nodes = [
        node("Identity", "go", "on", "go_on"),
        conv("state k", "next", "same_size", auto_pad="SAME_LOWER"),
        conv("state w", "seen", "strided"),
    ]
    inputs = [
        value("i", (), TensorProto.INT64),
        value("go", (), TensorProto.BOOL),
        value("state", SHAPE),
    ]
    outputs = [value("on", (), TensorProto.BOOL), value("next", SHAPE), value("seen", None)]
    inner = body("step", nodes, outputs, inputs, [tensor("k", small)])
    made = node("Loop", "count go_ahead x", "y z", "loop", body=inner)
    proto = model(
        [made],
        {"x": SHAPE},
        [tensor("w", WEIGHT), tensor("count", 3, np.int64), tensor("go_ahead", True)],
        ["y", "z"],
    )
    state, seen = ints(SHAPE), []
    feeds = {"x": state}
    for _ in range(3):
        seen.append(upper(state))
        state = golden.conv(state, small, mode="SAME_LOWER")
    return Built(proto, [Run(feeds, [state, np.stack(seen)])])


def scan() -> Built:
    nodes = [
        conv("frame w", "c"),
        node("Add", "total c", "sum", "add"),
        node("Identity", "c", "each", "each"),
    ]
    inputs = [value("total", (1, 2, 6, 8)), value("frame", SHAPE)]
    inner = body("step", nodes, [value("sum", (1, 2, 6, 8)), value("each", None)], inputs)
    made = node("Scan", "start frames", "y z", "scan", body=inner, num_scan_inputs=1)
    frames, start = ints((4, *SHAPE)), ints((1, 2, 6, 8), 6)
    proto = model(
        [made], {"start": start.shape, "frames": frames.shape}, [tensor("w", WEIGHT)], ["y", "z"]
    )
    each = np.stack([upper(frame) for frame in frames])
    return Built(proto, [Run({"start": start, "frames": frames}, [start + each.sum(0), each])])


# --- functions ----------------------------------------------------------------------------


def call(name: str, inputs: str, output: str, label: str, **given: Any) -> NodeProto:
    return node(name, inputs, output, label, domain="local", **given)


PADDED = function("Padded", "a k", "c", [conv("a k", "c", "inner")])


def calls(*shapes: Sequence[int]) -> Built:
    """Return a function with a Conv, called once per input shape."""
    made = [call("Padded", f"x{i} w", f"y{i}", f"call{i}") for i in range(len(shapes))]
    proto = model(
        made,
        {f"x{i}": shape for i, shape in enumerate(shapes)},
        [tensor("w", WEIGHT)],
        [f"y{i}" for i in range(len(shapes))],
        domains=["local"],
        functions=[PADDED],
    )
    feeds = {f"x{i}": ints(shape, i) for i, shape in enumerate(shapes)}
    return Built(proto, [Run(feeds, [upper(data) for data in feeds.values()])])


def calls_in_functions() -> Built:
    """Return Outer(x) = Padded(MaxPool(x)), called with two sizes, and Padded beside it."""
    outer = function(
        "Outer",
        "a k",
        "c",
        [
            node(
                "MaxPool",
                "a",
                "m",
                "pool",
                kernel_shape=[2, 3],
                strides=[2, 1],
                auto_pad="SAME_UPPER",
            ),
            call("Padded", "m k", "c", "deep"),
        ],
    )
    made = [
        call("Outer", "x0 w", "y0", "one"),
        call("Outer", "x1 w", "y1", "two"),
        call("Padded", "x1 w", "y2", "three"),
    ]
    shapes = {"x0": (1, 2, 17, 14), "x1": (1, 2, 22, 9)}
    feeds = {name: distinct(shape, i) for i, (name, shape) in enumerate(shapes.items())}
    proto = model(
        made,
        shapes,
        [tensor("w", WEIGHT)],
        ["y0", "y1", "y2"],
        domains=["local"],
        functions=[PADDED, outer],
    )

    def whole(data: Array) -> Array:
        return upper(golden.max_pool(data, [2, 3], strides=[2, 1])[0])

    first, second = feeds.values()
    return Built(proto, [Run(feeds, [whole(first), whole(second), upper(second)])])


def function_of_attributes() -> Built:
    """Return a function whose Conv takes auto_pad, strides and kernel_shape from its call."""
    inner = node("Conv", "a k", "c", "inner")
    referring(inner, "auto_pad", "how", STRING)
    referring(inner, "strides", "steps", INTS)
    referring(inner, "kernel_shape", "size", INTS)
    made = function("Any", "a k", "c", [inner], attributes=["how", "steps", "size"])
    nodes = [
        call("Any", "x w", "y0", "one", how="SAME_UPPER", steps=[3, 2], size=[4, 3]),
        call("Any", "x v", "y1", "two", how="SAME_LOWER", steps=[2, 3], size=[2, 5]),
        call("Any", "x w", "y2", "three", how="VALID", steps=[1, 2], size=[4, 3]),
    ]
    data = ints(SHAPE)
    proto = model(
        nodes,
        {"x": SHAPE},
        [tensor("w", WEIGHT), tensor("v", SECOND)],
        ["y0", "y1", "y2"],
        domains=["local"],
        functions=[made],
    )
    third = golden.conv(data, WEIGHT, strides=[1, 2], mode="VALID")
    return Built(proto, [Run({"x": data}, [upper(data), lower(data), third])])


def function_with_if_called_in_if() -> Built:
    """Return a function that holds an If, called in a branch and outside, with two sizes."""
    inner = branches(
        [conv("a k", "t")],
        [
            node(
                "MaxPool",
                "a",
                "f",
                "pool",
                kernel_shape=[3, 2],
                strides=[2, 2],
                auto_pad="SAME_LOWER",
            )
        ],
    )
    made = function("Either", "a k which", "c", [node("If", "which", "c", "choice", **inner)])
    small = node("Slice", "x from upto", "s", "cut")
    outer = branches(
        [small, call("Either", "s w choose", "p", "in_branch")],
        [node("Identity", "x", "q", "same")],
    )
    nodes = [
        node("If", "choose", "y", "outer", **outer),
        call("Either", "x w choose", "z", "outside"),
    ]
    parts = [
        tensor("w", WEIGHT),
        tensor("from", [0, 0, 0, 0], np.int64),
        tensor("upto", [1, 2, 11, 8], np.int64),
    ]
    proto = model(
        nodes, {"x": SHAPE, **CHOICE}, parts, ["y", "z"], domains=["local"], functions=[made]
    )
    data = distinct(SHAPE)
    cut = data[:, :, :11, :8]
    pooled = golden.max_pool(data, [3, 2], strides=[2, 2], mode="SAME_LOWER")[0]
    return Built(proto, with_choice(data, [[upper(cut), upper(data)], [data, pooled]]))


# --- names and neighbours -----------------------------------------------------------------


def names(first: str, second: str, third: str = "other") -> Built:
    """Return two Convs in a row and a Relu that have these node names."""
    nodes = [
        conv("x w", "h", first),
        conv("h v", "y", second, **LOWER),
        node("Relu", "h", "z", third),
    ]
    data = ints(SHAPE)
    between = upper(data)
    proto = model(nodes, {"x": SHAPE}, [tensor("w", WEIGHT), tensor("v", SECOND)], ["y", "z"])
    return Built(proto, [Run({"x": data}, [lower(between), np.maximum(between, 0)])])


def taken_names() -> Built:
    """Return a model where every name that a rewriter would think of is in use."""
    taken = ["conv/pad", "conv_pad", "x/conv/pad", "conv/pad/pads", "conv/pad/value"]
    chain = ["x", *taken]
    nodes = [node("Neg", chain[i], chain[i + 1], taken[i]) for i in range(len(taken))]
    inner = branches(
        [node("Abs", "x", "x_padded", "conv/pad_1")], [node("Neg", "x", "conv/pad/pads_1", "pad")]
    )
    nodes += [
        conv("x w", "c", "conv"),
        node("If", "choose", "conv/pad/output", "choice", **inner),
        node("Identity", taken[-1], "y", "conv/pad/Identity"),
    ]
    data = ints(SHAPE)
    proto = model(
        nodes, {"x": SHAPE, **CHOICE}, [tensor("w", WEIGHT)], ["c", "y", "conv/pad/output"]
    )
    rest = [upper(data), -data]
    return Built(proto, with_choice(data, [[*rest, np.abs(data)], [*rest, -data]]))


def foreign_nodes() -> Built:
    """Return nodes of other domains beside a Conv; com.example is known to nobody."""
    odd = node("Blur", "x", "u", "blur", domain="com.example", auto_pad="SAME_UPPER", sigma=1.5)
    nested = node("Conv", "x w", "n", "foreign_conv", domain="com.example.conv", **UPPER)
    soft = node("Trilu", "x", "t", "trilu", domain="com.microsoft", upper=1)
    nodes = [odd, soft, conv("x w", "y"), nested]
    data = ints(SHAPE)
    proto = model(
        nodes,
        {"x": SHAPE},
        [tensor("w", WEIGHT)],
        ["y", "u", "t", "n"],
        domains=["com.example", "com.microsoft", "com.example.conv"],
    )
    return Built(proto, [Run({"x": data}, [upper(data), np.triu(data)])])


def one_tensor_many_convs() -> Built:
    nodes = [
        conv("x w", "a", "first"),
        conv("x w", "b", "second"),
        conv("x v", "c", "third", **LOWER),
    ]
    data = ints(SHAPE)
    proto = model(
        nodes, {"x": SHAPE}, [tensor("w", WEIGHT), tensor("v", SECOND)], ["a", "b", "c", "x2"]
    )
    proto.graph.node.append(node("Identity", "x", "x2", "last"))
    return Built(proto, [Run({"x": data}, [upper(data), upper(data), lower(data), data])])


def unused_branch() -> Built:
    """Return a Conv whose result nobody reads, beside one that gives the output."""
    nodes = [conv("x v", "lost", "unused", **LOWER), conv("x w", "y")]
    data = ints(SHAPE)
    proto = model(nodes, {"x": SHAPE}, [tensor("w", WEIGHT), tensor("v", SECOND)])
    return Built(proto, [Run({"x": data}, [upper(data)])])


def described() -> Built:
    """Return a model with metadata, doc strings, value_info and a sparse initializer."""
    from onnx import helper

    nodes = [conv("x w", "h"), node("Add", "h s", "y", "add")]
    nodes[0].doc_string = "a strided convolution"
    dense = tensor("s", [5.0, -7.0], np.float32)
    places = tensor("s_places", [3, 40], np.int64)
    proto = model(nodes, {"x": SHAPE}, [tensor("w", WEIGHT)])
    sparse = helper.make_sparse_tensor(dense, places, [6, 8])
    proto.graph.sparse_initializer.append(sparse)
    proto.graph.value_info.append(value("h", (1, 2, 6, 8), FLOAT))
    helper.set_model_props(proto, {"made by": "the corpus"})
    proto.doc_string = "kept"
    added = np.zeros(48)
    added[[3, 40]] = [5.0, -7.0]
    data = ints(SHAPE)
    return Built(proto, [Run({"x": data}, [upper(data) + added.reshape(6, 8)])])


CASES = [
    Case("if-branches", if_of_outer_tensors, (2, 0)),
    Case("if-nested", nested_if, (4, 0)),
    Case("loop-body", loop, (2, 0)),
    Case("scan-body", scan, (1, 0)),
    Case("function-called-once", lambda: calls(SHAPE), (1, 0)),
    Case("function-called-alike", lambda: calls(SHAPE, (1, 2, 19, 13)), (1, 0)),
    Case("function-called-with-two-sizes", lambda: calls(SHAPE, (1, 2, 17, 14)), (2, 0)),
    Case("function-called-with-three-sizes", lambda: calls(SHAPE, (1, 2, 18, 13), (3, 2, 17, 14))),
    Case("function-of-functions", calls_in_functions),
    Case("function-of-attributes", function_of_attributes),
    Case("function-with-if", function_with_if_called_in_if),
    Case("nodes-unnamed", lambda: names("", "", ""), (2, 0)),
    Case("nodes-of-one-name", lambda: names("conv", "conv"), (2, 0), runtime="reference"),
    Case("node-named-as-a-pad", lambda: names("conv", "conv/pad", "conv/pad/pads"), (2, 0)),
    Case("tensors-named-as-a-pad", taken_names, (1, 0)),
    Case("foreign-domains", foreign_nodes, (1, 0), foreign=True),
    Case("one-tensor-many-convs", one_tensor_many_convs, (3, 0)),
    Case("unused-branch", unused_branch, (2, 0)),
    Case("described", described, (1, 0)),
]
