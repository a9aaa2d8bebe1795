"""The padding of "same" as a layer of its own, for inputs of open size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from padaudit.padding.amounts import same_overhang

Size = int | None
Shape = tuple[Size, ...]


@keras.saving.register_keras_serializable(package="padaudit")
class SamePadding(keras.layers.Layer):  # type: ignore[misc]
    """Pad the input as the window of a layer behind it would with ``padding="same"``.

    The amounts are computed from the size that the layer is called with; where that is static
    they are plain numbers.

    Parameters
    ----------
    kernel_size : int or sequence of int
        Window of the layer behind, one value per spatial axis; its length is their number.
    strides, dilation_rate : int or sequence of int
        Of the layer behind.
    data_format : str, optional
        ``channels_last`` or ``channels_first``; Keras's setting if None.
    value : float
        With what to pad.
    **options
        Of `keras.layers.Layer` (``name``, ``dtype``, ...).

    Input shape
    -----------
    ``(batch, *spatial, channels)``, or ``(batch, channels, *spatial)`` for ``channels_first``.

    Output shape
    ------------
    The same, each spatial axis longer by what is padded.

    References
    ----------
    https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        dilation_rate: int | Sequence[int] = 1,
        data_format: str | None = None,
        value: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        kernel = (kernel_size,) if isinstance(kernel_size, int) else tuple(kernel_size)
        self.kernel_size = kernel
        self.strides = _per_axis(strides, len(kernel), "strides")
        self.dilation_rate = _per_axis(dilation_rate, len(kernel), "dilation_rate")
        self.data_format = data_format or keras.config.image_data_format()
        self.value = float(value)
        self.input_spec = keras.layers.InputSpec(ndim=len(kernel) + 2)

    def call(self, inputs: Any) -> Any:
        """Return the padded input."""
        sizes = list(zip(inputs.shape, ops.shape(inputs), strict=True))
        pads: list[tuple[Any, Any]] = [(0, 0)] * len(sizes)
        for axis, window in self._axes():
            static, actual = sizes[axis]
            total = _total(actual if static is None else static, *window)
            pads[axis] = (total // 2, total - total // 2)
        return ops.pad(inputs, pads, constant_values=self.value)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the result; open sizes stay open."""
        shape = list(input_shape)
        for axis, window in self._axes():
            size = shape[axis]
            shape[axis] = None if size is None else size + _total(size, *window)
        return tuple(shape)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Return a symbolic tensor of the result's shape and type."""
        shape = self.compute_output_shape(tuple(inputs.shape))
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what the layer can be made from again."""
        own = {
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "dilation_rate": list(self.dilation_rate),
            "data_format": self.data_format,
            "value": self.value,
        }
        return {**super().get_config(), **own}

    def _axes(self) -> list[tuple[int, tuple[int, int, int]]]:
        """Return, for every spatial axis, which one it is and its window."""
        first = 2 if self.data_format == "channels_first" else 1
        windows = zip(self.kernel_size, self.strides, self.dilation_rate, strict=True)
        return list(enumerate(windows, first))


def _total(size: Any, kernel: int, stride: int, dilation: int) -> Any:
    """Return how many elements an axis gets; ``size`` is a number or a scalar tensor."""
    overhang = same_overhang(size, kernel, stride, dilation)
    return max(overhang, 0) if isinstance(size, int) else ops.maximum(overhang, 0)


def _per_axis(value: int | Sequence[int], rank: int, name: str) -> tuple[int, ...]:
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"SamePadding: {name} has {len(values)} values for {rank} axes")
    return values
