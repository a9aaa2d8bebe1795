"""A translated Keras model: its convolutions found again, renamed, and given their Pads.

tf2onnx folds ZeroPadding layers into ``pads`` attributes and names convolutions after
whatever was fused into them. Here each site's node gets the site's name back, and in style
``pad`` its amounts stand in a Pad node of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from padaudit.audit.sites import find_sites
from padaudit.formats.onnx.document import OnnxDocument
from padaudit.formats.onnx.edit import GraphEditor
from padaudit.formats.onnx.padding import clear_padding, write_pads
from padaudit.formats.onnx.read import read_graph
from padaudit.formats.onnx.write import RewrittenOnnx
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Family, PaddingSite, Window
from padaudit.padding.amounts import AxisPads
from padaudit.rewriting.edit import Edit, Kept
from padaudit.rewriting.strategies import onnx_pad

_TRANSPARENT = frozenset({"Transpose", "Unsqueeze", "Reshape", "Squeeze", "Identity"})
STRATEGY = "pad_conv"


@dataclass(frozen=True, slots=True)
class Translated:
    """The translated model, and which edits are found in it.

    Parameters
    ----------
    document : OnnxDocument
        The ONNX model with explicit padding.
    edits : tuple of Edit
        The sites that were found, with their amounts as they stand in it.
    kept : tuple of Kept
        Sites that could not be found again, with the reason.
    created : dict
        Name of the Pad node by site id; equal Pads of one tensor are one node.
    """

    document: RewrittenOnnx
    edits: tuple[Edit, ...]
    kept: tuple[Kept, ...]
    created: dict[str, str]


def settle(
    translated: OnnxDocument, edits: Sequence[Edit], layers: Collection[str], style: str
) -> Translated:
    """Find the sites of a Keras model in its translation and make their padding explicit.

    Parameters
    ----------
    translated : OnnxDocument
        What tf2onnx made of the explicit Keras model.
    edits : sequence of Edit
        The edits that made the Keras model explicit.
    layers : collection of str
        Names of all layers of the Keras model.
    style : str
        ``pad`` or ``attrs``.
    """
    graph = read_graph(translated, InputShapes())
    sites = [site for site in find_sites(graph) if site.family is Family.CONV and not site.scope]
    editor = GraphEditor(translated)
    found, kept = [], []
    created: dict[str, str] = {}
    matches = _match(edits, sites, layers)
    for edit in edits:
        node_site = matches.get(edit.site.id)
        if node_site is None:
            kept.append(Kept(edit.site, "its convolution could not be found in the translation"))
            continue
        reason = _place(editor, graph, edit, node_site, style, created)
        if reason:
            kept.append(Kept(edit.site, reason))
        else:
            found.append(edit)
    return Translated(editor.result(), tuple(found), tuple(kept), created)


def _place(
    editor: GraphEditor,
    graph: Graph,
    edit: Edit,
    site: PaddingSite,
    style: str,
    created: dict[str, str],
) -> str | None:
    wanted = _onnx_pads(edit, len(site.spatial_axes))
    node = editor.node(site.op.origin)
    own = site.pads or ()
    if own == wanted:
        node.name = editor.claim(edit.site.id)
        clear_padding(node, site)
        if style == "attrs" and edit.adds_padding:
            write_pads(node, wanted)
        elif edit.adds_padding:
            named = Edit(replace(site, id=edit.site.id), STRATEGY, wanted)
            created[edit.site.id] = onnx_pad.edit(editor, named) or ""
        return None
    pad = _pad_ahead(graph, site.op)
    if pad is None or any(map(any, own)):
        return f"its translation has the pads {own} where {wanted} are right"
    node.name = editor.claim(edit.site.id)
    shared = editor.node(pad.origin)
    if shared.name not in created.values():
        shared.name = editor.claim(f"{edit.site.id}/pad")
    created[edit.site.id] = shared.name
    return None


def _onnx_pads(edit: Edit, rank: int) -> tuple[AxisPads, ...]:
    """A 1-D convolution is translated to a 2-D one of height 1."""
    pads = edit.pads or ()
    return ((0, 0),) * (rank - len(pads)) + pads


def _pad_ahead(graph: Graph, op: Op) -> Op | None:
    """Return the Pad whose output reaches an operator through reordering alone."""
    producer = graph.producer(op.inputs[0])
    while producer is not None and producer.op_type in _TRANSPARENT:
        producer = graph.producer(producer.inputs[0])
    return producer if producer is not None and producer.op_type == "Pad" else None


def _match(
    edits: Sequence[Edit], sites: Sequence[PaddingSite], known: Collection[str]
) -> dict[str, PaddingSite]:
    """Pair sites with nodes: by the layer's name, then by form where that leaves no choice."""
    matches: dict[str, PaddingSite] = {}
    free = list(sites)
    for slot in range(3):
        for edit in edits:
            named = [site for site in free if _is_named(edit.site, site, slot, known)]
            if edit.site.id not in matches and len(named) == 1:
                matches[edit.site.id] = named[0]
                free.remove(named[0])
    rest = [edit for edit in edits if edit.site.id not in matches]
    for members in _grouped(rest, _form_and_pads).values():
        edit = members[0]
        candidates = [
            site
            for site in free
            if _same_form(edit.site, site) and site.pads == _onnx_pads(edit, len(site.spatial_axes))
        ]
        if len(candidates) == len(members):
            for edit, site in zip(members, candidates, strict=True):
                matches[edit.site.id] = site
    return matches


