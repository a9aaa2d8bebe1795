"""The order in which Keras restores weights: that of a model's layers after loading.

Keras matches stored weights to layers by position (``.h5``) or by class and position
(``.keras``). A functional model orders its layers by their depth behind the outputs, so a
layer that is inserted in one branch can move the layers of that branch before those of
another. Whoever edits the graph must reorder the stored weights with it.

Source: ``keras.src.ops.function.map_graph`` (Keras 3) and
``tf_keras.src.engine.functional._map_graph_network`` (Keras 2), which agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from padaudit.formats.keras.calls import Node
from padaudit.formats.keras.config import ModelSpec, call_offsets, output_offsets, ref_node


def layer_order(spec: ModelSpec) -> tuple[str, ...]:
    """Return the names of a model's layers in the order in which Keras holds them.

    Parameters
    ----------
    spec : ModelSpec
        The model; the order of a Sequential is that of its config.
    """
    if spec.sequential:
        return tuple(layer.name for layer in spec.layers if layer.path)
    parents = _parents(spec)
    finished, first_seen = _traverse(spec, parents)
    node_depth: dict[Node, int] = {}
    layer_depth: dict[str, int] = {}
    for node in reversed(finished):
        depth = max(node_depth.setdefault(node, 0), layer_depth.get(node[0], 0))
        layer_depth[node[0]] = node_depth[node] = depth
        for parent in parents[node]:
            node_depth[parent] = max(depth + 1, node_depth.get(parent, 0))
    for ref in spec.inputs:
        layer_depth.setdefault(ref.layer, 0)
        first_seen.setdefault(ref.layer, -1)
    return tuple(sorted(layer_depth, key=lambda name: (-layer_depth[name], first_seen[name])))


def _parents(spec: ModelSpec) -> Mapping[Node, tuple[Node, ...]]:
    offsets = call_offsets(spec)
    parents: dict[Node, tuple[Node, ...]] = {ref_node(ref, offsets): () for ref in spec.inputs}
    for layer in spec.layers:
        for index, call in enumerate(layer.calls):
            parents[layer.name, index] = tuple(ref_node(ref, offsets) for ref in call.inputs)
    return parents


def _traverse(
    spec: ModelSpec, parents: Mapping[Node, tuple[Node, ...]]
) -> tuple[list[Node], dict[str, int]]:
    """Depth first from the outputs: nodes in the order they finish, layers as first seen."""
    offsets = output_offsets(spec)
    finished: dict[Node, None] = {}
    first_seen: dict[str, int] = {}
    for output in spec.outputs:
        stack: list[tuple[Node, Iterator[Node]]] = []
        _enter(ref_node(output, offsets), parents, finished, first_seen, stack)
        while stack:
            node, pending = stack[-1]
            following = next(pending, None)
            if following is None:
                stack.pop()
                finished[node] = None
            else:
                _enter(following, parents, finished, first_seen, stack)
    return list(finished), first_seen


def _enter(
    node: Node,
    parents: Mapping[Node, tuple[Node, ...]],
    finished: Mapping[Node, None],
    first_seen: dict[str, int],
    stack: list[tuple[Node, Iterator[Node]]],
) -> None:
    if node not in finished:
        first_seen.setdefault(node[0], len(first_seen))
        stack.append((node, iter(parents.get(node, ()))))
