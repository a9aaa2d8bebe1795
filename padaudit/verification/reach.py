"""Which branches and bodies of a model its runs came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from padaudit.verification.model_level import Feed, run_each
from padaudit.verification.taps import STACKING, Hop, Mark, tapped

if TYPE_CHECKING:
    from padaudit.ir.graph import Graph
    from padaudit.ir.op import Op
    from padaudit.rewriting.run import Loaded

_SHAPED: Final = frozenset({"Shape", "Size"})
_RANDOM: Final = ("Random", "Bernoulli", "Multinomial")
_HOW: Final = "no input that was tried leads there; give such inputs with --inputs"


@dataclass(frozen=True, slots=True)
class Body:
    """A branch, or what a loop runs.

    Parameters
    ----------
    path : tuple of str
        Names of the operators and bodies around it, its own operator and its label last.
    order : tuple of (int, str)
        The same by number: which of the operators of its graph that hold a body, or call
        a function, and its kind.
    hops : tuple of Hop
        What it is handed outwards through.
    settled : bool
        Whether it follows from no input if it is run.
    """

    path: tuple[str, ...]
    order: tuple[tuple[int, str], ...]
    hops: tuple[Hop, ...]
    settled: bool

    @property
    def name(self) -> str:
        """What it is called, for people."""
        return f"{self.path[-1]} of '{'/'.join(self.path[:-1])}'"

    @property
    def missed(self) -> str:
        """That it was never run, one clause."""
        stacks = self.hops[-1].stacks
        return f"{self.name} {'made no pass' if stacks else 'was never taken'}"

    def inside(self, other: Body) -> bool:
        """Tell whether it stands in another one."""
        return len(self.path) > len(other.path) and self.path[: len(other.path)] == other.path


@dataclass(frozen=True, slots=True)
class Reach:
    """How often the runs of a model came to its bodies.

    Parameters
    ----------
    bodies : tuple of Body
        All of them whose passes can be counted.
    passes : tuple of int
        How often each was run, on all inputs together.
    ran : tuple of bool
        Per set of inputs, whether the model ran.
    """

    bodies: tuple[Body, ...]
    passes: tuple[int, ...]
    ran: tuple[bool, ...]

    @property
    def missed(self) -> list[Body]:
        """The bodies that inputs may lead to and that none led to, without what is in them."""
        never = [body for body, count in zip(self.bodies, self.passes, strict=True) if not count]
        outer = [body for body in never if not any(body.inside(other) for other in never)]
        return [body for body in outer if not body.settled]

    def notes(self) -> tuple[str, ...]:
        """Return what was not run, one clause each."""
        return tuple(f"{body.missed}: {_HOW}" for body in self.missed)

    def told(self) -> list[dict[str, Any]]:
        """Return the passes for an audit trail."""
        return [
            {"operator": "/".join(body.path[:-1]), "body": body.path[-1], "passes": count}
            for body, count in zip(self.bodies, self.passes, strict=True)
        ]


def bodies_of(graph: Graph) -> tuple[Body, ...]:
    """Return the branches and loop bodies of an ONNX model whose passes can be counted."""
    return tuple(_bodies(graph, Body((), (), (), True)))


def _bodies(graph: Graph, around: Body) -> Iterator[Body]:
    holders = [op for op in graph.ops() if op.name in graph.nested]
    for number, op in enumerate(sorted(holders, key=lambda op: op.position)):
        for label, inner in graph.nested[op.name].items():
            hop = Hop(op, label, _steps(op, label, inner))
            if not hop.inside or not hop.opens:
                continue
            path = (*around.path, op.name, label) if label else (*around.path, op.name)
            order = (*around.order, (number, f"{op.op_type} {label}"))
            body = Body(path, order, (*around.hops, hop), bool(label) and _settled(graph, op))
            if label:
                yield body
            yield from _bodies(inner, body)


def _steps(op: Op, label: str, inner: Graph) -> tuple[Any, ...]:
    if label:
        return (*op.origin.steps, ("body", op.position, label))
    first = next(iter(inner.ops()), None)
    return first.origin.steps if first is not None else ()


def _settled(graph: Graph, op: Op) -> bool:
    """Tell whether the inputs' values do not say what an operator runs."""
    if op.op_type == "Scan":
        return all(_fixed(graph, name) for name in op.inputs)
    deciding = op.inputs[:2] if op.op_type in STACKING else op.inputs[:1]
    return all(_constant(graph, name) for name in deciding if name)


def _constant(graph: Graph, name: str) -> bool:
    """Tell whether a tensor is the same for all inputs."""
    open_names, seen = [name], {name}
    while open_names:
        current = open_names.pop()
        owner: Graph | None = graph
        while owner is not None and not _makes(owner, current):
            owner = owner.parent
        made = owner.producer(current) if owner is not None else None
        if owner is None or (made is None and not _weight(owner, current)):
            return False
        if made is None:
            continue
        if made.name in owner.nested or made.op_type.startswith(_RANDOM):
            return False
        if made.op_type in _SHAPED:
            if not _fixed(owner, made.inputs[0]):
                return False
            continue
        open_names += [item for item in made.inputs if item and item not in seen]
        seen.update(made.inputs)
    return True


def _makes(graph: Graph, name: str) -> bool:
    return _weight(graph, name) or name in graph.inputs or graph.makes(name)


def _weight(graph: Graph, name: str) -> bool:
    return name in graph.tensors and graph.tensors[name].constant


def _fixed(graph: Graph, name: str) -> bool:
    shape = graph.tensor(name).shape
    return shape is not None and all(isinstance(size, int) for size in shape)


def reached(
    model: Loaded, feeds: Sequence[Feed], timeout: float, memory_mb: int | None = None
) -> Reach | None:
    """Count how often the bodies of a model are run; None if it has none.

    Where the model does not run with these counts, nothing counts as run.

    Parameters
    ----------
    model : Loaded
        The model, as it is to be run.
    feeds : sequence of Mapping
        What it was run on.
    timeout : float
        Seconds for one run.
    memory_mb : int, optional
        Memory of a run, in MiB.
    """
    bodies = bodies_of(model.graph) if model.document.format == "onnx" else ()
    if not bodies:
        return None
    document: Any = model.document
    marks = [Mark(body.hops) for body in bodies]
    names = tuple(mark.name for mark in marks)
    try:
        with tapped(document, marks) as path:
            outcomes = run_each(path, feeds, timeout, memory_mb, names)
    except OSError:  # Beside its data, where a model is written, may be no place to write.
        return Reach(bodies, (0,) * len(bodies), (False,) * len(feeds))
    counts = [outcome.outputs[0] for outcome in outcomes if outcome.outputs is not None]
    passes = np.array([[float(value) for value in values] for values in counts])
    total = passes.reshape(-1, len(bodies)).sum(0)
    ran = tuple(outcome.outputs is not None for outcome in outcomes)
    return Reach(bodies, tuple(int(value) for value in total), ran)
