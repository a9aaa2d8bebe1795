"""What a rewrite of an ONNX model has to leave alone: everything but the padding of its sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.rewriting.edit import Edit, Plan


def stray_change(before: Graph, after: Graph, plan: Plan) -> str | None:
    """Return what a rewrite changed that it was not to change, one clause; or None.

    Operators are the same where they make the same tensors. Those that were planned may read
    their data through a new Pad and give their results through new Slices. New operators may
    only make tensors that were not there.

    Parameters
    ----------
    before, after : Graph
        The model, and the written one.
    plan : Plan
        What was to be done.
    """
    planned = {id(edit.site.op): edit for edit in plan.edits}
    folded = frozenset(id(edit.folded) for edit in plan.edits if edit.folded is not None)
    return next(_strays(before, after, _Wanted(planned, folded)), None)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """By ``id(op)``, what was to be done to operators, and which Pads were to go."""

    planned: Mapping[int, Edit]
    folded: frozenset[int]


def _strays(before: Graph, after: Graph, wanted: _Wanted) -> Iterator[str]:
    if before.outputs != after.outputs or before.inputs != after.inputs:
        yield f"'{before.name}' has other inputs or outputs"
    for op in before.ops():
        if id(op) in wanted.folded or not any(op.outputs):
            continue
        edit = wanted.planned.get(id(op))
        found = _maker(op, after, edit is not None)
        if found is None:
            yield f"'{op.name}' is gone"
        elif edit is None:
            yield from _changed(op, found, before, after)
        elif not _reads_the_same(op, found, edit, before, after):
            yield f"'{op.name}' reads other data"
        if found is not None:
            yield from _nested(op, found, (before, after), wanted)


def _nested(op: Op, found: Op, graphs: tuple[Graph, Graph], wanted: _Wanted) -> Iterator[str]:
    before, after = (
        graph.nested.get(o.name, {}) for graph, o in zip(graphs, (op, found), strict=True)
    )
    if before.keys() != after.keys():
        yield f"'{op.name}' holds something else"
    for label, inner in before.items():
        if label in after:
            yield from _strays(inner, after[label], wanted)


def _maker(op: Op, after: Graph, planned: bool) -> Op | None:
    """Return what makes an operator's results, behind the Slices that were put there."""
    makers = [after.producer(name) for name in op.outputs if name]
    first = makers[0]
    if planned and first is not None and first.op_type == "Slice" != op.op_type:
        makers = [after.producer(maker.inputs[0]) if maker else None for maker in makers]
    same = all(maker is makers[0] for maker in makers)
    return makers[0] if same else None


def _changed(op: Op, found: Op, before: Graph, after: Graph) -> Iterator[str]:
    """Say what of an operator is other than it was, though it was not planned."""
    call = "" in before.nested.get(op.name, {}) and "" in after.nested.get(found.name, {})
    kind = op.domain, None if call else op.op_type
    if kind != (found.domain, None if call else found.op_type):
        yield f"'{op.name}' is another operator"
    if op.attributes != found.attributes:
        yield f"'{op.name}' has other attributes"
    if op.inputs != found.inputs or op.outputs != found.outputs:
        yield f"'{op.name}' reads or makes other tensors"


def _reads_the_same(op: Op, found: Op, edit: Edit, before: Graph, after: Graph) -> bool:
    """Tell whether the data of a planned operator comes from where it came from."""
    wanted = edit.folded.inputs[0] if edit.folded is not None else op.inputs[0]
    name = found.inputs[0]
    pad = after.producer(name)
    new = pad is not None and pad.op_type == "Pad" and before.producer(name) is None
    return wanted == (pad.inputs[0] if pad is not None and new else name)
