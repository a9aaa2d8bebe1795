"""In the process that runs Keras: the backend's functions that pad, as marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from padaudit.formats.keras.translation.tracer import Form, Tracer, output_size
from padaudit.padding import amounts
from padaudit.padding.symbolic import lasting_amounts, open_amounts

TOKEN: Final = "padaudit:"
"""What the token of a marked operator begins with; the number of its mark follows."""


class Functions:
    """The functions of Keras's backend that pad, as marks."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def conv(
        self,
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        """Mark a convolution; its kernel is (*spatial, C / group, M)."""
        import tensorflow as tf

        inputs, kernel = _tensors(inputs, kernel)
        rank = len(inputs.shape) - 2
        channels = inputs.shape[1 if _first(data_format) else -1]
        group = channels // kernel.shape[-2]
        form = _form("Conv", kernel.shape[:rank], strides, dilation_rate, padding, group)
        weights = tf.transpose(kernel, [rank + 1, rank, *range(rank)])
        return self._apply(form, inputs, weights, kernel.shape[-1], data_format)

    def depthwise_conv(
        self,
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        """Mark a depthwise convolution; its kernel is (*spatial, C, multiplier)."""
        import tensorflow as tf

        inputs, kernel = _tensors(inputs, kernel)
        rank = len(inputs.shape) - 2
        shape, (channels, multiplier) = kernel.shape[:rank], kernel.shape[rank:]
        form = _form("Conv", shape, strides, dilation_rate, padding, channels)
        weights = tf.transpose(kernel, [rank, rank + 1, *range(rank)])
        weights = tf.reshape(weights, [channels * multiplier, 1, *shape])
        return self._apply(form, inputs, weights, channels * multiplier, data_format)

    def separable_conv(
        self,
        inputs: Any,
        depthwise_kernel: Any,
        pointwise_kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        """Mark a depthwise convolution, and a pointwise one behind it."""
        outputs = self.depthwise_conv(
            inputs, depthwise_kernel, strides, padding, data_format, dilation_rate
        )
        with self.tracer.within(None, "pointwise"), self.tracer.causal(None):
            return self.conv(outputs, pointwise_kernel, 1, "valid", data_format)

    def conv_transpose(
        self,
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        """Mark a transposed convolution; its kernel is (*spatial, M, C)."""
        import tensorflow as tf

        inputs, kernel = _tensors(inputs, kernel)
        rank = len(inputs.shape) - 2
        extra = None if output_padding is None else _per_axis(output_padding, rank)
        form = _form(
            "ConvTranspose", kernel.shape[:rank], strides, dilation_rate, padding, 1, extra
        )
        weights = tf.transpose(kernel, [rank + 1, rank, *range(rank)])
        return self._apply(form, inputs, weights, kernel.shape[-2], data_format)

    def max_pool(
        self, inputs: Any, pool_size: Any, strides: Any = None, *how: Any, **named: Any
    ) -> Any:
        """Mark a maximum."""
        return self._pool("MaxPool", inputs, pool_size, strides, *how, **named)

    def average_pool(
        self, inputs: Any, pool_size: Any, strides: Any = None, *how: Any, **named: Any
    ) -> Any:
        """Mark a mean that leaves padding out."""
        return self._pool("AveragePool", inputs, pool_size, strides, *how, **named)

    def _pool(
        self,
        operator: str,
        inputs: Any,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> Any:
        (inputs,) = _tensors(inputs)
        rank, first = len(inputs.shape) - 2, _first(data_format)
        kernel = _per_axis(pool_size, rank)
        form = _form(operator, kernel, kernel if strides is None else strides, 1, padding)
        channels = inputs.shape[1 if first else -1]
        sizes = inputs.shape[2:] if first else inputs.shape[1:-1]
        if operator == "AveragePool" and not _has_fixed_pads(form, sizes):
            return self._shared_mean(form, inputs, channels, first)
        return self._apply(form, inputs, None, channels, data_format)

    def _shared_mean(self, form: Form, inputs: Any, channels: int | None, first: bool) -> Any:
        """Divide a mean that counts padding by the share of what is no padding.

        A mean that leaves padding out can't have amounts that the graph computes.
        """
        import tensorflow as tf

        x = inputs if first else _channels_first(inputs)
        counted = replace(form, counted=True)
        mean = self._apply(counted, x, None, channels, "channels_first")
        ones = tf.ones(tf.concat([[1, 1], tf.shape(x)[2:]], 0), x.dtype)
        ones = tf.ensure_shape(ones, [1, 1, *x.shape[2:]])
        with self.tracer.within(None, "share"):
            share = self._apply(counted, ones, None, 1, "channels_first")
        return mean / share if first else _channels_last(mean / share)

    def _apply(
        self, form: Form, inputs: Any, weights: Any, channels: int | None, data_format: str | None
    ) -> Any:
        """Put the marked operator into the graph, channels first."""
        import tensorflow as tf

        rank, dtype, first = len(form.kernel), inputs.dtype, _first(data_format)
        x = inputs if first else _channels_first(inputs)
        mark = self.tracer.mark(form, x.shape[2:])
        token = f"{TOKEN}{len(self.tracer.marks) - 1}"
        given = [x] if weights is None else [x, weights]
        # onnxruntime has no convolution and no mean of float64, and casts float16 itself.
        narrow = dtype == tf.float64
        given = [tf.cast(item, tf.float32) for item in given] if narrow else given
        (y,) = tf.raw_ops.PyFuncStateless(input=given, token=token, Tout=[given[0].dtype])
        sizes = [output_size(mark, axis) for axis in range(rank)]
        shape = [x.shape[0], channels, *sizes]
        self.tracer.shapes.append((list(x.shape), shape))
        y = tf.ensure_shape(y, shape)
        y = tf.cast(y, dtype) if narrow else y
        return y if first else _channels_last(y)


def _channels_first(x: Any) -> Any:
    import tensorflow as tf

    last = len(x.shape) - 1
    return tf.transpose(x, [0, last, *range(1, last)])


def _channels_last(x: Any) -> Any:
    import tensorflow as tf

    return tf.transpose(x, [0, *range(2, len(x.shape)), 1])


def _has_fixed_pads(form: Form, sizes: Sequence[int | None]) -> bool:
    """Tell whether a pool's amounts can stand in attributes."""
    axes = zip(form.kernel, form.strides, form.dilations, strict=True)
    return not form.same or all(
        size is not None
        or lasting_amounts(open_amounts(amounts.same_upper, *axis), *axis) is not None
        for size, axis in zip(sizes, axes, strict=True)
    )


def _form(
    operator: str,
    kernel: Sequence[int],
    strides: Any,
    dilations: Any,
    padding: str,
    group: int = 1,
    extra: tuple[int, ...] | None = None,
) -> Form:
    rank = len(kernel)
    return Form(
        operator,
        tuple(int(size) for size in kernel),
        _per_axis(strides, rank),
        _per_axis(1 if dilations is None else dilations, rank),
        padding.lower() == "same",
        group,
        extra=extra,
    )


def _per_axis(value: Any, rank: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * rank
    values = tuple(int(item) for item in value)
    return values * rank if len(values) == 1 else values


def _first(data_format: str | None) -> bool:
    import keras

    return (data_format or keras.config.image_data_format()) == "channels_first"


def _tensors(*values: Any) -> tuple[Any, ...]:
    from keras import ops

    return tuple(ops.convert_to_tensor(value) for value in values)
