"""Conv, FusedConv and ConvTranspose: ranks, groups, windows of every proportion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import golden
import numpy as np
from onnx_corpus import Built, Case, Run, conv_built, ints, model, node, tensor

OTHERWISE_PADDED = "auto_pad stands together with pads"


def explicit_conv(mode: str, pads: Sequence[int]) -> Built:
    """Return a Conv that says its amounts, or that it has none."""
    weight, data = ints((4, 2, 4, 3), 1), ints((1, 2, 17, 14))
    told: dict[str, Any] = {"pads": pads} if any(pads) else {}
    made = node("Conv", "x w", "y", "conv", strides=[3, 2], auto_pad=mode, **told)
    proto = model([made], {"x": data.shape}, [tensor("w", weight)])
    result = golden.conv(data, weight, strides=[3, 2], mode=pads)
    return Built(proto, [Run({"x": data}, [result])])


def fused(activation: str, more: str = "", **attributes: Any) -> Built:
    """Return com.microsoft FusedConv, with an input to add if ``more`` names one."""
    weight, bias, data = ints((4, 2, 4, 3), 1), ints((4,), 2), ints((1, 2, 17, 14))
    how = {"strides": [3, 2], "mode": "SAME_LOWER"}
    result = golden.conv(data, weight, bias, **how)
    given = {"x": data}
    if more:
        given["z"] = ints(result.shape, 9)
        result = result + given["z"]
    result = np.clip(result, 0, 20 if activation == "Clip" else None)
    made = node(
        "FusedConv",
        f"x w b {more}",
        "y",
        "conv",
        auto_pad="SAME_LOWER",
        strides=[3, 2],
        activation=activation,
        domain="com.microsoft",
        **attributes,
    )
    parts = [tensor("w", weight), tensor("b", bias)]
    shapes = {name: array.shape for name, array in given.items()}
    proto = model([made], shapes, parts, domains=["com.microsoft"])
    return Built(proto, [Run(given, [result])])


def transposed(
    sizes: Sequence[int | str],
    kernel: Sequence[int],
    *others: Sequence[int],
    mode: str = "SAME_UPPER",
    group: int = 1,
    opset: int = 17,
    ir: int = 8,
    **attributes: Any,
) -> Built:
    """Return one ConvTranspose named ``up``; ``others`` are the sizes to run it with."""
    weight, bias = ints((4, 3, *kernel), 1), ints((3 * group,), 2)
    names = ("strides", "dilations", "output_padding", "output_shape")
    how = {name: attributes[name] for name in names if name in attributes}
    meant: Any = attributes.get("pads", mode)
    told = {} if mode == "NOTSET" else {"auto_pad": mode}
    made = node("ConvTranspose", "x w b", "y", "up", group=group, **told, **attributes)
    parts = [tensor("w", weight), tensor("b", bias)]
    proto = model([made], {"x": (1, 4, *sizes)}, parts, opset=opset, ir=ir)
    runs = []
    for number, size in enumerate(others or [sizes]):
        data = ints((1, 4, *size), number)  # type: ignore[misc]
        result = golden.conv_transpose(data, weight, bias, group=group, mode=meant, **how)
        runs.append(Run({"x": data}, [result]))
    return Built(proto, runs)


def conv(name: str, amounts: Any, *args: Any, adds: tuple[int, int] = (1, 0), **how: Any) -> Case:
    """Return a case of one Conv whose amounts are counted by hand."""
    return Case(name, lambda: conv_built(*args, **how), adds=adds, amounts={"conv": amounts})


CONVOLUTIONS = [
    conv("conv-1d-upper", ((1, 2),), (16,), (4,), strides=[3]),
    conv("conv-1d-lower-dilated", ((5, 4),), (17,), (4,), mode="SAME_LOWER", dilations=[3]),
    conv("conv-2d-upper", ((1, 2), (0, 1)), (16, 14), (4, 3), strides=[3, 2]),
    conv("conv-2d-lower", ((2, 1), (1, 0)), (16, 14), (4, 3), strides=[3, 2], mode="SAME_LOWER"),
    conv("conv-2d-even-kernel-stride-1", ((1, 2), (0, 1)), (7, 6), (4, 2)),
    conv("conv-2d-even-kernel-lower", ((2, 1), (1, 0)), (7, 6), (4, 2), mode="SAME_LOWER"),
    conv("conv-3d-upper", ((0, 1), (1, 1), (0, 1)), (5, 7, 6), (2, 3, 3), strides=[2, 1, 2]),
    conv(
        "conv-3d-lower-grouped",
        ((1, 0), (1, 1), (2, 1)),
        (4, 5, 6),
        (2, 3, 4),
        mode="SAME_LOWER",
        group=2,
        channels=4,
        filters=6,
        batch=2,
    ),
    conv(
        "conv-2d-grouped",
        ((0, 1), (1, 1)),
        (10, 9),
        (3, 5),
        strides=[2, 3],
        group=3,
        channels=6,
        filters=9,
    ),
    conv(
        "conv-2d-depthwise",
        ((1, 1), (1, 2)),
        (9, 8),
        (3, 4),
        strides=[2, 1],
        group=5,
        channels=5,
        filters=10,
        bias=False,
    ),
    conv("conv-2d-dilated", ((2, 2), (3, 3)), (9, 11), (3, 3), dilations=[2, 3]),
    conv(
        "conv-2d-dilated-strided-lower",
        ((2, 1), (4, 3)),
        (10, 11),
        (3, 4),
        dilations=[2, 3],
        strides=[2, 4],
        mode="SAME_LOWER",
    ),
    conv(
        "conv-2d-kernel-below-stride",
        ((0, 0), (0, 0)),
        (8, 12),
        (1, 2),
        strides=[4, 6],
        adds=(0, 0),
    ),
    conv(
        "conv-2d-kernel-below-stride-lower",
        ((0, 0), (1, 0)),
        (10, 11),
        (1, 2),
        strides=[5, 5],
        mode="SAME_LOWER",
    ),
    conv("conv-1x1-nothing-to-pad", ((0, 0), (0, 0)), (5, 6), (1, 1), adds=(0, 0)),
    conv("conv-kernel-above-size", ((1, 2), (0, 1)), (2, 3), (5, 4), strides=[2, 3]),
    conv(
        "conv-auto-pad-beside-zero-pads",
        ((1, 2), (0, 1)),
        (16, 14),
        (4, 3),
        strides=[3, 2],
        pads=[0, 0, 0, 0],
    ),
    Case("conv-valid", lambda: explicit_conv("VALID", [0, 0, 0, 0]), adds=(0, 0)),
    Case("conv-explicit-pads", lambda: explicit_conv("NOTSET", [1, 0, 2, 1]), adds=(0, 0)),
    Case(
        "conv-auto-pad-against-pads",
        lambda: conv_built((17, 14), (4, 3), strides=[3, 2], pads=[2, 0, 0, 1]),
        adds=(0, 0),
        kept={"conv": OTHERWISE_PADDED},
        runtime="none",
    ),
    Case(
        "conv-valid-beside-zero-pads",
        lambda: conv_built((17, 14), (4, 3), mode="VALID", pads=[0, 0, 0, 0]),
        adds=(0, 0),
        runtime="none",
    ),
    Case("fused-conv-relu", lambda: fused("Relu"), adds=(1, 0)),
    Case(
        "fused-conv-clip-and-sum",
        lambda: fused("Clip", "z", activation_params=[0.0, 20.0]),
        adds=(1, 0),
    ),
]


def up(name: str, *args: Any, amounts: Any = None, **how: Any) -> Case:
    """Return a case of one ConvTranspose, which never gets a Pad."""
    told = {"up": amounts} if amounts else {}
    return Case(name, lambda: transposed(*args, **how), adds=(0, 0), amounts=told)


TRANSPOSED = [
    up("transposed-upper", (5, 7), (3, 4), strides=[2, 1], amounts=((0, 1), (1, 2))),
    up(
        "transposed-lower",
        (5, 7),
        (3, 4),
        strides=[2, 1],
        mode="SAME_LOWER",
        amounts=((1, 0), (2, 1)),
    ),
    up("transposed-1d-dilated-lower", (6,), (3,), strides=[2], dilations=[3], mode="SAME_LOWER"),
    up("transposed-3d", (3, 4, 2), (2, 3, 4), strides=[1, 2, 3]),
    up("transposed-grouped", (5, 4), (4, 3), strides=[3, 2], group=2),
    up("transposed-output-padding", (5, 4), (3, 4), strides=[2, 3], output_padding=[1, 2]),
    up(
        "transposed-output-shape",
        (5, 4),
        (4, 5),
        strides=[2, 3],
        output_shape=[9, 11],
        mode="NOTSET",
    ),
    up("transposed-output-shape-upper", (5, 4), (4, 5), strides=[2, 3], output_shape=[9, 11]),
    up(
        "transposed-output-shape-larger",
        (5, 4),
        (2, 3),
        strides=[3, 4],
        output_shape=[16, 16],
        mode="NOTSET",
    ),
    up("transposed-kernel-below-stride", (5, 4), (1, 2), strides=[3, 5]),
    up("transposed-kernel-below-stride-lower", (5, 4), (2, 3), strides=[3, 4], mode="SAME_LOWER"),
    up(
        "transposed-explicit",
        (5, 4),
        (4, 3),
        strides=[2, 3],
        pads=[1, 0, 2, 1],
        output_padding=[0, 1],
        mode="NOTSET",
    ),
    up("transposed-open", ("H", "W"), (4, 3), (5, 4), (2, 7), strides=[2, 3]),
    Case(
        "transposed-output-shape-of-open-size",
        lambda: transposed(("H", "W"), (4, 3), (5, 4), strides=[2, 3], output_shape=[9, 11]),
        adds=(0, 0),
        kept={"up": "not the same for all sizes"},
    ),
]
CASES = CONVOLUTIONS + TRANSPOSED
