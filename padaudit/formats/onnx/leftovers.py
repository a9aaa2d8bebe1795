"""Constants that nothing reads any more when the nodes that read them are gone.

onnxruntime warns of each such initializer whenever it loads the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from padaudit.formats.onnx.document import Container, bodies, container_at
from padaudit.formats.onnx.locate import Steps
from padaudit.formats.onnx.patches import Changes
from padaudit.formats.onnx.protos import GraphProto, ModelProto


def add_leftovers(model: ModelProto, changes: Changes) -> None:
    """Note the initializers for removal that only removed nodes have read.

    Parameters
    ----------
    model : ModelProto
        The model before the changes.
    changes : Changes
        What happens in it; its ``dropped`` grows.
    """
    candidates = {(item.steps, name) for item in changes.removed for name in item.node.input}
    if not candidates:
        return
    read = _reads(model, changes)
    for steps, name in candidates:
        if name and not read[name] and _is_plain_initializer(model, steps, name):
            changes.dropped.setdefault(steps, set()).add(name)


def containers(model: ModelProto) -> Iterator[Container]:
    """Yield the graph, the functions, and all bodies in them."""
    pending: list[Container] = [model.graph, *model.functions]
    while pending:
        container = pending.pop()
        yield container
        pending += [body for node in container.node for _, body in bodies(node)]


def _reads(model: ModelProto, changes: Changes) -> Counter[str]:
    """Count the uses of each name, wherever it stands, after the changes."""
    read: Counter[str] = Counter()
    for container in containers(model):
        for node in container.node:
            read.update(node.input)
        read.update(_results(container))
    for change in changes.nodes.values():
        read.subtract(change.before.input)
        read.update(change.after.input)
    for origin in changes.removed:
        read.subtract(origin.node.input)
    for nodes in changes.ahead.values():
        for node in nodes:
            read.update(node.input)
    return read


def _results(container: Container) -> Iterable[str]:
    if isinstance(container, GraphProto):
        return [value.name for value in container.output]
    return list(container.output)


def _is_plain_initializer(model: ModelProto, steps: Steps, name: str) -> bool:
    """Tell whether a name is that of an initializer which is no input as well."""
    container = container_at(model, steps)
    return (
        isinstance(container, GraphProto)
        and any(tensor.name == name for tensor in container.initializer)
        and all(value.name != name for value in container.input)
    )
