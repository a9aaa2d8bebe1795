"""The user's ``--assume``: the output shapes of layers that only their own code knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from padaudit.errors import UsageError
from padaudit.ir.dims import Open, Shape

SAME: Final = "same"
Assumed = tuple[int | None, ...] | Literal["same"]
_MAX_SIZE: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Output shapes by the name or class of a layer.

    Parameters
    ----------
    shapes : Mapping
        ``same`` (the shape of the first input), or the sizes behind the batch axis; None
        leaves an axis open.
    standing : frozenset of str
        Those that stand in the configuration, and so need not match in every run.
    """

    shapes: Mapping[str, Assumed] = field(default_factory=dict)
    standing: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.shapes)

    def of(self, path: str, name: str, class_name: str) -> str | None:
        """Return the key that means a layer: its path, its name or its class, in that order."""
        return next((key for key in (path, name, class_name) if key in self.shapes), None)

    def shape(self, key: str, first_input: Shape | None) -> Shape | None:
        """Return the shape that is assumed under a key; None where that is an unknown input's."""
        assumed = self.shapes[key]
        if isinstance(assumed, str):
            return first_input
        sizes = tuple(Open() if size is None else size for size in assumed)
        return (first_input[0] if first_input else Open(), *sizes)

    def require(self, matched: Iterable[str], where: str) -> None:
        """Refuse assumptions that no layer matched.

        Raises
        ------
        UsageError
            If there is one.
        """
        unused = sorted(set(self.shapes) - set(matched) - self.standing)
        if unused:
            raise UsageError(
                f"{where}: no layer has the name or class '{unused[0]}' that --assume speaks of; "
                "the message of PAD001 names the layers that stop the inference"
            )


def parse_assumptions(options: Sequence[str]) -> Assumptions:
    """Read ``LAYER=same`` and ``LAYER=56x56x64`` options.

    Raises
    ------
    UsageError
        If an option is neither, or names a layer twice.

    >>> parse_assumptions(["crop=56x?x64", "Scale=same"]).shapes
    {'crop': (56, None, 64), 'Scale': 'same'}
    """
    shapes: dict[str, Assumed] = {}
    for option in options:
        name, equals, shape = option.rpartition("=")
        if not equals or not name:
            raise UsageError(f"--assume {option}: write LAYER=same or LAYER=56x56x64")
        if name in shapes:
            raise UsageError(f"--assume names '{name}' twice")
        shapes[name] = parse_assumed(shape, f"--assume {option}")
    return Assumptions(shapes)


def parse_assumed(text: str, option: str) -> Assumed:
    """Read one assumed shape; ``option`` is what a message calls it.

    Raises
    ------
    UsageError
        If it is no shape.
    """
    text = text.strip()
    if text == SAME:
        return SAME
    return tuple(_size(part.strip(), option) for part in text.split("x"))


def _size(text: str, option: str) -> int | None:
    if text == "?":
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) < _MAX_SIZE:
        raise UsageError(
            f"{option}: '{text[:40]}' is not a size; write same, or the sizes behind the batch "
            "axis such as 56x56x64 (? leaves one open)"
        )
    return int(text)