def _is_named(keras: PaddingSite, site: PaddingSite, slot: int, known: Collection[str]) -> bool:
    """Tell whether a node carries the path of a Keras layer.

    Slot 0 is the node's own name, 1 that of its weights, 2 that of its bias: the least
    telling, because equal tensors of different layers are merged into one.
    """
    labels = (site.op.name, *site.op.inputs[1:])
    wanted = [part.split("#")[0] for part in keras.id.split("/")]
    return slot < len(labels) and _same_form(keras, site) and _leads(labels[slot], wanted, known)


def _leads(label: str, wanted: list[str], known: Collection[str]) -> bool:
    """Find the wanted layers, in order, among the parts of a label."""
    parts = iter(_layer_of(part, known) for part in label.replace(":", "/").split("/"))
    return all(name in parts for name in wanted)


def _layer_of(part: str, known: Collection[str]) -> str:
    """Return the layer that a part of a name stands for: TensorFlow numbers repeated names.

    >>> _layer_of("conv_1", {"conv", "conv_1"}), _layer_of("conv_1_2", {"conv", "conv_1"})
    ('conv', 'conv_1')
    """
    bare = re.sub(r"_\d+$", "", part)
    return bare if bare in known else part


def _same_form(keras: PaddingSite, site: PaddingSite) -> bool:
    """Compare windows; a 1-D one is translated to a 2-D one whose first axis means nothing."""
    ours, theirs = keras.window, site.window
    if ours is None or theirs is None or theirs.rank < ours.rank:
        return False
    lifted = theirs.rank - ours.rank
    return set(theirs.kernel_shape[:lifted]) <= {1} and _form(theirs, lifted) == _form(ours, 0)


def _form(window: Window, lifted: int) -> tuple[tuple[int, ...], ...]:
    settings = (window.kernel_shape, window.strides, window.dilations)
    return tuple(values[lifted:] for values in settings)


def _form_and_pads(edit: Edit) -> Hashable:
    return edit.site.window, edit.pads


def _grouped(edits: Iterable[Edit], key: Callable[[Edit], Hashable]) -> dict[Hashable, list[Edit]]:
    groups: dict[Hashable, list[Edit]] = {}
    for edit in edits:
        groups.setdefault(key(edit), []).append(edit)
    return groups
