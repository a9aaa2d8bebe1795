"""Sizes behind Pads whose amounts a graph computes, and behind onnxruntime's own operators."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

import padaudit
from padaudit.ir.dims import Open

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights


def chain(opset: int = 17, modes: tuple[str, str] = ("SAME_UPPER", "SAME_LOWER")) -> ModelProto:
    """Return two strided convolutions and a pool on an input of open height and width."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "c1", strides=[2, 3], auto_pad=modes[0]),
        helper.make_node("Conv", ["h", "v"], ["g"], "c2", strides=[3, 2], auto_pad=modes[1]),
        helper.make_node(
            "MaxPool",
            ["g"],
            ["y"],
            "pool",
            kernel_shape=[3, 2],
            strides=[2, 1],
            auto_pad="SAME_UPPER",
        ),
    ]
    tensors = [weights((4, 2, 3, 5)), weights((4, 4, 2, 2), "v", seed=1)]
    return model(nodes, {"x": (1, 2, "H", "W")}, tensors, opset=opset)


@pytest.mark.parametrize("opset", [11, 12, 15, 21])
@settings(max_examples=15, deadline=None)
@given(height=st.integers(7, 40), width=st.integers(7, 40))
def test_sizes_behind_computed_pads_are_those_of_the_original(
    opset: int, height: int, width: int
) -> None:
    original = chain(opset)
    explicit = padaudit.explicit(original, style="pad")
    shape = (1, 2, height, width)
    before = padaudit.check(original, input_shapes=shape)
    after = padaudit.check(explicit, input_shapes=shape)
    assert [site.output_size for site in after.sites] == [site.output_size for site in before.sites]
    assert all(isinstance(size, int) for site in after.sites for size in site.input_size)


def pools(opset: int) -> ModelProto:
    """Return pools that only a Slice makes explicit, one behind the other, and a convolution."""
    window = {"kernel_shape": [3, 5], "strides": [2, 4]}
    nodes = [
        helper.make_node("AveragePool", ["x"], ["h"], "mean", auto_pad="SAME_LOWER", **window),
        helper.make_node("MaxPool", ["h"], ["g", "i"], "most", auto_pad="SAME_UPPER", **window),
        helper.make_node("Conv", ["g", "w"], ["y"], "conv", auto_pad="SAME_UPPER", strides=[2, 3]),
    ]
    return model(nodes, {"x": (1, 2, "H", "W")}, [weights((4, 2, 3, 5))], opset=opset)


@pytest.mark.parametrize("opset", [11, 21])
@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_sizes_behind_sliced_pools_are_those_of_the_original(
    opset: int, height: int, width: int
) -> None:
    original = pools(opset)
    explicit = padaudit.explicit(original)
    shape = (1, 2, height, width)
    before = padaudit.check(original, input_shapes=shape).sites
    after = padaudit.check(explicit, input_shapes=shape).sites
    assert [node.op_type for node in explicit.graph.node].count("Slice") >= 3
    assert after[1].input_size == before[1].input_size
    assert after[2].output_size == before[2].output_size


def test_without_sizes_they_are_open_and_not_unknown() -> None:
    report = padaudit.check(padaudit.explicit(chain(), style="pad"))
    assert all(isinstance(size, Open) for site in report.sites for size in site.input_size)
    assert "PAD001" not in {finding.rule for finding in report.findings}


