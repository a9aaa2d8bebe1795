"""Models written in onnx's text form: attributes handed down, and onnxruntime's own operators
inside of bodies and functions."""

from __future__ import annotations

import golden
import numpy as np
from onnx import ModelProto, SparseTensorProto, numpy_helper, parser
from onnx_corpus import Array, Built, Case, Run, ints

SHAPE = (1, 2, 19, 18)
WIDE, TALL = ints((3, 2, 3, 4), 1), ints((2, 3, 5, 2), 2)
LOCAL = '<domain: "local", opset_import: ["" : 17, "local" : 1, "com.microsoft" : 1]>'


def read(text: str, opset: int = 17, **weights: Array) -> ModelProto:
    """Return a model from its graph and functions."""
    imports = f'"" : {opset}, "local" : 1, "com.microsoft" : 1'
    model = parser.parse_model(f"<ir_version: 8, opset_import: [{imports}]>\n{text}")
    model.graph.initializer.extend(
        numpy_helper.from_array(values, name) for name, values in weights.items()
    )
    return model


def function_of_two_open_kernels() -> Built:
    """Return a function whose amounts are computed, called with unequal weights."""
    text = f"""
    g (float[N, 2, H, W] x, float[N, 3, H, W] u) => (float[] y, float[] z) {{
      y = local.Padded (x, w)
      z = local.Padded (u, v)
    }}
    {LOCAL}
    Padded (a, k) => (c) {{ c = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (a, k) }}
    """
    runs = []
    for height, width in ((9, 8), (12, 13), (4, 5)):
        feeds = {"x": ints((1, 2, height, width)), "u": ints((2, 3, width, height), 4)}
        first, second = (
            golden.conv(data, kernel, strides=[2, 2])
            for data, kernel in zip(feeds.values(), (WIDE, TALL), strict=True)
        )
        runs.append(Run(feeds, [first, second]))
    return Built(read(text, w=WIDE, v=TALL), runs)


def branches_of_attributes() -> Built:
    """Return a function that hands its attributes down to the bodies of an If."""
    text = f"""
    g (float[1, 2, 19, 18] x, bool choose) => (float[] y, float[] z) {{
      y = local.Any <how = "SAME_UPPER", steps = [2, 3]> (x, w, choose)
      z = local.Any <how = "SAME_LOWER", steps = [3, 2]> (x, w, choose)
    }}
    {LOCAL}
    Any <how, steps> (a, k, which) => (c) {{
      c = If (which) <
        then_branch = yes () => (t) {{
          t = Conv <auto_pad : string = @how, strides : ints = @steps> (a, k)
        }},
        else_branch = no () => (e) {{
          e = MaxPool <auto_pad : string = @how, strides : ints = @steps, kernel_shape = [4, 3]> (a)
        }}
      >
    }}
    """
    data = ints(SHAPE)
    ways = (("SAME_UPPER", [2, 3]), ("SAME_LOWER", [3, 2]))
    convolved = [golden.conv(data, WIDE, strides=steps, mode=how) for how, steps in ways]
    pooled = [golden.max_pool(data, [4, 3], strides=steps, mode=how)[0] for how, steps in ways]
    runs = [
        Run({"x": data, "choose": np.array(choice)}, outputs)
        for choice, outputs in ((True, convolved), (False, pooled))
    ]
    return Built(read(text, w=WIDE), runs)


def fused_in_branches() -> Built:
    """Return an If whose branches hold what hides a size from onnx's shape inference."""
    text = """
    g (float[1, 2, 19, 18] x, bool choose) => (float[] y) {
      y = If (choose) <
        then_branch = yes () => (float[] t) {
          f = com.microsoft.FusedConv <strides = [2, 3], activation = "Relu"> (x, w)
          t = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (f, v)
        },
        else_branch = no () => (float[] e) {
          p = MaxPool <auto_pad = "SAME_UPPER", pads = [1, 1, 1, 1], kernel_shape = [2, 3]> (x)
          n = Conv (p, w)
          e = Conv <auto_pad = "SAME_UPPER", strides = [3, 2]> (n, v)
        }
      >
    }
    """
    data = ints(SHAPE)
    fused = np.maximum(golden.conv(data, WIDE, strides=[2, 3], mode="VALID"), 0)
    pooled, _ = golden.max_pool(data, [2, 3])
    plain = golden.conv(pooled, WIDE, mode="VALID")
    outputs = (
        golden.conv(fused, TALL, strides=[2, 2], mode="SAME_LOWER"),
        golden.conv(plain, TALL, strides=[3, 2]),
    )
    runs = [
        Run({"x": data, "choose": np.array(choice)}, [output])
        for choice, output in zip((True, False), outputs, strict=True)
    ]
    return Built(read(text, w=WIDE, v=TALL), runs)


