"""The pattern language of ``keras.ops.rearrange`` (that of einops)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from padaudit.formats.keras.shapes.arrays import divided, product
from padaudit.formats.keras.shapes.rule import ShapeUnknown, integer
from padaudit.ir.dims import Dim, Shape, known

_AXES: Final = re.compile(r"\w+|\([^()]*\)")


def rearranged(shape: Shape, pattern: Any, lengths: Mapping[str, Any]) -> Shape:
    """Return the shape after a pattern such as ``b (h p) w c -> b h (p w c)``.

    Parameters
    ----------
    shape : Shape
        The tensor's shape.
    pattern : str
        Axes before and after ``->``; parentheses join axes.
    lengths : Mapping
        Sizes of axes that stand in parentheses before the arrow.
    """
    before, arrow, after = str(pattern).partition("->")
    groups = _AXES.findall(before)
    if not arrow or len(groups) != len(shape):
        raise ShapeUnknown("its pattern does not fit its input")
    sizes: dict[str, Dim] = {}
    for group, size in zip(groups, shape, strict=True):
        sizes |= _parts(group.strip("()").split(), size, lengths)
    return tuple(
        product([sizes[name] for name in group.strip("()").split()])
        for group in _AXES.findall(after)
    )


def _parts(names: Sequence[str], size: Dim, lengths: Mapping[str, Any]) -> dict[str, Dim]:
    """Return the sizes of the axes that one axis is made of; one of them may be unstated."""
    given: dict[str, Dim] = {
        name: integer(lengths[name]) for name in names if name in lengths and len(names) > 1
    }
    left = [name for name in names if name not in given]
    if len(left) > 1:
        raise ShapeUnknown(f"its pattern leaves the sizes of {', '.join(left)} open")
    stated = product(list(given.values()))
    if left and isinstance(stated, int):
        given[left[0]] = divided(size, stated) if known((size,)) or stated != 1 else size
    return given
