"""The same operators at every opset, ir_version and element type that they have."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases_convolutions import transposed
from cases_pools import average, maximum
from cases_quantized import qlinear
from onnx import IR_VERSION, TensorProto, helper
from onnx_corpus import LATEST, Built, Case, conv_built, model, node

IR_OF_OPSET = {1: 3, 7: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 15: 8, 18: 8, 19: 9, 21: 10, 22: 10}
STRIDES: dict[str, Any] = {"strides": [3, 2]}


def conv(name: str, adds: tuple[int, int] = (1, 0), **how: Any) -> Case:
    """Return a case of one strided Conv."""
    more = {key: how.pop(key) for key in ("runtime", "options") if key in how}
    return Case(
        name,
        lambda: conv_built((16, 15), (4, 3), **STRIDES, **how),
        adds,
        amounts={"conv": ((1, 2), (1, 1))},
        **more,
    )


def bfloat16(opset: int) -> Built:
    """Return a Conv for which onnxruntime has no kernel: only its amounts are looked at."""
    kind = TensorProto.BFLOAT16
    weight = helper.make_tensor("w", kind, (4, 2, 4, 3), [0.5] * 96)
    made = node("Conv", "x w", "y", "conv", auto_pad="SAME_LOWER", **STRIDES)
    return Built(
        model([made], {"x": ((1, 2, 16, 15), kind)}, [weight], {"y": (None, kind)}, opset=opset)
    )


def narrow(name: str, opset: int, adds: tuple[int, int]) -> Case:
    return Case(
        name,
        lambda: bfloat16(opset),
        adds,
        amounts={"conv": ((2, 1), (1, 1))},
        runtime="none",
        options={"verify": "none"},
    )


OPSETS = [
    *(
        conv(f"conv-opset-{opset}", (0, 0) if opset == 1 else (1, 0), opset=opset, ir=ir)
        for opset, ir in {**IR_OF_OPSET, LATEST: 10}.items()
    ),
    *(
        maximum(
            f"max-opset-{opset}",
            (9, 8),
            (3, 4),
            strides=[2, 3],
            opset=opset,
            ir=ir,
            adds=(0, 0) if opset == 1 else (1, 0),
            mode="SAME_LOWER",
        )
        for opset, ir in ((1, 3), (7, 3), (8, 3), (11, 6), (22, 10), (LATEST, 10))
    ),
    *(
        average(
            f"average-opset-{opset}",
            (9, 8),
            (3, 4),
            strides=[2, 3],
            opset=opset,
            ir=ir,
            runtime="none" if opset == 1 else "onnxruntime",  # nobody runs AveragePool-1
        )
        for opset, ir in ((1, 3), (7, 3), (11, 6), (22, 10), (LATEST, 10))
    ),
    *(
        average(
            f"average-counting-pads-opset-{opset}",
            (9, 8),
            (3, 4),
            strides=[2, 3],
            opset=opset,
            ir=ir,
            count_include_pad=1,
            adds=(1, 0),
        )
        for opset, ir in ((7, 3), (10, 5), (LATEST, 10))
    ),
    *(
        average(
            f"lp-opset-{opset}",
            (9, 8),
            (3, 4),
            strides=[2, 3],
            opset=opset,
            ir=ir,
            op_type="LpPool",
            adds=(1, 0),
        )
        for opset, ir in ((2, 3), (11, 6), (22, 10), (LATEST, 10))
    ),
    *(
        Case(
            f"transposed-opset-{opset}",
            lambda opset=opset, ir=ir: transposed(
                (5, 7), (4, 3), strides=[3, 2], opset=opset, ir=ir
            ),
            (0, 0),
        )
        for opset, ir in ((1, 3), (11, 6), (22, 10), (LATEST, 10))
    ),
    Case("qlinear-conv-opset-10", lambda: qlinear((16, 14), (4, 3), **STRIDES, opset=10), (0, 0)),
]
IR_VERSIONS = [
    conv("ir-3-opset-17", opset=17, ir=3),
    conv("ir-4", opset=9, ir=4),
    conv("ir-newest", opset=LATEST, ir=int(IR_VERSION)),
]
TYPES = [
    conv("conv-float16", dtype=np.float16),
    conv("conv-float16-lower-opset-22", dtype=np.float16, opset=22, ir=10),
    conv("conv-float16-opset-9", dtype=np.float16, opset=9, ir=4),
    conv("conv-double", dtype=np.float64, runtime="reference"),
    narrow("conv-bfloat16", 22, (1, 0)),
    narrow("conv-bfloat16-before-pad-has-it", 11, (0, 0)),
]
CASES = OPSETS + IR_VERSIONS + TYPES
