"""Where a weight can come from, with and without kernel_shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import golden
import numpy as np
from onnx import NodeProto, TensorProto, helper
from onnx_corpus import Array, Built, Case, Run, function, ints, model, node, tensor

SHAPE = (1, 2, 16, 15)
WEIGHT = ints((4, 2, 4, 3), 1)
HOW: dict[str, Any] = {"auto_pad": "SAME_UPPER", "strides": [3, 2]}
CONV = node("Conv", "x w", "y", "conv", **HOW)


def weighted(
    makers: Sequence[NodeProto],
    parts: Sequence[TensorProto],
    weight: Array = WEIGHT,
    **parts_of_model: Any,
) -> Built:
    """Return a Conv behind the nodes that make its weight ``w``."""
    proto = model([*makers, CONV], {"x": SHAPE}, parts, **parts_of_model)
    data = ints(SHAPE)
    return Built(proto, [Run({"x": data}, [golden.conv(data, weight, strides=[3, 2])])])


def as_input(dims: Any, kernel: Sequence[int] | None = None) -> Built:
    """Return a Conv whose weight is fed; its shape may be unknown."""
    more = {} if kernel is None else {"kernel_shape": kernel}
    conv = node("Conv", "x w", "y", "conv", **HOW, **more)
    data = ints(SHAPE)
    proto = model([conv], {"x": SHAPE, "w": dims})
    result = golden.conv(data, WEIGHT, strides=[3, 2])
    return Built(proto, [Run({"x": data, "w": WEIGHT}, [result])])


def sparse() -> Built:
    """Return a Conv whose weight is a sparse initializer."""
    proto = model([CONV], {"x": SHAPE})
    flat = WEIGHT.reshape(-1)
    places = np.flatnonzero(flat)
    parts = tensor("w", flat[places]), tensor("w_places", places, np.int64)
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(*parts, WEIGHT.shape))
    data = ints(SHAPE)
    return Built(proto, [Run({"x": data}, [golden.conv(data, WEIGHT, strides=[3, 2])])])


def made_by_function() -> Built:
    """Return a weight that a local function gives."""
    double = function("Double", "a", "b", [node("Add", "a a", "b", "add")])
    maker = node("Double", "half", "w", "double", domain="local")
    return weighted([maker], [tensor("half", WEIGHT / 2)], domains=["local"], functions=[double])


def dequantized() -> Built:
    stored, zeros = ints((4, 2, 4, 3), 2, np.int8), np.int8([1, -2, 0, 3])
    scales = np.float32([0.5, 1.0, 2.0, 0.25])
    parts = [tensor("q", stored), tensor("s", scales), tensor("z", zeros)]
    shape = (4, 1, 1, 1)
    weight = golden.dequantize(stored, scales.reshape(shape), zeros.reshape(shape).astype(int))
    return weighted([node("DequantizeLinear", "q s z", "w", "dq", axis=0)], parts, weight)


def chain() -> Built:
    makers = [
        node("Identity", "v", "i1", "i1"),
        node("Identity", "i1", "i2", "i2"),
        node("Identity", "i2", "w", "i3"),
    ]
    return weighted(makers, [tensor("v", WEIGHT)])


def reshaped() -> Built:
    """Return a weight that is computed from its own Shape, as exporters write it."""
    makers = [node("Shape", "v", "s", "shape"), node("Reshape", "flat s", "w", "reshape")]
    return weighted(makers, [tensor("v", WEIGHT), tensor("flat", WEIGHT.reshape(-1))])


def case(name: str, build: Callable[[], Built], **more: Any) -> Case:
    return Case(name, build, **{"adds": (1, 0), "amounts": {"conv": ((1, 2), (1, 1))}, **more})


CASES = [
    case("weight-initializer", lambda: weighted([], [tensor("w", WEIGHT)])),
    case("weight-input", lambda: as_input((4, 2, 4, 3))),
    case("weight-input-of-open-filters", lambda: as_input(("F", None, 4, 3))),
    case("weight-input-with-kernel-shape", lambda: as_input(None, [4, 3])),
    case(
        "weight-of-unknown-shape",
        lambda: as_input(None),
        adds=(0, 0),
        amounts={},
        kept={"conv": "kernel"},
    ),
    case(
        "weight-of-unknown-kernel",
        lambda: as_input((4, 2, "K", 3)),
        adds=(0, 0),
        amounts={},
        kept={"conv": "kernel"},
    ),
    case(
        "weight-constant",
        lambda: weighted([node("Constant", "", "w", "make", value=tensor("value", WEIGHT))], []),
    ),
    case(
        "weight-constant-of-floats",
        lambda: weighted(
            [
                node("Constant", "", "flat", "make", value_floats=WEIGHT.reshape(-1).tolist()),
                node("Constant", "", "dims", "dims", value_ints=[4, 2, 4, 3]),
                node("Reshape", "flat dims", "w", "reshape"),
            ],
            [],
        ),
    ),
    case(
        "weight-cast",
        lambda: weighted(
            [node("Cast", "h", "w", "cast", to=TensorProto.FLOAT)],
            [tensor("h", WEIGHT.astype(np.float16))],
        ),
    ),
    case(
        "weight-scaled",
        lambda: weighted(
            [node("Mul", "v s", "w", "scale")],
            [tensor("v", WEIGHT), tensor("s", np.float32([2, 1, -1, 3]).reshape(4, 1, 1, 1))],
            WEIGHT * np.float32([2, 1, -1, 3]).reshape(4, 1, 1, 1),
        ),
    ),
    case(
        "weight-transposed",
        lambda: weighted(
            [node("Transpose", "v", "w", "turn", perm=[3, 2, 0, 1])],
            [tensor("v", WEIGHT.transpose(2, 3, 1, 0))],
        ),
    ),
    case("weight-dequantized", dequantized),
    case("weight-behind-identities", chain),
    case("weight-reshaped-at-run-time", reshaped),
    case("weight-of-a-function", made_by_function),
    case("weight-sparse", sparse),
]
