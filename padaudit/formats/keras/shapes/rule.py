"""What a shape rule gets and gives, and the registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from padaudit.ir.dims import Dim, Shape

LAYERS: Final = "keras"
OPERATIONS: Final = "keras.ops"
FUNCTIONS: Final = "tensorflow"
"""The domains: layers, operation nodes of Keras 3, TensorFlow functions in Keras 2 models."""
_LONGEST: Final = 120


class ShapeUnknown(Exception):
    """A rule can't tell a layer's output shape; ``cause`` says why, one clause."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


Value = Dim | tuple[Dim, ...]
"""A known integer, or a list of them: what a tensor of sizes holds."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor among the arguments of a call.

    Parameters
    ----------
    shape : Shape
        Its shape, batch axis first.
    value : Value or None
        What it holds, where that is a size or a list of sizes that is known.
    """

    shape: Shape
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a layer or operation.

    Parameters
    ----------
    class_name : str
        Keras class name without its package; the name of a TensorFlow function.
    config : Mapping
        The layer's config with Keras 2 key names.
    inputs : tuple of Shape
        Shape of every tensor argument, batch axis first.
    arguments : Mapping
        All arguments of the call, by position (``"0"``) or name; `Tensor` stands for a
        tensor.
    domain : str
        Which of `RULES` holds for it.
    """

    class_name: str
    config: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    domain: str = LAYERS

    def setting(self, name: str, position: int | None = None, default: Any = None) -> Any:
        """Return a setting: of the config, or an argument by name or position."""
        for source, key in (
            (self.config, name),
            (self.arguments, name),
            (self.arguments, str(position)),
        ):
            if key in source:
                return source[key]
        return default


ShapeRule = Callable[[LayerCall], tuple[Shape, ...]]
RULES: Final[dict[str, dict[str, ShapeRule]]] = {LAYERS: {}, OPERATIONS: {}, FUNCTIONS: {}}
"""Rule by domain and class name."""


def shape_rule(*class_names: str, domain: str = LAYERS) -> Callable[[ShapeRule], ShapeRule]:
    """Register a rule for layer classes, operations or functions.

    Raises
    ------
    ValueError
        If a class has a rule already.
    """

    def register(rule: ShapeRule) -> ShapeRule:
        for name in class_names:
            if name in RULES[domain]:
                raise ValueError(f"two shape rules for {domain} {name}")
            RULES[domain][name] = rule
        return rule

    return register


operation_rule = partial(shape_rule, domain=OPERATIONS)
function_rule = partial(shape_rule, domain=FUNCTIONS)


def integer(value: Any) -> int:
    """Return a setting that must be an integer.

    Raises
    ------
    ShapeUnknown
        If it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ShapeUnknown(f"{shown(value)} is not an integer")


def shown(value: Any) -> str:
    """Return a value of a config as it can stand in a message."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """Return a setting as one int per axis.

    Raises
    ------
    ShapeUnknown
        If it is neither an int nor a list of ``rank`` ints.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,) * rank
    if isinstance(value, list | tuple) and value:
        values = tuple(map(integer, value)) * (rank if len(value) == 1 else 1)
        if len(values) == rank:
            return values
    raise ShapeUnknown(f"{shown(value)} is not {rank} sizes")


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
