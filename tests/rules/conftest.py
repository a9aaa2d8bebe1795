"""Graphs built from the cases of the rule files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from padaudit.ir.dims import Dim, Open, Unknown
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.tensor import TensorInfo
from padaudit.ir.walk import Visit

BuildVisit = Callable[..., Visit]


def as_dim(size: int | str) -> Dim:
    if isinstance(size, int):
        return size
    return Open("N") if size == "open" else Unknown("the Lambda layer 'blur' was not run")


def build_visit(
    domain: str,
    op_type: str,
    attributes: Mapping[str, Any],
    shape: list[int | str],
    after: str = "",
) -> Visit:
    """Return one operator in a graph, behind another one where ``after`` names it."""
    graph = Graph("model")
    data = TensorInfo(tuple(as_dim(size) for size in shape), "float32")
    graph.inputs, graph.outputs = ("input",), ("out",)
    graph.tensors = {"input": data, "data": data, "w": TensorInfo(None, constant=True)}
    source = "input"
    if after:
        graph.add(Op("front", after, domain, {}, ("input",), ("data",), 0))
        source = "data"
    op = Op("site", op_type, domain, dict(attributes), (source, "w"), ("out",), 1)
    graph.add(op)
    return Visit((), graph, op)


@pytest.fixture(scope="session")
def visit_of() -> BuildVisit:
    return build_visit
