"""What onnxruntime's default optimisations make of rewritten models: nothing gets slower."""

from __future__ import annotations

from collections.abc import Callable

import cases_quantized
import pytest
from onnx import ModelProto
from onnx_corpus import Built, conv_built
from ort_worker import OnnxRuntime

import padaudit

QUANTIZED: dict[str, Callable[[], Built]] = {
    "upper": lambda: cases_quantized.qdq("Conv", auto_pad="SAME_UPPER", strides=[3, 2]),
    "lower": lambda: cases_quantized.qdq("Conv", auto_pad="SAME_LOWER", strides=[2, 1]),
}


def optimized(built: Built, style: str, ort: OnnxRuntime) -> list[str]:
    """Return the op types of a model that was rewritten, then optimised."""
    after = padaudit.explicit(built.model, style=style)
    made = ModelProto.FromString(ort.optimized(after.SerializeToString()))
    return [node.op_type for node in made.graph.node]


@pytest.mark.parametrize("style", ["pad", "attrs", "auto"])
@pytest.mark.parametrize("name", QUANTIZED)
def test_quantised_convolutions_stay_quantised(name: str, style: str, runtime: OnnxRuntime) -> None:
    assert optimized(QUANTIZED[name](), style, runtime) == ["QLinearConv"]


@pytest.mark.parametrize("style", ["pad", "attrs", "auto"])
@pytest.mark.parametrize("opset", [7, 10, 11, 17, 22])
def test_the_pad_of_a_convolution_costs_nothing(
    opset: int, style: str, runtime: OnnxRuntime
) -> None:
    built = conv_built((16, 15), (4, 3), strides=[3, 2], opset=opset, ir=4 if opset < 11 else 8)
    types = optimized(built, style, runtime)
    assert len(types) == 1 and types[0] in {"Conv", "FusedConv"}


@pytest.mark.parametrize("style", ["pad", "auto"])
def test_every_convolution_has_a_pad_of_its_own(style: str, runtime: OnnxRuntime) -> None:
    """A Pad that two convolutions share is not fused."""
    import cases_places

    types = optimized(cases_places.one_tensor_many_convs(), style, runtime)
    assert "Pad" not in types
