"""Models that a rewriter gets wrong who trusts the first shape, name or call that it sees."""

from __future__ import annotations

from typing import Any

import golden
import numpy as np
from cases_places import (
    CHOICE,
    LOWER,
    PADDED,
    SECOND,
    SHAPE,
    UPPER,
    WEIGHT,
    branches,
    call,
    calls,
    conv,
    lower,
    upper,
    with_choice,
)
from onnx import TensorProto, helper
from onnx_corpus import (
    STRING,
    Built,
    Case,
    Run,
    body,
    conv_built,
    distinct,
    function,
    ints,
    model,
    node,
    referring,
    tensor,
    value,
)

PARTS = [tensor("w", WEIGHT), tensor("v", SECOND)]


# --- shapes that change -------------------------------------------------------------------


def shrinking_state(declared: Any) -> Built:
    """Return a Loop whose state gets smaller: the first shape is not the shape."""
    nodes = [node("Identity", "go", "on", "go_on"), conv("state w", "next", "conv")]
    inputs = [
        value("i", (), TensorProto.INT64),
        value("go", (), TensorProto.BOOL),
        value("state", declared),
    ]
    inner = body(
        "step", nodes, [value("on", (), TensorProto.BOOL), value("next", declared)], inputs
    )
    parts = [PARTS[0], tensor("count", 3, np.int64), tensor("go_ahead", True)]
    made = node("Loop", "count go_ahead x", "y", "loop", body=inner)
    data = ints((1, 2, 44, 31))
    proto = model([made], {"x": data.shape}, parts)
    return Built(proto, [Run({"x": data}, [upper(upper(upper(data)))])])


def branches_of_two_sizes() -> Built:
    """Return a Conv behind an If whose branches give unequal sizes."""
    inner = branches(
        [node("Identity", "x", "a", "whole")], [node("Slice", "x from upto", "b", "part")]
    )
    nodes = [node("If", "choose", "h", "choice", **inner), conv("h w", "y", "conv")]
    parts = [
        PARTS[0],
        tensor("from", [0, 0, 0, 0], np.int64),
        tensor("upto", [1, 2, 11, 8], np.int64),
    ]
    data = ints(SHAPE)
    proto = model(nodes, {"x": SHAPE, **CHOICE}, parts)
    return Built(proto, with_choice(data, [[upper(data)], [upper(data[:, :, :11, :8])]]))


def dims_of_minus_one() -> Built:
    """Return a model whose exporter wrote -1 for what it did not know."""
    declared = (-1, 2, -1, -1)
    sizes = ((16, 15), (17, 14))
    return conv_built((16, 15), (4, 3), *sizes, declared=declared, strides=[3, 2])


# --- calls --------------------------------------------------------------------------------


def function_of_two_kernels() -> Built:
    """Return a function called with one size and two weights."""
    nodes = [call("Padded", "x w", "y0", "one"), call("Padded", "x k", "y1", "two")]
    kernel = ints((3, 2, 2, 5), 8)
    data = ints(SHAPE)
    proto = model(
        nodes,
        {"x": SHAPE},
        [PARTS[0], tensor("k", kernel)],
        ["y0", "y1"],
        domains=["local"],
        functions=[PADDED],
    )
    return Built(proto, [Run({"x": data}, [upper(data), upper(data, kernel)])])


def function_with_own_weight() -> Built:
    """Return a function that holds its weight, called with two sizes in a chain."""
    nodes = [
        node("Constant", "", "k", "weights", value=tensor("value", WEIGHT)),
        conv("a k", "c", "inner"),
    ]
    made = function("Own", "a", "c", nodes)
    data = ints((1, 2, 44, 31))
    calls_ = [call("Own", "x", "h", "first"), call("Own", "h", "y", "second")]
    proto = model(calls_, {"x": data.shape}, domains=["local"], functions=[made])
    return Built(proto, [Run({"x": data}, [upper(upper(data))])])


def function_of_default_attribute() -> Built:
    """Return a function whose auto_pad has a default that one of two calls replaces."""
    inner = referring(node("Conv", "a k", "c", "inner", strides=[3, 2]), "auto_pad", "how", STRING)
    made = function("Default", "a k", "c", [inner])
    made.attribute_proto.append(helper.make_attribute("how", "SAME_UPPER"))
    nodes = [
        call("Default", "x w", "y0", "one"),
        call("Default", "x w", "y1", "two", how="SAME_LOWER"),
    ]
    data = ints(SHAPE)
    other = golden.conv(data, WEIGHT, strides=[3, 2], mode="SAME_LOWER")
    proto = model(
        nodes, {"x": SHAPE}, PARTS[:1], ["y0", "y1"], ir=9, domains=["local"], functions=[made]
    )
    return Built(proto, [Run({"x": data}, [upper(data), other])])


