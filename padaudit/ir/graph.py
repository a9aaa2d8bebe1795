"""The intermediate representation: a typed wrapper over ``networkx.MultiDiGraph``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from padaudit.ir.op import Op
from padaudit.ir.tensor import TensorInfo

if TYPE_CHECKING:
    import networkx as nx


class CycleError(ValueError):
    """Operators depend on each other in a circle."""


class Graph:
    """Operators, the tensors between them, and the graphs nested in them.

    A node is an `Op`, by name. An edge is one use of a tensor, keyed by
    ``(output slot, input slot)``: an operand that is used twice is two edges.

    Parameters
    ----------
    name : str
        Name of the model, subgraph or function.
    parent : Graph, optional
        The graph whose tensors a body may read.

    Attributes
    ----------
    assumed : frozenset of str
        The user's assumptions (``--assume``) that were used.
    producer_version : str or None
        The version of the framework that wrote the model, where the file says so.
    """

    def __init__(self, name: str, parent: Graph | None = None) -> None:
        self.name = name
        self.parent = parent
        self.producer_version: str | None = None
        self.tensors: dict[str, TensorInfo] = {}
        self.inputs: tuple[str, ...] = ()
        self.outputs: tuple[str, ...] = ()
        self.nested: dict[str, dict[str, Graph]] = {}
        self.assumed: frozenset[str] = frozenset()
        self._ops: dict[str, Op] = {}
        self._producer: dict[str, tuple[str, int]] = {}
        self._order: tuple[Op, ...] | None = None
        self._network: nx.MultiDiGraph[str] | None = None

    @property
    def network(self) -> nx.MultiDiGraph[str]:
        """The operators and uses as a networkx graph, made when it is first asked for."""
        if self._network is None:
            import networkx

            network: nx.MultiDiGraph[str] = networkx.MultiDiGraph()
            for name, op in self._ops.items():
                network.add_node(name, op=op)
            for op in self._ops.values():
                for slot, tensor in enumerate(op.inputs):
                    if tensor in self._producer:
                        source, out_slot = self._producer[tensor]
                        network.add_edge(source, op.name, key=(out_slot, slot), tensor=tensor)
            self._network = network
        return self._network

    def add(self, op: Op) -> None:
        """Add an operator whose name and output tensors are new to the graph.

        Raises
        ------
        ValueError
            If the name or an output tensor is taken.
        """
        taken = [name for name in op.outputs if name and name in self._producer]
        if op.name in self._ops or taken:
            raise ValueError(f"'{op.name}' or its output {taken} is defined twice")
        self._ops[op.name] = op
        for slot, tensor in enumerate(op.outputs):
            if tensor:
                self._producer[tensor] = (op.name, slot)
        self._order = self._network = None

    def nest(self, op_name: str, label: str, graph: Graph) -> None:
        """Attach a nested graph (a body, function call or inner model) to an operator."""
        self.nested.setdefault(op_name, {})[label] = graph

    def op(self, name: str) -> Op:
        """Return an operator by name."""
        return self._ops[name]

    def ops(self) -> tuple[Op, ...]:
        """Return all operators, topologically sorted; ties keep the document's order.

        Raises
        ------
        CycleError
            If operators depend on each other in a circle.
        """
        if self._order is None:
            listed = sorted(self._ops.values(), key=attrgetter("position"))
            self._order = tuple(listed) if self._sorted(listed) else self._sort()
        return self._order

    def _sorted(self, listed: Sequence[Op]) -> bool:
        """Tell whether a list has every operator behind those whose results it reads."""
        place = {op.name: index for index, op in enumerate(listed)}
        producer = self._producer
        return all(
            place[producer[tensor][0]] < index
            for index, op in enumerate(listed)
            for tensor in op.inputs
            if tensor in producer
        )

    def _sort(self) -> tuple[Op, ...]:
        import networkx

        def position(name: str) -> int:
            return self._ops[name].position

        try:
            names = list(networkx.lexicographical_topological_sort(self.network, key=position))
        except networkx.NetworkXUnfeasible as error:
            raise CycleError("its nodes form a cycle") from error
        return tuple(self._ops[name] for name in names)

    def producer(self, tensor: str) -> Op | None:
        """Return the operator that makes a tensor; None for inputs and weights."""
        found = self._producer.get(tensor)
        return self._ops[found[0]] if found else None

    def uses(self, op: Op) -> Iterator[tuple[Op, int, int]]:
        """Yield ``(consumer, output slot, input slot)`` of every use of an op's outputs."""
        edges = self.network.out_edges(op.name, keys=True)
        ordered = sorted(edges, key=lambda edge: (self.op(edge[1]).position, edge[2]))
        for _, target, (out_slot, in_slot) in ordered:
            yield self.op(target), out_slot, in_slot

    def tensor(self, name: str) -> TensorInfo:
        """Return what is known of a tensor, here or in an enclosing graph."""
        if name in self.tensors:
            return self.tensors[name]
        return self.parent.tensor(name) if self.parent else TensorInfo(shape=None)

    def makes(self, name: str) -> bool:
        """Tell whether the graph, or one that encloses it, provides a tensor."""
        if name in self._producer or name in self.inputs:
            return True
        if name in self.tensors and self.tensors[name].constant:
            return True
        return self.parent is not None and self.parent.makes(name)