def fused_in_functions() -> Built:
    """Return a function of onnxruntime's operators, called by the graph and by a function."""
    text = f"""
    g (float[1, 2, 19, 18] x) => (float[] y) {{
      a = local.Outer (x, w)
      y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (a, v)
    }}
    {LOCAL}
    Fused (a, k) => (c) {{
      c = com.microsoft.FusedConv <strides = [2, 3], activation = "Relu"> (a, k)
    }}
    {LOCAL}
    Outer (a, k) => (c) {{ c = local.Fused (a, k) }}
    """
    data = ints(SHAPE)
    fused = np.maximum(golden.conv(data, WIDE, strides=[2, 3], mode="VALID"), 0)
    runs = [Run({"x": data}, [golden.conv(fused, TALL, strides=[2, 2])])]
    return Built(read(text, w=WIDE, v=TALL), runs)


def behind_a_sparse_weight() -> Built:
    """Return two Convs in a row, of which the first has a sparse weight."""
    text = """
    g (float[1, 2, 19, 18] x) => (float[] y) {
      a = Conv <strides = [2, 3]> (x, w)
      y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (a, v)
    }
    """
    places = np.flatnonzero(WIDE)
    sparse = SparseTensorProto(dims=WIDE.shape)
    sparse.values.CopyFrom(numpy_helper.from_array(WIDE.ravel()[places], "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(places))
    proto = read(text, v=TALL)
    proto.graph.sparse_initializer.append(sparse)
    data = ints(SHAPE)
    first = golden.conv(data, WIDE, strides=[2, 3], mode="VALID")
    return Built(proto, [Run({"x": data}, [golden.conv(first, TALL, strides=[2, 2])])])


def wrong_declaration() -> Built:
    """Return a Conv whose declared output size is not its size; onnxruntime only warns."""
    text = """
    g (float[1, 2, 19, 18] x) => (float[1, 3, 7, 5] y) {
      y = Conv <auto_pad = "SAME_UPPER", strides = [2, 3]> (x, w)
    }
    """
    data = ints(SHAPE)
    return Built(read(text, w=WIDE), [Run({"x": data}, [golden.conv(data, WIDE, strides=[2, 3])])])


def norm_of_opset_1() -> Built:
    """Return an LpPool whose p is a float, for which onnxruntime has no kernel."""
    text = """
    g (float[1, 2, 19, 18] x) => (float[1, 2, 10, 6] y) {
      y = LpPool <auto_pad = "SAME_LOWER", kernel_shape = [2, 5], strides = [2, 3], p = 3.0> (x)
    }
    """
    return Built(read(text, opset=1))


PROVEN = {"verify": "site"}
CASES = [
    Case("declared-size-is-wrong", wrong_declaration, (1, 0), options=PROVEN),
    Case(
        "lp-opset-1",
        norm_of_opset_1,
        (0, 0),
        amounts={"LpPool_0": ((1, 0), (1, 1))},
        runtime="none",
        options=PROVEN,
    ),
    Case("function-of-two-open-kernels", function_of_two_open_kernels, (2, 2)),
    Case("function-body-of-attributes", branches_of_attributes, runtime="reference"),
    Case(
        "microsoft-in-branches",
        fused_in_branches,
        (3, 0),
        amounts={
            "If_0/then_branch/Conv_0": ((2, 2), (1, 0)),
            "If_0/else_branch/Conv_1": ((1, 2), (0, 1)),
        },
    ),
    Case(
        "microsoft-in-functions", fused_in_functions, (1, 0), amounts={"Conv_0": ((2, 2), (0, 1))}
    ),
    Case(
        "behind-a-sparse-weight",
        behind_a_sparse_weight,
        (1, 0),
        amounts={"Conv_1": ((2, 2), (0, 1))},
    ),
]
