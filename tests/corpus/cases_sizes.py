"""Open sizes: symbolic, unknown, of unknown rank, at every stride, each run at several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import golden
import numpy as np
from cases_places import SECOND, WEIGHT, branches, call, function, lower, upper
from cases_pools import average, channels_last_max, maximum
from cases_quantized import integer, qlinear
from onnx import ModelProto, TensorProto
from onnx_corpus import LATEST, Array, Built, Case, Run, conv_built, ints, model, node, tensor

HW = ("H", "W")
SIZES = ((16, 15), (17, 14), (1, 2), (3, 4), (18, 13))
"""Every remainder by 2 and 3 on both axes, and sizes below the kernel."""
POOLED = ((16, 15), (17, 14), (7, 4), (18, 13))
UNKNOWN = "Pad of opset"
NO_SLICE = "no Slice of opset"
TOO_WIDE = "not smaller than the kernel"


def conv(
    name: str,
    sizes: Any,
    kernel: Sequence[int],
    *others: Sequence[int],
    adds: tuple[int, int] | None = (1, 1),
    kept: str = "",
    options: Any = None,
    **how: Any,
) -> Case:
    """Return a case of one Conv of open size."""
    reasons = {"conv": kept} if kept else {}
    return Case(
        name,
        lambda: conv_built(sizes, kernel, *others, **how),
        adds,
        reasons,
        options=options or {},
    )


STRIDE_1 = [
    conv("open-stride-1", HW, (4, 3), *SIZES, adds=(1, 0)),
    conv(
        "open-stride-1-lower-dilated",
        HW,
        (4, 3),
        *SIZES,
        dilations=[2, 3],
        mode="SAME_LOWER",
        adds=(1, 0),
    ),
    conv("unknown-dims-stride-1", (None, None), (2, 5), *SIZES, batch=None, adds=(1, 0)),
    conv("unknown-rank-stride-1", HW, (2, 5), *SIZES, declared=None, batch=None, adds=(1, 0)),
    conv("open-stride-1-opset-9", HW, (4, 3), *SIZES, opset=9, ir=4, adds=(1, 0)),
    conv(
        "open-batch", (16, 15), (4, 3), (16, 15), (16, 15), batch="N", strides=[3, 2], adds=(1, 0)
    ),
    conv(
        "open-width-at-stride-1", (17, "W"), (4, 3), (17, 5), (17, 8), strides=[3, 1], adds=(1, 0)
    ),
]
STRIDED = [
    conv("open-strided", HW, (4, 3), *SIZES, strides=[3, 2]),
    conv("open-strided-lower", HW, (4, 3), *SIZES, strides=[3, 2], mode="SAME_LOWER"),
    conv("open-strided-dilated", HW, (3, 2), *SIZES, strides=[2, 3], dilations=[3, 4]),
    conv(
        "open-strided-depthwise", HW, (4, 3), *SIZES, strides=[2, 3], channels=3, filters=6, group=3
    ),
    conv("open-width-strided", (17, "W"), (4, 3), (17, 5), (17, 8), strides=[1, 2]),
    conv("open-1d", ("L",), (4,), (16,), (17,), (18,), (2,), strides=[3]),
    conv("open-3d", ("D", 6, "W"), (2, 3, 3), (5, 6, 7), (4, 6, 8), strides=[3, 2, 2]),
    conv("open-kernel-below-stride", HW, (1, 3), (8, 9), (9, 10), (5, 6), (4, 1), strides=[4, 5]),
    conv(
        "open-kernel-below-stride-lower",
        HW,
        (2, 1),
        (8, 9),
        (9, 10),
        (5, 6),
        (4, 1),
        strides=[5, 4],
        mode="SAME_LOWER",
        opset=11,
        ir=6,
    ),
    conv("open-one-axis-below-stride", HW, (5, 1), *SIZES, strides=[2, 3], opset=12, ir=7),
    conv("unknown-dims-strided", (None, None), (4, 3), *SIZES, strides=[3, 2], batch=None),
    conv("unknown-rank-strided", HW, (4, 3), *SIZES, strides=[3, 2], declared=None),
    *(
        conv(
            f"open-strided-opset-{opset}",
            HW,
            (4, 3),
            *SIZES[:3],
            strides=[3, 2],
            opset=opset,
            ir=ir,
            mode=mode,
        )
        for opset, ir, mode in (
            (11, 6, "SAME_UPPER"),
            (13, 3, "SAME_LOWER"),
            (15, 8, "SAME_UPPER"),
            (18, 8, "SAME_LOWER"),
            (21, 10, "SAME_UPPER"),
            (LATEST, 10, "SAME_LOWER"),
        )
    ),
    conv("open-float16", HW, (4, 3), *SIZES, strides=[3, 2], dtype=np.float16),
    conv(
        "open-below-opset-11",
        HW,
        (4, 3),
        *SIZES,
        strides=[3, 2],
        opset=10,
        ir=5,
        adds=(0, 0),
        kept=UNKNOWN,
    ),
    conv(
        "open-converted-to-opset-13",
        HW,
        (4, 3),
        *SIZES,
        strides=[3, 2],
        opset=9,
        ir=4,
        options={"opset": 13},
    ),
    conv(
        "open-size-given",
        HW,
        (4, 3),
        (16, 15),
        strides=[3, 2],
        adds=(1, 0),
        options={"input_shapes": {"x": (1, 2, 16, 15)}},
    ),
    conv(
        "open-size-given-below-opset-11",
        HW,
        (4, 3),
        (16, 15),
        strides=[3, 2],
        opset=9,
        ir=4,
        adds=(1, 0),
        options={"input_shapes": (1, 2, 16, 15)},
    ),
]
POOLS = [
    maximum("open-max", HW, (3, 4), *POOLED, strides=[2, 3], adds=(1, 1)),
    maximum("open-max-lower", HW, (3, 4), *POOLED, strides=[2, 3], mode="SAME_LOWER", adds=(1, 1)),
    maximum("open-max-stride-1", HW, (3, 4), *POOLED),
    maximum("open-max-2x2", HW, (2, 2), *POOLED, strides=[2, 2], adds=None),
    maximum("open-max-uint8", HW, (3, 4), *POOLED, strides=[2, 3], dtype=np.uint8, adds=(1, 1)),
    maximum("open-max-dilated", HW, (2, 3), *POOLED, strides=[2, 3], dilations=[3, 2], adds=(1, 1)),
    maximum(
        "open-max-indices-2x2",
        HW,
        (2, 2),
        *POOLED,
        strides=[2, 2],
        outputs="y indices",
        adds=(0, 0),
    ),
    average("open-average-stride-1", HW, (3, 4), *POOLED),
    average("open-average-2x2", HW, (2, 2), *POOLED, strides=[2, 2]),
    average("open-average-3x2", HW, (3, 2), *POOLED, strides=[1, 2]),
    average(
        "open-average-counting-pads",
        HW,
        (3, 4),
        *POOLED,
        strides=[2, 3],
        count_include_pad=1,
        adds=(1, 1),
    ),
    average("open-lp", HW, (3, 4), *POOLED, strides=[2, 3], op_type="LpPool", adds=(1, 1)),
    Case("open-nhwc-max", lambda: channels_last_max(HW, np.uint8, *POOLED, strides=[2, 3]), (1, 1)),
]
LASTING = [
    conv("lasting-2x4", HW, (2, 4), *SIZES, strides=[2, 2], adds=(1, 0)),
    conv("lasting-odd-lower", HW, (3, 5), *SIZES, strides=[2, 2], mode="SAME_LOWER", adds=(1, 0)),
    conv("lasting-below-stride", HW, (2, 1), *SIZES, strides=[5, 3], adds=(1, 0)),
    conv("lasting-opset-8", HW, (2, 4), *SIZES, strides=[3, 2], adds=(1, 0), opset=8, ir=3),
    conv("lasting-and-not", HW, (2, 3), *SIZES, strides=[2, 2]),
    maximum("lasting-max-opset-8", HW, (2, 4), *POOLED, strides=[3, 2], opset=8, ir=3),
    maximum("lasting-max-ceil-mode", HW, (2, 4), *POOLED, strides=[2, 2], ceil_mode=1),
    average(
        "lasting-average-counting-pads",
        HW,
        (4, 2),
        *POOLED,
        strides=[2, 3],
        count_include_pad=1,
        adds=(1, 0),
    ),
    average(
        "lasting-average-opset-7",
        HW,
        (3, 5),
        *POOLED,
        strides=[2, 2],
        mode="SAME_LOWER",
        opset=7,
        ir=3,
    ),
]
"""Sizes are open, and still constant amounts are right for all of them."""
BOTH: dict[str, Any] = {"outputs": "y indices", "adds": (0, 0)}
LOW: dict[str, Any] = {"mode": "SAME_LOWER", "strides": [2, 3]}
SLICED = [
    average("open-average", HW, (3, 4), *POOLED, strides=[2, 3]),
    average("open-average-lower", HW, (5, 7), *POOLED, *SIZES, **LOW),
    average("open-average-2x3", HW, (2, 3), *POOLED, strides=[2, 3]),
    average("open-average-3x3", (None, None), (3, 3), *POOLED, *SIZES, strides=[2, 2]),
    average("open-average-below-stride", HW, (3, 2), *POOLED, *SIZES, strides=[4, 5]),
    average("open-average-width", (17, "W"), (3, 4), (17, 14), (17, 1), strides=[2, 3]),
    average("open-average-1d", ("L",), (5,), (16,), (17,), (1,), (18,), strides=[4]),
    average("open-average-3d", ("D", 6, "W"), (3, 2, 5), (5, 6, 7), (4, 6, 8), strides=[2, 2, 4]),
    average("open-average-ceil-mode", HW, (3, 5), *POOLED, strides=[2, 2], ceil_mode=1),
    average("open-average-opset-10", HW, (3, 2), *POOLED, strides=[4, 5], opset=10, ir=5),
    average("open-average-opset-11", HW, (3, 2), *POOLED, opset=11, ir=3, **LOW),
    average("open-average-latest", HW, (3, 4), *POOLED, strides=[2, 3], opset=LATEST, ir=10),
    average("open-average-opset-9", HW, (3, 4), *POOLED, strides=[2, 3], opset=9, kept=NO_SLICE),
    average(
        "open-average-dilated", HW, (4, 3), *POOLED, strides=[3, 2], dilations=[1, 2], opset=19
    ),
    average(
        "open-average-dilated-too-wide",
        HW,
        (2, 3),
        *POOLED,
        strides=[3, 2],
        dilations=[3, 1],
        opset=19,
        runtime="none",
        kept=TOO_WIDE,
    ),
    maximum("open-max-indices", HW, (3, 4), *POOLED, *SIZES, strides=[2, 3], **BOTH),
    maximum("open-max-indices-column-major", HW, (3, 5), *POOLED, storage_order=1, **LOW, **BOTH),
    maximum("open-max-indices-below-stride", HW, (3, 2), *POOLED, strides=[4, 5], **BOTH),
    maximum("open-max-indices-int8", HW, (3, 4), *POOLED, strides=[2, 3], dtype=np.int8, **BOTH),
    maximum("open-max-indices-height", ("H", 14), (3, 4), (7, 14), (16, 14), **LOW, **BOTH),
    maximum("open-max-opset-10", HW, (3, 4), *POOLED, strides=[2, 3], opset=10, adds=(0, 0)),
    maximum(
        "open-max-indices-dilated", HW, (3, 4), *POOLED, strides=[2, 3], dilations=[2, 1], **BOTH
    ),
]
"""Only a pool at stride 1 and a Slice behind it are right for all sizes."""
QUANTIZED = [
    Case("open-qlinear-conv", lambda: qlinear(HW, (4, 3), *SIZES, strides=[3, 2]), (1, 1)),
    Case(
        "open-qlinear-conv-channels-last",
        lambda: qlinear(
            HW, (4, 3), *SIZES, strides=[3, 2], dtype=np.int8, last=True, domain="com.microsoft"
        ),
        (1, 1),
    ),
    Case("open-conv-integer", lambda: integer(HW, (4, 3), *SIZES, zero=77, strides=[3, 2]), (1, 1)),
]


# --- open sizes in networks ---------------------------------------------------------------

UP: dict[str, Any] = {"auto_pad": "SAME_UPPER", "strides": [3, 2]}
DOWN: dict[str, Any] = {"auto_pad": "SAME_LOWER", "strides": [2, 3]}
PARTS = [tensor("w", WEIGHT), tensor("v", SECOND)]


def network() -> Built:
    """Return Conv, MaxPool, Conv and AveragePool of open size in a row."""
    nodes = [
        node("Conv", "x w", "a", "stem", **UP),
        node("MaxPool", "a", "b", "max", kernel_shape=[3, 2], **DOWN),
        node("Conv", "b v", "c", "second", **DOWN),
        node("AveragePool", "c", "y", "mean", kernel_shape=[2, 4], auto_pad="SAME_UPPER"),
    ]
    proto = model(nodes, {"x": ("N", 2, "H", "W")}, PARTS)
    runs = []
    for size in ((32, 45), (67, 30), (41, 8)):
        data = ints((1, 2, *size))
        pooled = golden.max_pool(upper(data), [3, 2], strides=[2, 3], mode="SAME_LOWER")[0]
        runs.append(Run({"x": data}, [golden.average_pool(lower(pooled), [2, 4])]))
    return Built(proto, runs)


def function_of_open_and_fixed_size() -> Built:
    made = function("Padded", "a k", "c", [node("Conv", "a k", "c", "inner", **UP)])
    nodes = [
        call("Padded", "x0 w", "y0", "fixed"),
        call("Padded", "x1 w", "y1", "open"),
        call("Padded", "x2 w", "y2", "open_again"),
    ]
    shapes = {"x0": (1, 2, 16, 15), "x1": (1, 2, *HW), "x2": ("N", 2, "A", "B")}
    proto = model(nodes, shapes, PARTS[:1], ["y0", "y1", "y2"], domains=["local"], functions=[made])
    runs = []
    for size, other in (((17, 14), (5, 6)), ((16, 15), (9, 13))):
        feeds = {"x0": ints((1, 2, 16, 15)), "x1": ints((1, 2, *size)), "x2": ints((3, 2, *other))}
        runs.append(Run(feeds, [upper(data) for data in feeds.values()]))
    return Built(proto, runs)


def branch_of_open_size() -> Built:
    inner = branches(
        [node("Conv", "x w", "a", "conv", **UP)], [node("Conv", "x v", "b", "conv", **DOWN)]
    )
    shapes = {"x": (1, 2, *HW), "choose": ((), TensorProto.BOOL)}
    proto = model([node("If", "choose", "y", "choice", **inner)], shapes, PARTS)
    runs = []
    for size in SIZES[:3]:
        data = ints((1, 2, *size))
        runs += [
            Run({"x": data, "choose": np.asarray(True)}, [upper(data)]),
            Run({"x": data, "choose": np.asarray(False)}, [lower(data)]),
        ]
    return Built(proto, runs)


def lost_size(opset: int) -> Built:
    """Return a Conv behind a Reshape whose target went through floats, where inference stops."""
    nodes = [
        node("Shape", "x", "s", "shape"),
        node("Cast", "s", "f", "to_float", to=TensorProto.FLOAT),
        node("Cast", "f", "i", "to_int", to=TensorProto.INT64),
        node("Reshape", "x i", "r", "reshape"),
        node("Conv", "r w", "y", "conv", **UP),
    ]
    data = ints((1, 2, 16, 15))
    proto: ModelProto = model(nodes, {"x": data.shape}, PARTS[:1], opset=opset, ir=5)
    return Built(proto, [Run({"x": data}, [upper(data)])])


POOL: dict[str, Any] = {"kernel_shape": [3, 4], "strides": [2, 3], "auto_pad": "SAME_UPPER"}


def pooled(data: Array) -> Array:
    return golden.average_pool(data, [3, 4], strides=[2, 3], mode="SAME_UPPER")


def sliced_in_a_function() -> Built:
    """Return calls of one function with unequal sizes fixed: copies, where the pools differ."""
    made = function("Mean", "a", "c", [node("AveragePool", "a", "c", "inner", **POOL)])
    shapes = {"x0": (1, 2, 16, "W"), "x1": (1, 2, 17, "W"), "x2": ("N", 2, *HW)}
    nodes = [call("Mean", f"x{at}", f"y{at}", f"call{at}") for at in range(3)]
    results = ["y0", "y1", "y2"]
    proto = model(nodes, shapes, (), results, domains=["local"], functions=[made])
    runs = []
    for width, other in ((14, (5, 6)), (15, (16, 13)), (1, (1, 4))):
        sizes = ((1, 2, 16, width), (1, 2, 17, width), (3, 2, *other))
        feeds = {f"x{at}": ints(size, at) for at, size in enumerate(sizes)}
        runs.append(Run(feeds, [pooled(data) for data in feeds.values()]))
    return Built(proto, runs)


def sliced_in_branches() -> Built:
    """Return branches with the same names in them, one of which ends in an unnamed pool."""
    inner = branches(
        [node("AveragePool", "x", "a", "", **POOL)],
        [node("Relu", "x", "h", "relu"), node("AveragePool", "h", "b", "pool", **POOL)],
    )
    shapes = {"x": (1, 2, *HW), "choose": ((), TensorProto.BOOL)}
    proto = model([node("If", "choose", "y", "choice", **inner)], shapes)
    runs = []
    for size in SIZES[:3]:
        data = ints((1, 2, *size))
        runs += [
            Run({"x": data, "choose": np.asarray(True)}, [pooled(data)]),
            Run({"x": data, "choose": np.asarray(False)}, [pooled(np.maximum(data, 0))]),
        ]
    return Built(proto, runs)


def sliced_among_taken_names() -> Built:
    """Return pools in a row, whose names for what is new are taken, and a Conv behind."""
    nodes = [
        node("Identity", "x", "pool/slice", "pool/slice/starts"),
        node("AveragePool", "pool/slice", "y", "pool", **POOL),
        node("AveragePool", "y", "y/every_window", "pool/slice", **POOL),
        node("Conv", "y/every_window w", "z", "conv", auto_pad="SAME_UPPER", strides=[3, 2]),
    ]
    proto = model(nodes, {"x": (1, 2, *HW)}, PARTS[:1], ["y", "y/every_window", "z"])
    runs = []
    for size in ((33, 40), (16, 15), (1, 2)):
        data = np.abs(ints((1, 2, *size)))
        first = pooled(data)
        second = pooled(first)
        runs.append(Run({"x": data}, [first, second, upper(second)]))
    return Built(proto, runs)


NETWORKS = [
    Case("sliced-in-a-function", sliced_in_a_function, (0, 0), tolerance=1e-6),
    Case("sliced-in-branches", sliced_in_branches, (0, 0), tolerance=1e-6),
    Case("sliced-among-taken-names", sliced_among_taken_names, (1, 1), tolerance=1e-5),
    Case("open-network", network, None, tolerance=1e-6),
    Case("open-function", function_of_open_and_fixed_size),
    Case("open-branches", branch_of_open_size, (2, 2)),
    Case("lost-size", lambda: lost_size(13), (1, 1)),
    Case("lost-size-below-opset-11", lambda: lost_size(10), (0, 0), kept={"conv": UNKNOWN}),
    Case(
        "lost-size-observed",
        lambda: lost_size(10),
        (1, 0),
        options={"observe": True},
        amounts={"conv": ((1, 2), (1, 1))},
    ),
]
CASES = STRIDE_1 + STRIDED + POOLS + LASTING + SLICED + QUANTIZED + NETWORKS