def copy_name_taken() -> Built:
    """Return a function called with two sizes, beside one that has the name of a copy."""
    built = calls(SHAPE, (1, 2, 17, 14))
    other = function("Padded_2", "a k", "c", [node("Neg", "a", "c", "negative")])
    built.model.functions.append(other)
    built.model.graph.node.append(call("Padded_2", "x0 w", "z", "negative"))
    built.model.graph.output.append(value("z", None))
    (run,) = built.runs
    return Built(built.model, [Run(run.feeds, [*run.outputs, -run.feeds["x0"]])])


def functions_of_one_name() -> Built:
    """Return functions of one name in two domains, with unequal windows."""
    other = function("Padded", "a k", "c", [conv("a k", "c", "inner", **LOWER)], domain="second")
    nodes = [
        call("Padded", "x w", "y0", "one"),
        node("Padded", "x v", "y1", "two", domain="second"),
    ]
    data = ints(SHAPE)
    proto = model(
        nodes,
        {"x": SHAPE},
        PARTS,
        ["y0", "y1"],
        domains=["local", "second"],
        functions=[PADDED, other],
    )
    return Built(proto, [Run({"x": data}, [upper(data), lower(data)])])


def overloads() -> Built:
    """Return two overloads of a function (ir_version 10)."""
    other = function("Padded", "a k", "c", [conv("a k", "c", "inner", **LOWER)])
    other.overload = "lower"
    second = call("Padded", "x v", "y1", "two")
    second.overload = "lower"
    data = ints(SHAPE)
    proto = model(
        [call("Padded", "x w", "y0", "one"), second],
        {"x": SHAPE},
        PARTS,
        ["y0", "y1"],
        ir=10,
        domains=["local"],
        functions=[PADDED, other],
    )
    return Built(proto, [Run({"x": data}, [upper(data), lower(data)])])


def function_in_loop() -> Built:
    """Return a Loop that calls a function on its state, which a second call gets too."""
    made = function("Keep", "a k", "c", [conv("a k", "c", "inner", auto_pad="SAME_LOWER")])
    nodes = [
        node("Identity", "go", "on", "go_on"),
        call("Keep", "state w", "next", "deep"),
        call("Padded", "state w", "seen", "deep_too"),
    ]
    inputs = [
        value("i", (), TensorProto.INT64),
        value("go", (), TensorProto.BOOL),
        value("state", SHAPE),
    ]
    outputs = [value("on", (), TensorProto.BOOL), value("next", SHAPE), value("seen", None)]
    inner = body("step", nodes, outputs, inputs)
    parts = [PARTS[0], tensor("count", 2, np.int64), tensor("go_ahead", True)]
    loop = node("Loop", "count go_ahead x", "y z", "loop", body=inner)
    data = ints(SHAPE)
    proto = model(
        [loop, call("Padded", "x w", "u", "outside")],
        {"x": SHAPE},
        parts,
        ["y", "z", "u"],
        domains=["local"],
        functions=[PADDED, made],
    )
    once = golden.conv(data, WEIGHT, mode="SAME_LOWER")
    twice = golden.conv(once, WEIGHT, mode="SAME_LOWER")
    return Built(
        proto, [Run({"x": data}, [twice, np.stack([upper(data), upper(once)]), upper(data)])]
    )


# --- names --------------------------------------------------------------------------------


def branch_names_taken_outside() -> Built:
    """Return an If whose Convs would get names that the outer graph has."""
    taken = ["conv/pad", "conv/pad/pads", "x/conv/pad", "choice/conv/pad", "conv/pad/value"]
    chain = ["x", *taken]
    nodes = [node("Neg", chain[i], chain[i + 1], f"n{i}") for i in range(len(taken))]
    inner = branches(
        [conv("x w", "a"), node("Add", "a conv/pad/pads", "a2", "add")],
        [conv("conv/pad/value w", "b")],
    )
    nodes[-1].name = "conv/pad"
    nodes.append(node("If", "choose", "y", "choice", **inner))
    # one column and row only, so that Add broadcasts
    data = ints((1, 2, 1, 1))
    proto = model(nodes, {"x": data.shape, **CHOICE}, PARTS[:1])
    return Built(proto, with_choice(data, [[upper(data) + data], [upper(-data)]]))


def old_if() -> Built:
    """Return an If of ir_version 3, where initializers have to be inputs, which bodies lack."""
    inner = branches([conv("x w", "a")], [conv("x v", "b", **LOWER)])
    made = node("If", "choose", "y", "choice", **inner)
    data = ints(SHAPE)
    proto = model([made], {"x": SHAPE, **CHOICE}, PARTS, opset=11, ir=3)
    return Built(proto, with_choice(data, [[upper(data)], [lower(data)]]))


