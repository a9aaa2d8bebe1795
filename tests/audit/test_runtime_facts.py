"""What PAD208 says of onnxruntime's windows, against onnxruntime itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from padaudit.audit.findings import audit
from padaudit.audit.sites import find_sites
from padaudit.ir.graph import Graph

BuildGraph = Callable[..., Graph]
MEASURED = "1.32."
pytestmark = pytest.mark.skipif(
    not ort.__version__.startswith(MEASURED),
    reason=f"the facts were measured with onnxruntime {MEASURED}x",
)


def run_conv(size: int, kernel: int, stride: int, mode: str) -> list[float]:
    data = np.arange(1, size + 1, dtype=np.float32).reshape(1, 1, size)
    weights = (10 ** np.arange(kernel, dtype=np.float32)).reshape(1, 1, kernel)
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=mode, strides=[stride])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [float(value) for value in session.run(None, {"x": data})[0].ravel()]


def specified(size: int, kernel: int, stride: int, mode: str) -> list[float]:
    """The specification, window by window, with the total clamped at 0."""
    count = len(range(0, size, stride))
    total = max((count - 1) * stride + kernel - size, 0)
    first = -(total // 2) if mode == "SAME_UPPER" else -(total - total // 2)
    return [
        float(
            sum(
                (first + index * stride + tap + 1) * 10**tap
                for tap in range(kernel)
                if 0 <= first + index * stride + tap < size
            )
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_pad208_fires_wherever_onnxruntime_leaves_the_specification(
    graph_with: BuildGraph, mode: str
) -> None:
    wrong = 0
    for size, kernel, stride in product(range(1, 13), (1, 2, 3), (1, 2, 4, 5, 7)):
        differs = run_conv(size, kernel, stride, mode) != specified(size, kernel, stride, mode)
        graph = graph_with(
            "Conv", (1, 1, size), kernel_shape=[kernel], strides=[stride], auto_pad=mode
        )
        (site,) = find_sites(graph)
        reported = "PAD208" in {finding.rule for finding in audit(graph, [site])}
        assert reported or not differs, (size, kernel, stride)
        if site.pads == ((0, 0),):
            assert reported is differs, (size, kernel, stride)
        wrong += differs
    assert wrong > 5
