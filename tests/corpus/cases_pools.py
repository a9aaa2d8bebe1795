"""MaxPool, AveragePool, LpPool and onnxruntime's NhwcMaxPool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import golden
import numpy as np
from onnx_corpus import (
    Array,
    Built,
    Case,
    Run,
    element,
    ints,
    model,
    node,
    pool_built,
    wide,
)

IN_AVERAGES = 1e-6
"""onnxruntime divides in float32."""


def maximum(
    name: str,
    *args: Any,
    adds: tuple[int, int] = (1, 0),
    outputs: str = "y",
    told: Any = None,
    kept: str = "",
    options: Any = None,
    **how: Any,
) -> Case:
    """Return a case of one MaxPool: sizes, kernel, sizes to run."""

    def build() -> Built:
        rule = {key: value for key, value in how.items() if key in _MAX}
        sizes, kernel, *others = args

        def expected(data: Array) -> Sequence[Array]:
            return golden.max_pool(data, kernel, **rule)[: len(outputs.split())]

        return pool_built("MaxPool", sizes, kernel, expected, *others, outputs=outputs, **how)

    amounts = {"pool": told} if told else {}
    reasons = {"pool": kept} if kept else {}
    return Case(name, build, adds, reasons, amounts, options=options or {})


_MAX = ("strides", "dilations", "mode", "storage_order")
_AVERAGE = ("strides", "dilations", "mode", "count_include_pad")
_NORM = ("strides", "dilations", "mode", "p")


def average(
    name: str,
    *args: Any,
    adds: tuple[int, int] = (0, 0),
    kept: str = "",
    op_type: str = "AveragePool",
    options: Any = None,
    runtime: str = "onnxruntime",
    **how: Any,
) -> Case:
    """Return a case of one AveragePool or LpPool: sizes, kernel, sizes to run."""

    def build() -> Built:
        known, rule = (_AVERAGE, golden.average_pool)
        if op_type == "LpPool":
            known, rule = (_NORM, golden.lp_pool)
        chosen = {key: value for key, value in how.items() if key in known}
        sizes, kernel, *others = args

        def expected(data: Array) -> Sequence[Array]:
            return [rule(data, kernel, **chosen)]

        return pool_built(op_type, sizes, kernel, expected, *others, data=ints, **how)

    reasons = {"pool": kept} if kept else {}
    return Case(
        name,
        build,
        adds,
        reasons,
        tolerance=IN_AVERAGES,
        options=options or {},
        runtime=runtime,
    )


def channels_last_max(
    sizes: Sequence[Any], dtype: Any, *others: Sequence[int], **how: Any
) -> Built:
    """Return com.microsoft NhwcMaxPool, which takes 8-bit data."""
    made = node(
        "NhwcMaxPool",
        "x",
        "y",
        "pool",
        kernel_shape=[3, 2],
        auto_pad="SAME_UPPER",
        domain="com.microsoft",
        **how,
    )
    kind = element(dtype)
    proto = model(
        [made], {"x": ((1, *sizes, 3), kind)}, (), {"y": (None, kind)}, domains=["com.microsoft"]
    )
    runs = []
    for number, size in enumerate(others or [sizes]):
        data = wide((1, *size, 3), number, dtype)
        result, _ = golden.max_pool(np.moveaxis(data, -1, 1), [3, 2], **how)
        runs.append(Run({"x": data}, [np.moveaxis(result, 1, -1)]))
    return Built(proto, runs)


MAXIMA = [
    maximum("max-2d-upper", (16, 13), (3, 2), strides=[2, 3], told=((0, 1), (0, 1))),
    maximum(
        "max-2d-lower", (16, 13), (3, 2), strides=[2, 3], mode="SAME_LOWER", told=((1, 0), (1, 0))
    ),
    maximum("max-1d", (11,), (4,), strides=[1]),
    maximum("max-3d", (4, 5, 7), (2, 3, 4), strides=[3, 2, 2]),
    maximum("max-indices", (9, 8), (3, 4), strides=[2, 3], outputs="y indices", adds=(0, 0)),
    maximum(
        "max-indices-column-major",
        (9, 8),
        (3, 4),
        strides=[2, 3],
        outputs="y indices",
        mode="SAME_LOWER",
        storage_order=1,
        adds=(0, 0),
    ),
    maximum("max-dilated", (9, 8), (3, 4), dilations=[2, 1], strides=[1, 2]),
    maximum(
        "max-dilated-wide", (9, 11), (2, 3), dilations=[4, 3], adds=(1, 1), told=((2, 2), (3, 3))
    ),
    maximum(
        "max-dilated-eight-channels", (12, 10), (3, 3), dilations=[2, 3], channels=8, adds=(1, 1)
    ),
    maximum("max-ceil-mode", (9, 8), (3, 2), strides=[2, 3], ceil_mode=1),
    maximum(
        "max-ceil-mode-kernel-below-stride",
        (9, 7),
        (1, 2),
        strides=[4, 5],
        ceil_mode=1,
        adds=(0, 0),
    ),
    maximum("max-kernel-below-stride", (11, 8), (1, 2), strides=[4, 6], adds=(0, 0)),
    maximum("max-uint8", (9, 8), (3, 4), strides=[2, 3], dtype=np.uint8, data=wide),
    maximum(
        "max-int8-lower",
        (9, 8),
        (3, 4),
        strides=[2, 3],
        dtype=np.int8,
        data=wide,
        mode="SAME_LOWER",
    ),
    maximum("max-double", (9, 8), (3, 4), strides=[2, 3], dtype=np.float64),
    maximum("max-float16", (9, 8), (3, 4), strides=[2, 3], dtype=np.float16, opset=22),
    maximum("max-auto-pad-beside-pads", (9, 8), (3, 2), strides=[2, 3], pads=[1, 0, 0, 1]),
    Case("nhwc-max-uint8", lambda: channels_last_max((10, 7), np.uint8, strides=[2, 3]), (1, 0)),
    Case("nhwc-max-int8", lambda: channels_last_max((9, 8), np.int8, strides=[1, 2]), (1, 0)),
]
AVERAGES = [
    average("average-upper", (9, 8), (3, 4), strides=[2, 3]),
    average("average-lower", (9, 8), (4, 3), strides=[3, 2], mode="SAME_LOWER"),
    average(
        "average-counting-pads", (9, 8), (3, 4), strides=[2, 3], count_include_pad=1, adds=(1, 0)
    ),
    average(
        "average-counting-pads-lower",
        (9, 8),
        (4, 3),
        strides=[1, 2],
        count_include_pad=1,
        mode="SAME_LOWER",
        adds=(1, 0),
    ),
    average("average-ceil-mode", (9, 8), (3, 4), strides=[2, 3], ceil_mode=1),
    average(
        "average-ceil-mode-counting-pads",
        (9, 8),
        (3, 4),
        strides=[2, 3],
        ceil_mode=1,
        count_include_pad=1,
        adds=(1, 0),
    ),
    *(
        average(
            f"average-ceil-mode-counting-pads-rounds-alike-opset-{opset}",
            (9, 7),
            (3, 2),
            strides=[2, 2],
            ceil_mode=1,
            count_include_pad=1,
            adds=(1, 0),
            opset=opset,
            options={"verify": "auto"},
        )
        for opset in (17, 19)
    ),
    average("average-dilated", (9, 8), (3, 4), dilations=[2, 1], strides=[2, 3], opset=19),
    average(
        "average-dilated-wide-counting-pads",
        (9, 11),
        (2, 3),
        dilations=[4, 3],
        opset=19,
        count_include_pad=1,
        adds=(1, 1),
    ),
    average(
        "average-dilated-wide",
        (9, 11),
        (2, 3),
        dilations=[4, 3],
        opset=19,
        kept="not smaller than the kernel",
        runtime="none",
    ),
    average("average-1d", (11,), (4,), strides=[3], opset=7, ir=3),
    average("average-3d", (4, 5, 7), (2, 3, 4), strides=[3, 2, 2], mode="SAME_LOWER"),
    average("average-kernel-below-stride", (11, 8), (1, 2), strides=[4, 6]),
    average("lp-norm-2", (9, 8), (3, 4), strides=[2, 3], op_type="LpPool", adds=(1, 0)),
    average(
        "lp-norm-1-lower",
        (9, 8),
        (3, 4),
        strides=[2, 3],
        p=1,
        op_type="LpPool",
        mode="SAME_LOWER",
        adds=(1, 0),
    ),
    average(
        "lp-norm-3-dilated",
        (9, 8),
        (3, 2),
        dilations=[1, 2],
        p=3,
        op_type="LpPool",
        opset=18,
        adds=(1, 0),
    ),
    average(
        "lp-ceil-mode",
        (9, 8),
        (3, 4),
        strides=[2, 3],
        op_type="LpPool",
        opset=18,
        ceil_mode=1,
        adds=(1, 0),
    ),
]
CASES = MAXIMA + AVERAGES
