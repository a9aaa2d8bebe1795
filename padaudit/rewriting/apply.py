"""Making the edits of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from padaudit.formats.document import Document
from padaudit.formats.guard import at_node
from padaudit.ir.graph import Graph
from padaudit.rewriting.edit import Applied, Plan
from padaudit.rewriting.strategies import KERAS_STRATEGIES, ONNX_STRATEGIES

if TYPE_CHECKING:
    from padaudit.formats.onnx.document import OnnxDocument
    from padaudit.ir.tensor import TensorInfo


def apply_plan(
    document: Document,
    plan: Plan,
    graph: Graph | None = None,
    frozen: Mapping[str, TensorInfo] | None = None,
) -> Applied:
    """Return the document with all edits of a plan made.

    Parameters
    ----------
    document : Document
        The model's definition; it is not changed.
    plan : Plan
        What to do.
    graph : Graph, optional
        The model's graph; needed where functions are called that hold edited nodes.
    frozen : Mapping, optional
        Types to write into the model's inputs, by name (ONNX).
    """
    if not plan.edits and not frozen:
        return Applied(document)
    if document.format == "onnx":
        return _apply_onnx(document, plan, graph, frozen or {})  # type: ignore[arg-type]
    (name,) = {edit.strategy for edit in plan.edits}
    return KERAS_STRATEGIES[name].apply(document, plan.edits)


def _apply_onnx(
    document: OnnxDocument, plan: Plan, graph: Graph | None, frozen: Mapping[str, TensorInfo]
) -> Applied:
    from padaudit.formats.onnx.edit import GraphEditor
    from padaudit.formats.onnx.shapes import retyped
    from padaudit.rewriting.functions import function_copies

    editor = GraphEditor(document)
    copies = function_copies(editor, graph, plan.edits) if graph is not None else {}
    created: dict[str, str] = {}
    done: dict[object, str | None] = {}
    for edit in plan.edits:
        copy = copies.get(id(edit.site.op), "")
        place = (copy, edit.site.op.origin)
        if place not in done:
            editor.in_copy(copy)
            with at_node(edit.site.id):
                done[place] = ONNX_STRATEGIES[edit.strategy].edit(editor, edit)
        name = done[place]
        if name:
            created[edit.site.id] = name
    for index, value in enumerate(document.model.graph.input):
        if value.name in frozen:
            editor.set_input(index, retyped(value, frozen[value.name]))
    return Applied(editor.result(), created)
