"""What a rewrite of a Keras file has to leave alone: all but the padding of the planned layers.

The definition is compared record by record, the wiring in the graphs that are read from both
files (new layers are looked through), and the weights by their SHA-256. For a file that was
mended (``--modernize``) the definition is compared with the mended one, in which layers may have
other names; its weights are then compared as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from padaudit.formats.keras.config import Path as Place
from padaudit.formats.keras.dialect import padding_key
from padaudit.ir.graph import Graph
from padaudit.verification.stored_weights import stray_weight

if TYPE_CHECKING:
    from padaudit.rewriting.edit import Plan
    from padaudit.rewriting.run import Loaded

Record = Mapping[str, Any]
_INPUT_SHAPES: Final = frozenset({"batch_input_shape", "input_shape", "batch_shape"})
"""What the first layer of a Sequential model hands to a new one in front of it."""
_WIRES: Final = frozenset({"inbound_nodes", "input_layers", "output_layers"})
_ONE_REFERENCE: Final = 3
_NEW: Final = ("ZeroPadding", "Cropping", "SamePadding", "Pad")
"""How the classes of layers begin that a rewrite puts in."""


def stray_keras_change(model: Loaded, written: Loaded, plan: Plan) -> str | None:
    """Return what a rewrite changed that it was not to change, one clause; or None.

    Parameters
    ----------
    model, written : Loaded
        The model, and the written file as it was read again.
    plan : Plan
        What was to be done.
    """
    before: Any = model.document
    after: Any = written.document
    planned = frozenset(edit.site.op.origin.path for edit in plan.edits)
    return (
        next(_record(before.config, after.config, (), planned), None)
        or next(_wiring(model.graph, written.graph), None)
        or stray_weight(before, after)
    )


def _record(before: Record, after: Record, at: Place, planned: frozenset[Place]) -> Iterator[str]:
    """Yield what is other in the record of a model or layer."""
    holds = any(path[: len(at)] == at for path in planned)
    for key in dict.fromkeys((*before, *after)):
        if key == "config" and holds:
            yield from _config(before, after, at, planned)
        elif key == "build_config" and holds and at:
            continue  # the shape that a padded layer is built for grows
        elif _text(key, before) != _text(key, after):
            yield f"'{_name(before)}' has another {key}" if at else f"the model has another {key}"


def _config(before: Record, after: Record, at: Place, planned: frozenset[Place]) -> Iterator[str]:
    old, new, name = before["config"], after["config"], _name(before)
    place: Place = (*at, "config")
    if isinstance(old, list):
        yield from _layers(old, new, place, planned)
        return
    for key in dict.fromkeys((*old, *new)):
        inner: Place = (*place, key)
        if key == "layers":
            yield from _layers(old.get(key, []), new.get(key, []), inner, planned)
        elif any(path[: len(inner)] == inner for path in planned):
            yield from _record(old[key], new.get(key, {}), inner, planned)
        elif at in planned and key == padding_key(old):
            if new.get(key) != "valid":
                yield f"'{name}' has another {key} than 'valid'"
        elif key in _INPUT_SHAPES and key not in new:
            continue
        elif _text(key, old) != _text(key, new):
            yield f"'{name}' has another {key}"


def _layers(
    old: Sequence[Record], new: Sequence[Record], at: Place, planned: frozenset[Place]
) -> Iterator[str]:
    found = {_name(record): record for record in new}
    names = [_name(record) for record in old]
    for index, (name, record) in enumerate(zip(names, old, strict=True)):
        if name not in found:
            yield f"'{name}' is gone"
        else:
            yield from _record(record, found[name], (*at, index), planned)
    if [name for name in found if name in names] != names:
        yield "the layers stand in another order"
    for name, record in found.items():
        if name not in names and not _pads(record):
            yield f"'{name}' is new, and neither pads nor crops"


def _pads(record: Record) -> bool:
    """Tell whether a layer, or the one in its wrapper, is of a kind that a rewrite puts in."""
    if record.get("class_name") == "TimeDistributed":
        return _pads(record["config"]["layer"])
    return str(record.get("class_name")).rpartition(">")[2].startswith(_NEW)


def _name(record: Record) -> str:
    config = record.get("config")
    inner = config.get("name") if isinstance(config, Mapping) else None
    return str(record.get("name") or inner or record.get("class_name"))


def _text(key: str, record: Record) -> str:
    value = record.get(key, "absent")
    return json.dumps(_unwired(value) if key in _WIRES else value, sort_keys=True, default=str)


def _unwired(value: Any) -> Any:
    """Return calls without the tensors that they read, which `_wiring` compares."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            return "a tensor"
        return {key: _unwired(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    head = value[:_ONE_REFERENCE]
    if [type(item) for item in head] == [str, int, int]:
        return ["a tensor", *map(_unwired, value[_ONE_REFERENCE:])]
    return [_unwired(item) for item in value]


def _wiring(before: Graph, after: Graph) -> Iterator[str]:
    """Yield the operators that read something else, new layers looked through."""
    there = {op.name: op for op in after.ops()}
    known = {op.name for op in before.ops()}
    # Keras 1 names the input of a Sequential model after its first layer, which may be new.
    inputs = dict(zip(after.inputs, before.inputs, strict=False))

    def read(names: Sequence[str]) -> tuple[str, ...]:
        sources = (_source(after, name, known) for name in names)
        return tuple(inputs.get(name, name) for name in sources)

    for op in before.ops():
        found = there.get(op.name)
        if found is None or read(found.inputs) != op.inputs:
            yield f"'{op.name}' {'reads something else' if found else 'is gone'}"
            continue
        inside = after.nested.get(op.name, {})
        for label, inner in before.nested.get(op.name, {}).items():
            if label in inside:
                yield from _wiring(inner, inside[label])
    if read(after.outputs) != before.outputs or len(after.inputs) != len(before.inputs):
        yield f"'{before.name}' has other inputs or outputs"


def _source(graph: Graph, tensor: str, known: set[str]) -> str:
    while (op := graph.producer(tensor)) is not None and op.name not in known:
        tensor = op.inputs[0]
    return tensor
