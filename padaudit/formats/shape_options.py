"""The user's ``--input-shape``: sizes that are fixed for an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from padaudit.errors import UsageError
from padaudit.formats.assumptions import Assumptions
from padaudit.ir.dims import Open, Shape
from padaudit.ir.tensor import TensorInfo

ShapeOption = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class InputShapes:
    """What the user says of sizes.

    Parameters
    ----------
    shapes : Mapping
        Shapes by input name, batch axis first; None leaves an axis open. The name ``""``
        stands for the model's only input.
    open_only : bool
        Whether a size that the model states may not be given otherwise.
    assumed : Assumptions
        Output shapes of layers that inference can't see through (Keras).
    engine : str
        ``padaudit``, or ``keras``: Keras itself is asked for shapes, which runs the model's
        own code.
    timeout : float
        Seconds that it may take.
    """

    shapes: Mapping[str, ShapeOption] = field(default_factory=dict)
    open_only: bool = False
    assumed: Assumptions = field(default_factory=Assumptions)
    engine: str = "padaudit"
    timeout: float = 600.0

    def __bool__(self) -> bool:
        return bool(self.shapes)

    def by_name(self, declared: Mapping[str, TensorInfo], where: str) -> dict[str, TensorInfo]:
        """Return the type of each input that the user fixed.

        Parameters
        ----------
        declared : Mapping
            All inputs of the model with their types, in order.
        where : str
            The model, for messages.

        Raises
        ------
        UsageError
            If a name is not an input, no name is given for one of several inputs, or a
            shape has not as many axes as the input, or (`open_only`) contradicts it.
        """
        names = list(declared)
        chosen: dict[str, TensorInfo] = {}
        for name, shape in self.shapes.items():
            if not name and len(names) != 1:
                raise UsageError(
                    f"{where}: the model has {len(names)} inputs ({', '.join(names)}); "
                    "say which with --input-shape NAME=..."
                )
            if name and name not in names:
                raise UsageError(
                    f"{where}: the model has no input '{name}'; its inputs are {', '.join(names)}"
                )
            info = declared[name or names[0]]
            if info.shape is not None and len(info.shape) != len(shape):
                raise UsageError(
                    f"{where}: input '{name or names[0]}' has {len(info.shape)} axes "
                    f"(batch included), --input-shape gives {len(shape)}"
                )
            if self.open_only:
                _refuse_contradiction(where, name or names[0], info.shape or (), shape)
            dims = tuple(Open() if size is None else size for size in shape)
            chosen[name or names[0]] = TensorInfo(dims, info.dtype)
        return chosen


def _refuse_contradiction(where: str, name: str, stated: Shape, given: ShapeOption) -> None:
    for old, new in zip(stated, given, strict=False):
        if isinstance(old, int) and new not in (None, old):
            raise UsageError(
                f"{where}: input '{name}' has the size {old} where --input-shape gives {new}; "
                "it fixes open sizes only, and the model can't be run with another one"
            )


def parse_input_shapes(options: Sequence[str]) -> InputShapes:
    """Read ``[NAME=]1,224,224,3`` options.

    Raises
    ------
    UsageError
        If an option is not a comma-separated list of sizes (``?`` leaves one open).

    >>> parse_input_shapes(["x=1,?,3"]).shapes
    {'x': (1, None, 3)}
    """
    shapes: dict[str, ShapeOption] = {}
    for option in options:
        name, _, sizes = option.rpartition("=")
        if name in shapes:
            raise UsageError(f"--input-shape names '{name or option}' twice")
        shapes[name] = tuple(_size(part.strip(), option) for part in sizes.split(","))
    return InputShapes(shapes)


def _size(text: str, option: str) -> int | None:
    if text in {"?", "None", "none"}:
        return None
    if not text.isdigit() or int(text) == 0:
        raise UsageError(
            f"--input-shape {option}: '{text}' is not a size; write e.g. 1,224,224,3 "
            "or NAME=1,224,224,3 (? leaves a size open)"
        )
    return int(text)
