"""Quantised operators: padding stands for the zero point, and convolutions stay quantised.

Scales are powers of two, so that requantising has no rounding of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import golden
import numpy as np
from onnx import TensorProto
from onnx_corpus import Built, Case, Run, element, ints, model, node, tensor, wide

MICROSOFT = "com.microsoft"


def qlinear(
    sizes: Sequence[Any],
    kernel: Sequence[int],
    *others: Sequence[int],
    dtype: Any = np.uint8,
    channels: int = 2,
    filters: int = 4,
    group: int = 1,
    per_filter: bool = False,
    domain: str = "",
    last: bool = False,
    mode: str = "SAME_UPPER",
    opset: int = 17,
    **window: Any,
) -> Built:
    """Return one QLinearConv with unequal zero points; channels last if so wished."""
    weight = ints((filters, channels // group, *kernel), 1, np.int8)
    bias = ints((filters,), 2, np.int32) * 5
    scales = np.float32([0.5, 0.25, 1.0, 2.0][:filters] if per_filter else [0.5])
    zeros = np.zeros(len(scales), np.int8)
    x, y = ((0.5, 131), (8.0, 120)) if dtype == np.uint8 else ((0.5, -9), (8.0, 7))
    parts = [
        tensor("xs", x[0], np.float32),
        tensor("xz", x[1], dtype),
        tensor("w", weight),
        tensor("ws", scales if per_filter else scales[0]),
        tensor("wz", zeros if per_filter else zeros[0]),
        tensor("ys", y[0], np.float32),
        tensor("yz", y[1], dtype),
        tensor("b", bias),
    ]
    told: dict[str, Any] = {"channels_last": 1} if last else {}
    made = node(
        "QLinearConv",
        "x xs xz w ws wz ys yz b",
        "y",
        "conv",
        auto_pad=mode,
        group=group,
        domain=domain,
        **window,
        **told,
    )
    kind = element(dtype)
    dims = (1, *sizes, channels) if last else (1, channels, *sizes)
    proto = model(
        [made],
        {"x": (dims, kind)},
        parts,
        {"y": (None, kind)},
        opset=opset,
        domains=[domain] if domain else (),
    )
    runs = []
    for number, size in enumerate(others or [sizes]):
        data = wide((1, channels, *size), number, dtype)
        result = golden.qlinear_conv(
            data, weight, x, (scales, zeros), y, bias, group=group, mode=mode, **window
        )
        pair = [np.moveaxis(item, 1, -1) if last else item for item in (data, result)]
        runs.append(Run({"x": np.ascontiguousarray(pair[0])}, [pair[1]]))
    return Built(proto, runs)


def integer(
    sizes: Sequence[Any],
    kernel: Sequence[int],
    *others: Sequence[int],
    zero: int | None = None,
    mode: str = "SAME_UPPER",
    **window: Any,
) -> Built:
    """Return one ConvInteger, with x_zero_point if one is given."""
    weight = wide((3, 2, *kernel), 1)
    names = "x w" if zero is None else "x w xz wz"
    parts = [tensor("w", weight)]
    if zero is not None:
        parts += [tensor("xz", zero, np.uint8), tensor("wz", 99, np.uint8)]
    made = node("ConvInteger", names, "y", "conv", auto_pad=mode, **window)
    proto = model(
        [made], {"x": ((1, 2, *sizes), TensorProto.UINT8)}, parts, {"y": (None, TensorProto.INT32)}
    )
    runs = []
    for number, size in enumerate(others or [sizes]):
        data = wide((1, 2, *size), number)
        shifts = (0, 0) if zero is None else (zero, 99)
        result = golden.conv(
            data.astype(np.int64) - shifts[0],
            weight.astype(np.int64) - shifts[1],
            mode=mode,
            **window,
        )
        runs.append(Run({"x": data}, [result]))
    return Built(proto, runs)


def qdq(op_type: str, **window: Any) -> Built:
    """Return DequantizeLinear, Conv or MaxPool, QuantizeLinear."""
    data, weight = wide((1, 2, 10, 9), 4), ints((4, 2, 3, 4), 1, np.int8)
    parts = [
        tensor("xs", 0.5, np.float32),
        tensor("xz", 131, np.uint8),
        tensor("w", weight),
        tensor("ws", 0.25, np.float32),
        tensor("wz", 1, np.int8),
        tensor("ys", 4.0, np.float32),
        tensor("yz", 120, np.uint8),
    ]
    real = golden.dequantize(data, 0.5, 131)
    inner = [node("DequantizeLinear", "x xs xz", "dx", "dx")]
    if op_type == "Conv":
        inner += [
            node("DequantizeLinear", "w ws wz", "dw", "dw"),
            node("Conv", "dx dw", "c", "conv", **window),
        ]
        mode = {"mode": window["auto_pad"], "strides": window["strides"]}
        result = golden.conv(real, golden.dequantize(weight, 0.25, 1), **mode)
    else:
        inner.append(node(op_type, "dx", "c", "pool", kernel_shape=[3, 4], **window))
        mode = {"mode": window["auto_pad"], "strides": window["strides"]}
        result, _ = golden.max_pool(real, [3, 4], **mode)
        parts = [item for item in parts if item.name not in {"w", "ws", "wz"}]
    inner.append(node("QuantizeLinear", "c ys yz", "y", "q"))
    proto = model(
        inner, {"x": (data.shape, TensorProto.UINT8)}, parts, {"y": (None, TensorProto.UINT8)}
    )
    return Built(proto, [Run({"x": data}, [golden.quantize(result, 4.0, 120, np.uint8)])])


def average(sizes: Sequence[Any], *, last: bool, dtype: Any = np.uint8, **how: Any) -> Built:
    """Return com.microsoft QLinearAveragePool."""
    zeros = (131, 100) if dtype == np.uint8 else (-9, 20)
    parts = [
        tensor("xs", 0.5, np.float32),
        tensor("xz", zeros[0], dtype),
        tensor("ys", 1.0, np.float32),
        tensor("yz", zeros[1], dtype),
    ]
    told: dict[str, Any] = {"channels_last": 1} if last else {}
    made = node(
        "QLinearAveragePool",
        "x xs xz ys yz",
        "y",
        "pool",
        kernel_shape=[3, 4],
        domain=MICROSOFT,
        auto_pad="SAME_UPPER",
        **told,
        **how,
    )
    kind = element(dtype)
    dims = (1, *sizes, 3) if last else (1, 3, *sizes)
    proto = model([made], {"x": (dims, kind)}, parts, {"y": (None, kind)}, domains=[MICROSOFT])
    data = wide((1, 3, *sizes), 8, dtype)
    real = golden.average_pool(golden.dequantize(data, 0.5, zeros[0]), [3, 4], **how)
    result = golden.quantize(real, 1.0, zeros[1], dtype)
    pair = [np.moveaxis(item, 1, -1) if last else item for item in (data, result)]
    return Built(proto, [Run({"x": np.ascontiguousarray(pair[0])}, [pair[1]])])


def dynamic_quantization(sizes: Sequence[Any], *others: Sequence[int]) -> Built:
    """Return what quantizers write: the zero point of ConvInteger is computed."""
    weight = wide((3, 2, 4, 3), 1)
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z", "quantize"),
        node("ConvInteger", "q w z wz", "y", "conv", auto_pad="SAME_UPPER", **WINDOW),
    ]
    proto = model(
        nodes,
        {"x": (1, 2, *sizes)},
        [tensor("w", weight), tensor("wz", 99, np.uint8)],
        {"y": (None, TensorProto.INT32)},
    )
    runs = []
    for number, size in enumerate(others or [sizes]):
        data = ints((1, 2, *size), number)  # type: ignore[misc]
        data.flat[:2] = -85, 170  # the scale is 1 and the zero point 85
        real = weight.astype(np.int64) - 99
        result = golden.conv(data.astype(np.int64), real, strides=[3, 2])
        runs.append(Run({"x": data}, [result]))
    return Built(proto, runs)


def zero_point_of_constant_node() -> Built:
    """Return a QLinearConv whose scales and zero points are Constant nodes."""
    weight, data = ints((3, 2, 4, 3), 1, np.int8), wide((1, 2, 16, 15), 2)
    given: dict[str, Any] = {
        "xs": np.float32(0.5),
        "xz": np.uint8(131),
        "ws": np.float32(0.5),
        "wz": np.int8(0),
        "ys": np.float32(8.0),
        "yz": np.uint8(120),
    }
    nodes = [
        node("Constant", "", name, name, value=tensor("", array)) for name, array in given.items()
    ]
    nodes.append(
        node("QLinearConv", "x xs xz w ws wz ys yz", "y", "conv", auto_pad="SAME_UPPER", **WINDOW)
    )
    kind = TensorProto.UINT8
    proto = model(nodes, {"x": (data.shape, kind)}, [tensor("w", weight)], {"y": (None, kind)})
    result = golden.qlinear_conv(
        data, weight, (0.5, 131), (np.float32([0.5]), np.int8([0])), (8.0, 120), strides=[3, 2]
    )
    return Built(proto, [Run({"x": data}, [result])])


WINDOW: dict[str, Any] = {"strides": [3, 2]}
CASES = [
    Case(
        "qlinear-conv-uint8",
        lambda: qlinear((16, 14), (4, 3), **WINDOW),
        (1, 0),
        amounts={"conv": ((1, 2), (0, 1))},
    ),
    Case(
        "qlinear-conv-int8-per-filter-lower",
        lambda: qlinear(
            (10, 14), (2, 3), dtype=np.int8, per_filter=True, mode="SAME_LOWER", **WINDOW
        ),
        (1, 0),
    ),
    Case(
        "qlinear-conv-depthwise",
        lambda: qlinear((9, 8), (4, 3), channels=4, group=4, strides=[1, 2]),
        (1, 0),
    ),
    Case("qlinear-conv-dilated", lambda: qlinear((9, 11), (3, 2), dilations=[2, 5]), (1, 0)),
    Case("conv-integer", lambda: integer((10, 9), (4, 3), strides=[3, 1]), (1, 0)),
    Case("conv-integer-zero-point", lambda: integer((10, 9), (4, 3), zero=128, **WINDOW), (1, 0)),
    Case(
        "conv-integer-dilated-lower",
        lambda: integer((10, 9), (4, 3), zero=77, dilations=[1, 3], mode="SAME_LOWER"),
        (1, 0),
    ),
    Case("qdq-conv", lambda: qdq("Conv", auto_pad="SAME_UPPER", **WINDOW), (1, 0)),
    Case("qdq-conv-lower", lambda: qdq("Conv", auto_pad="SAME_LOWER", strides=[2, 1]), (1, 0)),
    Case("qdq-max-pool", lambda: qdq("MaxPool", auto_pad="SAME_UPPER", strides=[2, 1]), (1, 0)),
    Case("microsoft-qlinear-average", lambda: average((9, 7), last=False, **WINDOW)),
    Case(
        "microsoft-qlinear-average-channels-last",
        lambda: average((9, 7), last=True, dtype=np.int8, **WINDOW),
    ),
    Case(
        "microsoft-qlinear-average-counting-pads",
        lambda: average((9, 7), last=False, count_include_pad=1, **WINDOW),
    ),
    Case(
        "microsoft-qlinear-conv",
        lambda: qlinear((16, 14), (4, 3), domain=MICROSOFT, **WINDOW),
        (1, 0),
    ),
    Case(
        "microsoft-qlinear-conv-channels-last",
        lambda: qlinear((16, 13), (4, 3), domain=MICROSOFT, last=True, mode="SAME_LOWER", **WINDOW),
        (1, 0),
        amounts={"conv": ((2, 1), (1, 1))},
    ),
    Case("conv-integer-dynamic", lambda: dynamic_quantization((16, 15)), (1, 0)),
    Case(
        "conv-integer-dynamic-open",
        lambda: dynamic_quantization(("H", "W"), (16, 15), (17, 14)),
        (1, 1),
    ),
    Case("qlinear-conv-constant-nodes", zero_point_of_constant_node, (1, 0)),
]
