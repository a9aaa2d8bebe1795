"""Other names for layers: in a model's config, and in the weights of an HDF5 file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from padaudit.formats.keras.lists import list_attribute, text, write_list


def rename_layers(record: dict[str, Any], names: Mapping[str, str]) -> None:
    """Give layers of one model other names, wherever its record speaks of them.

    Parameters
    ----------
    record : dict
        The model's record, in the dialect of Keras 1 or 2; it is changed.
    names : Mapping
        New name by old name.
    """
    config = record["config"]
    for layer in config["layers"]:
        if layer.get("name") in names:
            layer["name"] = names[layer["name"]]
        if isinstance(layer["config"], dict) and layer["config"].get("name") in names:
            layer["config"]["name"] = names[layer["config"]["name"]]
        _rename_references(layer.get("inbound_nodes"), names)
    for key in ("input_layers", "output_layers"):
        _rename_references(config.get(key), names)


def recount_calls(record: dict[str, Any], name: str, *, outputs: bool) -> int:
    """Count the calls of one layer from 0 that were counted from 1.

    Parameters
    ----------
    record : dict
        The record of the model that the layer is in; it is changed.
    name : str
        The layer.
    outputs : bool
        Whether also the outputs of the model are counted so.

    Returns
    -------
    int
        How many references were changed.
    """
    config = record["config"]
    places = [layer.get("inbound_nodes") for layer in config["layers"]]
    if outputs:
        places += [config.get("input_layers"), config.get("output_layers")]
    found = [ref for place in places for ref in _references(place) if ref[0] == name]
    for reference in found:
        reference[1] -= 1
    return len(found)


def rename_weights(file: Any, names: Mapping[str, str]) -> None:
    """Give layers other names in the weights of an open ``.h5`` model.

    Groups and variables are moved, and the lists that name them in order are changed.
    """
    root = file.get("model_weights", file)
    for name in list_attribute(root, "layer_names"):
        _rename_listed(root[text(name)], "weight_names", names)
    _rename_listed(root, "layer_names", names)


def _rename_references(value: Any, names: Mapping[str, str]) -> None:
    for reference in _references(value):
        reference[0] = names.get(reference[0], reference[0])


def _references(value: Any) -> Iterator[list[Any]]:
    """Yield every ``[layer, call, output, ...]`` of Keras 1 and 2 in a value."""
    named = isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str)
    if named and isinstance(value[1], int):
        yield value
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _rename_listed(group: Any, attribute: str, names: Mapping[str, str]) -> None:
    values = [text(value) for value in list_attribute(group, attribute)]
    renamed = [_renamed(value, names) for value in values]
    for old, new in zip(values, renamed, strict=True):
        if old != new and old in group:
            group.move(old, new)
    if renamed != values:
        write_list(group, attribute, renamed)


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """Rename a layer that is a path, or the part of a variable's path that is one.

    >>> _renamed("a/b", {"a/b": "a_b"}), _renamed("m/a/b/kernel:0", {"a/b": "a_b"})
    ('a_b', 'm/a_b/kernel:0')
    """
    framed = f"/{path}/"
    for old in sorted(names, key=len, reverse=True):
        framed = framed.replace(f"/{old}/", f"/{names[old]}/")
    return framed[1:-1]
