"""Local functions whose calls need different padding: one copy per variant.

A function stays as it is for the calls that want its first variant; every further variant
becomes a copy of the function, which the other calls are directed to. Only where functions
call functions do variants nest.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from padaudit.formats.onnx.document import NodeOrigin
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.rewriting.edit import Edit

Variant = tuple[Hashable, ...]


@dataclass(slots=True)
class _Function:
    """What the calls of one function want of it, and what its variants are called."""

    names: dict[Variant, str] = field(default_factory=dict)


def function_copies(editor: GraphEditor, graph: Graph, edits: Sequence[Edit]) -> dict[int, str]:
    """Find the copies that a plan needs, and direct the calls to them.

    Parameters
    ----------
    editor : GraphEditor
        Records which function each call is directed to.
    graph : Graph
        The model's graph.
    edits : sequence of Edit
        What is to be done at the sites.

    Returns
    -------
    dict
        By ``id(op)`` of the edited sites in functions, the name of the copy that holds
        them; ``""`` for the function itself.
    """
    if not editor.model.functions:
        return {}
    wanted = {id(edit.site.op): edit for edit in edits}
    functions: dict[int, _Function] = {}
    for _, inner in _calls(graph):
        index = _function_index(inner)
        if index is not None:
            known = functions.setdefault(index, _Function()).names
            variant = _variant(inner, wanted)
            if variant not in known:
                known[variant] = _copy_name(editor, index, known.values())
    copies: dict[int, str] = {}
    _direct(_Directions(editor, wanted, functions, copies), graph, "")
    return copies


@dataclass(frozen=True, slots=True)
class _Directions:
    editor: GraphEditor
    wanted: Mapping[int, Edit]
    functions: Mapping[int, _Function]
    copies: dict[int, str]


def _direct(how: _Directions, graph: Graph, copy: str) -> None:
    """Walk a graph that stands in ``copy``; settle its sites and calls."""
    for op in graph.ops():
        if id(op) in how.wanted:
            how.copies[id(op)] = copy
        for label, inner in graph.nested.get(op.name, {}).items():
            if label:
                _direct(how, inner, copy)
            else:
                _direct(how, inner, _call(how, op, inner, copy))


def _call(how: _Directions, op: Op, inner: Graph, copy: str) -> str:
    """Direct one call to the copy of the function that it wants; return that copy's name."""
    index = _function_index(inner)
    if index is None:
        return ""
    names = how.functions[index].names
    target = names[_variant(inner, how.wanted)]
    if len(names) > 1:
        # Its name may be one that padaudit made of its op_type: it is the site's id, and stays.
        how.editor.in_copy(copy)
        node = how.editor.node(op.origin)
        node.op_type, node.name = target or op.op_type, op.name
    return target


def _calls(graph: Graph) -> Iterator[tuple[Op, Graph]]:
    for op in graph.ops():
        for label, inner in graph.nested.get(op.name, {}).items():
            if not label:
                yield op, inner
            yield from _calls(inner)


def _variant(graph: Graph, wanted: Mapping[int, Edit]) -> Variant:
    """Return what is done in a function's body, as a key."""
    found: list[Hashable] = []
    for op in graph.ops():
        edit = wanted.get(id(op))
        origin: NodeOrigin = op.origin
        if edit is not None:
            found.append((origin, *_form(edit)))
        for label, inner in graph.nested.get(op.name, {}).items():
            found.append((origin, label, _variant(inner, wanted)))
    return tuple(found)


def _form(edit: Edit) -> Variant:
    """Return all that what an edit writes depends on.

    Amounts that the graph computes, and what becomes of ``ceil_mode``, depend on window and size;
    a sliced pool keeps the amounts of axes whose size is fixed.
    """
    site = edit.site
    sliced = edit.strategy == "onnx_sliced_pool"
    by_window = edit.pads is None or bool(site.op.attributes.get("ceil_mode"))
    return (
        edit.strategy,
        edit.pads,
        site.appended,
        site.padding,
        site.dtype,
        site.spatial_axes,
        (site.window, site.amounts if sliced else site.pads) if by_window else None,
    )


def _function_index(inner: Graph) -> int | None:
    first = next(iter(inner.ops()), None)
    if first is None:
        return None
    kind, *where = first.origin.steps[0]
    return int(where[0]) if kind == "function" else None


def _copy_name(editor: GraphEditor, index: int, given: Collection[str]) -> str:
    """Return a name for a function's next variant and have the copy made; the first has none."""
    if not given:
        return ""
    name = editor.model.functions[index].name
    taken = {function.name for function in editor.model.functions} | set(given)
    free = next(text for n in count(2) if (text := f"{name}_{n}") not in taken)
    editor.copy_function(index, free)
    return free
