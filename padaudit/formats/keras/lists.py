"""Lists of names in the attributes of HDF5 groups, which Keras splits where they are long."""

from __future__ import annotations

from typing import Any


def list_attribute(group: Any, attribute: str) -> list[Any]:
    """Return the items of a list; empty if there is none."""
    parts = list_parts(group, attribute)
    return [value for part in parts for value in group.attrs[part]]


def list_parts(group: Any, attribute: str) -> list[str]:
    """Return the attributes over which a list is split: one, or numbered ones."""
    if attribute in group.attrs:
        return [attribute]
    names: list[str] = []
    while f"{attribute}{len(names)}" in group.attrs:
        names.append(f"{attribute}{len(names)}")
    return names


def write_list(group: Any, attribute: str, values: list[Any]) -> None:
    """Write a list of the old length back into the old parts."""
    import numpy as np

    for part in list_parts(group, attribute):
        old = group.attrs[part]
        taken, values = values[: len(old)], values[len(old) :]
        if old.dtype.kind == "S":
            encoded = [text(value).encode() for value in taken]
            width = max([old.dtype.itemsize, *map(len, encoded)])
            group.attrs[part] = np.array(encoded, f"S{width}")
        else:
            old[:] = taken
            group.attrs.modify(part, old)


def text(value: Any) -> str:
    """Return an item of a list as text."""
    return value.decode() if isinstance(value, bytes) else str(value)