def test_sizes_behind_the_pads_of_pytorch_are_known(tmp_path: Path) -> None:
    """Its exporter computes the amounts from a list that begins with the last axis."""
    import torch

    class Padded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 4, (3, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(torch.nn.functional.pad(x, (5, 3, 1, 7)))

    example = (torch.zeros(1, 2, 17, 14),)
    torch.onnx.export(Padded(), example, tmp_path / "padded.onnx", dynamo=False)
    (site,) = padaudit.check(tmp_path / "padded.onnx").sites
    assert (site.input_size, site.output_size) == ((25, 22), (23, 21))


def test_a_pad_with_amounts_from_elsewhere_stays_unknown() -> None:
    nodes = [
        helper.make_node("Pad", ["x", "amounts"], ["h"], "pad"),
        helper.make_node("Conv", ["h", "w"], ["y"], "conv", auto_pad="SAME_UPPER", strides=[2, 2]),
    ]
    proto = model(nodes, {"x": (1, 2, 9, 8)}, [weights((4, 2, 3, 2))])
    proto.graph.input.append(helper.make_tensor_value_info("amounts", TensorProto.INT64, [8]))
    (site,) = padaudit.check(proto).sites
    assert not any(isinstance(size, int) for size in site.input_size)


def scalars(**values: Any) -> list[TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def microsoft(node: onnx.NodeProto, last: bool) -> ModelProto:
    """Return an operator of onnxruntime and a Conv (or an NHWC one) behind it."""
    shape = (1, 17, 14, 2) if last else (1, 2, 17, 14)
    tensors = [
        *scalars(s=np.float32(0.5), z=np.uint8(3)),
        numpy_helper.from_array(np.ones((4, 2, 3, 2), np.int8), "w"),
        *scalars(ws=np.float32(0.5), wz=np.int8(0)),
    ]
    behind = helper.make_node(
        "QLinearConv",
        ["h", "s", "z", "w", "s", "wz", "s", "z"],
        ["y"],
        "behind",
        domain="com.microsoft",
        auto_pad="SAME_UPPER",
        strides=[2, 3],
        channels_last=int(last),
    )
    return model(
        [node, behind],
        {"x": shape},
        tensors,
        dtype=TensorProto.UINT8,
        domains=("com.microsoft",),
    )


WINDOW = {"kernel_shape": [3, 2], "strides": [2, 1], "auto_pad": "SAME_LOWER"}


@pytest.mark.parametrize(
    ("op_type", "inputs", "last", "extra"),
    [
        ("NhwcMaxPool", ["x"], True, {}),
        ("QLinearAveragePool", ["x", "s", "z", "s", "z"], True, {"channels_last": 1}),
        ("QLinearAveragePool", ["x", "s", "z", "s", "z"], False, {}),
        ("QLinearAveragePool", ["x", "s", "z", "s", "z"], False, {"pads": [1, 0, 0, 0]}),
    ],
)
def test_sizes_go_on_behind_operators_of_onnxruntime(
    op_type: str, inputs: list[str], last: bool, extra: dict[str, Any]
) -> None:
    node = helper.make_node(
        op_type, inputs, ["h"], "first", domain="com.microsoft", **WINDOW, **extra
    )
    first, behind = padaudit.check(microsoft(node, last)).sites
    assert (first.input_size, first.output_size) == ((17, 14), (9, 14))
    assert (behind.input_size, behind.output_size) == ((9, 14), (5, 5))


def test_elementwise_operators_of_onnxruntime_keep_the_size() -> None:
    node = helper.make_node(
        "QLinearAdd",
        ["x", "s", "z", "x", "s", "z", "s", "z"],
        ["h"],
        "first",
        domain="com.microsoft",
    )
    (behind,) = padaudit.check(microsoft(node, last=False)).sites
    assert behind.input_size == (17, 14)


def test_auto_pad_beside_pads_counts_for_what_comes_behind() -> None:
    nodes = [
        helper.make_node(
            "Conv",
            ["x", "w"],
            ["h"],
            "both",
            strides=[2, 3],
            auto_pad="SAME_UPPER",
            pads=[0, 0, 0, 0],
        ),
        helper.make_node("Conv", ["h", "v"], ["y"], "behind", auto_pad="SAME_UPPER"),
    ]
    tensors = [weights((4, 2, 3, 4)), weights((4, 4, 2, 2), "v", seed=1)]
    both, behind = padaudit.check(model(nodes, {"x": (1, 2, 17, 14)}, tensors)).sites
    assert both.output_size == behind.input_size == (9, 5)