def spelled_out_domain(imported: str) -> Built:
    """Return nodes of domain ``ai.onnx``, which is the default domain by its name."""
    nodes = [
        node("Conv", "x w", "h", "conv", domain="ai.onnx", **UPPER),
        node(
            "MaxPool",
            "h",
            "y",
            "pool",
            domain="ai.onnx",
            kernel_shape=[2, 3],
            strides=[2, 2],
            auto_pad="SAME_LOWER",
        ),
    ]
    data = ints(SHAPE)
    proto = model(nodes, {"x": SHAPE}, PARTS[:1])
    proto.opset_import[0].domain = imported
    result, _ = golden.max_pool(upper(data), [2, 3], strides=[2, 2], mode="SAME_LOWER")
    return Built(proto, [Run({"x": data}, [result])])


# --- operands -----------------------------------------------------------------------------


def constant_operands() -> Built:
    """Return a Conv of two constants, and one whose weight is computed from the input."""
    data = ints((2, 2, 4, 3))
    nodes = [
        conv("k w", "c", "constant"),
        conv("big x", "y", "turned"),
        node("Identity", "c", "z", "same"),
    ]
    big, small = ints(SHAPE, 4), ints((1, 2, 7, 5), 6)
    parts = [PARTS[0], tensor("k", small), tensor("big", big)]
    proto = model(nodes, {"x": data.shape}, parts, ["y", "z"])
    return Built(proto, [Run({"x": data}, [upper(big, data), upper(small)])])


def pad_in_front() -> Built:
    """Return a Conv with auto_pad behind a Pad: the amounts belong to what the Pad gives."""
    nodes = [node("Pad", "x amounts", "p", "pad", mode="reflect"), conv("p w", "y")]
    data = ints(SHAPE)
    parts = [PARTS[0], tensor("amounts", [0, 0, 1, 0, 0, 0, 2, 2], np.int64)]
    more = np.pad(data, ((0, 0), (0, 0), (1, 2), (0, 2)), mode="reflect")
    return Built(model(nodes, {"x": SHAPE}, parts), [Run({"x": data}, [upper(more)])])


def left_out_bias() -> Built:
    """Return a Conv whose third input is the empty name."""
    data = ints(SHAPE)
    proto = model([conv("x w -", "y")], {"x": SHAPE}, PARTS[:1])
    return Built(proto, [Run({"x": data}, [upper(data)])])


def pooled_twice() -> Built:
    """Return pools of both divisors and a ConvTranspose in a chain of unequal sizes."""
    data, weight = distinct((1, 2, 13, 10)), ints((2, 3, 4, 3), 3)
    nodes = [
        node(
            "MaxPool", "x", "a i", "max", kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER"
        ),
        node("ConvTranspose", "a w", "b", "up", strides=[2, 3], auto_pad="SAME_LOWER"),
        node(
            "MaxPool", "b", "y", "last", kernel_shape=[3, 2], strides=[3, 1], auto_pad="SAME_LOWER"
        ),
    ]
    proto = model(
        nodes, {"x": data.shape}, [tensor("w", weight)], {"y": None, "i": (None, TensorProto.INT64)}
    )
    first, places = golden.max_pool(data, [2, 3], strides=[2, 2])
    grown = golden.conv_transpose(first, weight, strides=[2, 3], mode="SAME_LOWER")
    last, _ = golden.max_pool(grown, [3, 2], strides=[3, 1], mode="SAME_LOWER")
    return Built(proto, [Run({"x": data}, [last, places])])


CASES = [
    Case("loop-of-shrinking-state", lambda: shrinking_state((1, 2, "H", "W")), (1, 1)),
    Case("loop-of-undeclared-state", lambda: shrinking_state(None), (1, 1)),
    Case("if-of-two-sizes", branches_of_two_sizes, (1, 1)),
    Case("dims-of-minus-one", dims_of_minus_one, (1, 1)),
    Case("function-of-two-kernels", function_of_two_kernels, (2, 0)),
    Case("function-with-own-weight", function_with_own_weight),
    Case("function-of-default-attribute", function_of_default_attribute),
    Case("function-copy-name-taken", copy_name_taken, (2, 0)),
    Case("functions-of-one-name", functions_of_one_name, (2, 0)),
    Case("function-overloads", overloads, (2, 0)),
    Case("function-in-loop", function_in_loop),
    Case("branch-names-taken-outside", branch_names_taken_outside, (2, 0)),
    Case("if-of-ir-3", old_if, (2, 0)),
    Case("domain-spelled-out", lambda: spelled_out_domain(""), (2, 0)),
    Case(
        "domain-spelled-out-in-imports",
        lambda: spelled_out_domain("ai.onnx"),
        (2, 0),
    ),
    Case("operands-constant-and-computed", constant_operands, (2, 0)),
    Case("pad-in-front-of-same", pad_in_front, (1, 0)),
    Case("bias-left-out", left_out_bias, (1, 0)),
    Case("chain-of-unequal-sizes", pooled_twice, (1, 0)),
]
