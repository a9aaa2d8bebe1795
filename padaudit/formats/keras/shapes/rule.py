"""What a shape rule gets and gives, and the registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from padaudit.ir.dims import Shape


class ShapeUnknown(Exception):
    """A rule can't tell a layer's output shape; ``cause`` says why, one clause."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a layer.

    Parameters
    ----------
    class_name : str
        Keras class name without its package.
    config : Mapping
        The layer's config with Keras 2 key names.
    inputs : tuple of Shape
        Shape of every tensor argument, batch axis first.
    arguments : Mapping
        The other arguments of the call, by position or name.
    """

    class_name: str
    config: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)


ShapeRule = Callable[[LayerCall], tuple[Shape, ...]]
SHAPE_RULES: Final[dict[str, ShapeRule]] = {}
"""Rule by class name."""


def shape_rule(*class_names: str) -> Callable[[ShapeRule], ShapeRule]:
    """Register a rule for layer classes.

    Raises
    ------
    ValueError
        If a class has a rule already.
    """

    def register(rule: ShapeRule) -> ShapeRule:
        for name in class_names:
            if name in SHAPE_RULES:
                raise ValueError(f"two shape rules for {name}")
            SHAPE_RULES[name] = rule
        return rule

    return register


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """Return a setting as one int per axis.

    Raises
    ------
    ShapeUnknown
        If it is neither an int nor a list of ``rank`` ints.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,) * rank
    if isinstance(value, list | tuple) and all(isinstance(item, int) for item in value):
        values = tuple(value) * rank if len(value) == 1 else tuple(value)
        if len(values) == rank:
            return values
    raise ShapeUnknown(f"{value!r} is not {rank} sizes")


def channels_first(config: Mapping[str, Any]) -> bool:
    """Tell whether the channel axis precedes the spatial ones (absent: it does not)."""
    return config.get("data_format") == "channels_first"


def split(shape: Shape, rank: int, first: bool) -> tuple[Shape, Shape]:
    """Split a shape into its leading axes with the channels, and its spatial axes.

    Raises
    ------
    ShapeUnknown
        If the shape has too few axes.
    """
    if len(shape) < rank + 2:
        raise ShapeUnknown(f"its input has {len(shape)} axes, not {rank + 2}")
    if first:
        return shape[:-rank], shape[-rank:]
    return (*shape[: -rank - 1], shape[-1]), shape[-rank - 1 : -1]


def join(others: Shape, spatial: Shape, first: bool) -> Shape:
    """Undo `split`."""
    return (*others, *spatial) if first else (*others[:-1], *spatial, others[-1])
