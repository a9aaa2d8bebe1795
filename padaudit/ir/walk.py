"""One iterator over a graph and everything nested in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from padaudit.ir.graph import Graph
from padaudit.ir.op import Op


@dataclass(frozen=True, slots=True)
class Visit:
    """An operator and where it was met.

    Parameters
    ----------
    scope : tuple of str
        Names of the operators (and body labels) that enclose it, outermost first.
    graph : Graph
        The graph that holds it.
    op : Op
        The operator.
    """

    scope: tuple[str, ...]
    graph: Graph
    op: Op

    @property
    def path(self) -> str:
        """The operator's name with its scope, joined by ``/``."""
        return "/".join((*self.scope, self.op.name))


def walk(graph: Graph, scope: tuple[str, ...] = ()) -> Iterator[Visit]:
    """Yield every operator of a graph and of its nested graphs, in execution order."""
    for op in graph.ops():
        yield Visit(scope, graph, op)
        for label, inner in graph.nested.get(op.name, {}).items():
            yield from walk(inner, (*scope, op.name, label) if label else (*scope, op.name))


def graph_of_op(graph: Graph) -> dict[int, Graph]:
    """Return, by ``id(op)``, the graph that holds an operator."""
    return {id(visit.op): visit.graph for visit in walk(graph)}
