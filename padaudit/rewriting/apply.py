"""Making the edits of a plan."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from padaudit.formats.document import Document
from padaudit.formats.guard import at_node
from padaudit.ir.graph import Graph
from padaudit.rewriting.edit import Applied, Plan
from padaudit.rewriting.strategies import KERAS_STRATEGIES, ONNX_STRATEGIES

if TYPE_CHECKING:
    from padaudit.formats.keras.container import KerasDocument
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
    return _apply_keras(document, plan)  # type: ignore[arg-type]


def _apply_keras(document: KerasDocument, plan: Plan) -> Applied:
    from padaudit.formats.keras.dialect import padding_key
    from padaudit.formats.keras.edit import Insertion, insert, record_at
    from padaudit.rewriting.strategies.keras_case import host_of

    config = copy.deepcopy(document.config)
    insertions: dict[object, Insertion] = {}
    for edit in plan.edits:
        settings = record_at(config, edit.site.op.origin.path)["config"]
        settings[padding_key(settings)] = "valid"
    for edit in plan.edits:
        place = edit.place
        if place is not None and place.origin not in insertions:
            host = host_of(document, config, edit.site, place)
            item = KERAS_STRATEGIES[edit.strategy].insertion(edit, place, host)
            if item is not None:
                insertions[place.origin] = item
    names = insert(config, tuple(insertions.values()))
    created = {
        edit.site.id: names[insertions[edit.place.origin]]
        for edit in plan.edits
        if edit.place is not None and edit.place.origin in insertions
    }
    return Applied(replace(document, config=config), created)


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
