"""In the process that runs Keras: the marks of one trace, and the amounts that they state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from padaudit.formats.keras.translation.marks import Mark
from padaudit.padding import amounts

Shapes = tuple[list[int | None], list[int | None]]
"""The static shapes of what a marked operator reads and gives, channels first."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a call of a backend function asks for, per spatial axis."""

    operator: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    same: bool
    group: int = 1
    counted: bool = False
    extra: tuple[int | None, ...] | None = None


@dataclass(slots=True)
class Tracer:
    """Collects the marks of one trace."""

    marks: list[Mark] = field(default_factory=list)
    shapes: list[Shapes] = field(default_factory=list)
    _layers: list[tuple[Any, str | None]] = field(default_factory=list)
    _names: Counter[str] = field(default_factory=Counter)
    _causal: int | None = None

    def restart(self) -> None:
        """Forget what an earlier trace left: TensorFlow may trace a function twice."""
        self.marks.clear()
        self.shapes.clear()
        self._names.clear()

    @contextmanager
    def within(self, layer: Any, label: str | None) -> Iterator[None]:
        """Name what is applied in the block after a layer; None: after what encloses it."""
        self._layers.append((layer, label))
        try:
            yield
        finally:
            self._layers.pop()

    def runs(self, layer: Any) -> bool:
        """Tell whether a layer is the one that was entered last."""
        return layer is not None and self.caller is layer

    @property
    def caller(self) -> Any:
        """The layer that was entered last, if any."""
        return self._layers[-1][0] if self._layers else None

    @contextmanager
    def causal(self, left: int | None) -> Iterator[None]:
        """Pad the convolutions of the block at their start; None: not."""
        before, self._causal = self._causal, left
        try:
            yield
        finally:
            self._causal = before

    def mark(self, form: Form, size: Sequence[int | None]) -> Mark:
        """Make the mark of a call."""
        path = tuple(label for _, label in self._layers if label is not None)
        base = "/".join(path) or form.operator
        self._names[base] += 1
        number = self._names[base]
        pads, appended = self._amounts(form)
        made = Mark(
            path,
            base if number == 1 else f"{base}#{number}",
            form.operator,
            form.kernel,
            form.strides,
            form.dilations,
            form.group,
            form.same and appended is None,
            form.counted,
            pads,
            appended,
            form.same and appended is not None and form.extra is None,
            tuple(size),
        )
        self.marks.append(made)
        return made

    def _amounts(
        self, form: Form
    ) -> tuple[tuple[tuple[int, int], ...] | None, tuple[int, ...] | None]:
        if form.operator == "ConvTranspose":
            crops = [_crop(form, axis) for axis in range(len(form.kernel))]
            return tuple(pads for pads, _ in crops), tuple(more for _, more in crops)
        if self._causal is not None and form.operator == "Conv":
            return ((self._causal, 0),), None
        return None, None


def _crop(form: Form, axis: int) -> tuple[tuple[int, int], int]:
    """What a transposed convolution crops and appends; it is the same for every size."""
    window = form.kernel[axis], form.strides[axis], form.dilations[axis]
    extra = form.extra[axis] if form.extra else None
    wanted = amounts.keras_transposed_output(1, *window, form.same, extra)
    return amounts.transposed_crop(amounts.transposed_full(1, *window), wanted)


def output_size(mark: Mark, axis: int) -> int | None:
    """Return the size of what a marked operator gives along an axis, where that is known."""
    size = mark.size[axis]
    if size is None:
        return None
    window = mark.kernel_shape[axis], mark.strides[axis], mark.dilations[axis]
    pads = mark.pads[axis] if mark.pads else (0, 0)
    if mark.output_padding is not None:
        return amounts.transposed_full(size, *window) - sum(pads) + mark.output_padding[axis]
    if mark.same:
        return amounts.same_output(size, window[1])
    return amounts.window_output(size, *window, pads)
