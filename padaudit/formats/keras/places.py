"""Where a layer can stand in front of an operator, or behind it: outside of its wrappers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from padaudit.formats.keras.config import Path
from padaudit.formats.keras.read import LayerOrigin
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op

_WRAPPED: Final = frozenset({"layer", "backward_layer"})
_DISTRIBUTED: Final = "TimeDistributed"
_STEP: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """A call in a model's list of layers, and what is in it.

    Parameters
    ----------
    op : Op
        The operator, or the outermost wrapper that holds it.
    graph : Graph
        The model whose layer ``op`` is.
    outer : Place or None
        Where the inner model that holds ``op`` is called.
    frames : int
        How many axes (time steps) the wrappers take off in front of the operator.
    """

    op: Op
    graph: Graph
    outer: Place | None = None
    frames: int = 0

    @property
    def origin(self) -> LayerOrigin:
        """Where the layer's record stands, and which call it is."""
        found: LayerOrigin = self.op.origin
        return found

    @property
    def source(self) -> str:
        """The tensor that ``op`` reads."""
        return self.op.inputs[0]


def in_graph(path: Path) -> bool:
    """Tell whether a record stands in a list of layers or in a wrapper, all the way up.

    >>> in_graph(("config", "layers", 3)), in_graph(("config", "layers", 3, "config", "conv"))
    (True, False)
    >>> in_graph(("config", "layers", 3, "config", "layer", "config", "layers", 1))
    True
    """
    while path:
        if path[0] != "config" or len(path) < _STEP:
            return False
        if path[1] in _WRAPPED:
            path = path[_STEP:]
            continue
        length = _STEP + (path[1] == "layers")
        if len(path) < length or not isinstance(path[length - 1], int):
            return False
        path = path[length:]
    return True


def places(graph: Graph) -> Mapping[int, Place]:
    """Return the place of every operator of a model and its inner models, by ``id(op)``."""
    return {id(op): place for op, place in _visit(graph, None, None)}


def _visit(graph: Graph, outer: Place | None, wrapper: Place | None) -> Iterator[tuple[Op, Place]]:
    for op in graph.ops():
        place = Place(op, graph, outer)
        if wrapper is not None and _wraps(wrapper, op):
            place = wrapper
        yield op, place
        distributed = op.op_type == _DISTRIBUTED
        inside = Place(place.op, place.graph, place.outer, place.frames + distributed)
        for inner in graph.nested.get(op.name, {}).values():
            yield from _visit(inner, place, inside)


def _wraps(wrapper: Place, op: Op) -> bool:
    """Tell whether an operator is the very layer that a wrapper holds."""
    own, held = wrapper.origin.path, op.origin.path
    rest = held[len(own) :]
    return held[: len(own)] == own and len(rest) % 2 == 0 and _steps(rest)


def _steps(rest: tuple[str | int, ...]) -> bool:
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return bool(rest) and all(a == "config" and b in _WRAPPED for a, b in pairs)
