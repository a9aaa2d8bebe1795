"""Hand-built graphs for the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from padaudit.ir.dims import Shape
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.tensor import TensorInfo

BuildGraph = Callable[..., Graph]


def build_graph(
    op_type: str,
    shape: Shape | None,
    *,
    domain: str = "",
    weights: Shape | None = None,
    cause: str | None = None,
    name: str = "site",
    dtype: str | None = "float32",
    **attributes: Any,
) -> Graph:
    """Return a graph of one operator on one input, with weights of a shape."""
    graph = Graph("model")
    graph.inputs, graph.outputs = ("x",), ("y",)
    graph.tensors["x"] = TensorInfo(shape, dtype, cause)
    graph.tensors["w"] = TensorInfo(weights, dtype, constant=True)
    graph.add(Op(name, op_type, domain, attributes, ("x", "w"), ("y",), 0))
    return graph


@pytest.fixture(scope="session")
def graph_with() -> BuildGraph:
    return build_graph
