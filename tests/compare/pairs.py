"""Pairs of an original and its port: Keras networks, and PyTorch ones with their weights.

The PyTorch network pads where Keras does, except at the sites that are named wrong: there it
has what a naive port has, ``padding=k//2`` (or, for a causal layer, the same on both sides).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Pads = list[tuple[int, int]]


def same(sizes: list[int], kernel: list[int], stride: list[int], dilation: list[int]) -> Pads:
    """Return what TensorFlow pads, by its own documented formula (filter and remainder)."""
    pads = []
    for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        extent = (k - 1) * d + 1
        total = max(extent - s, 0) if n % s == 0 else max(extent - n % s, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def padded(x: torch.Tensor, pads: Pads, value: float = 0.0) -> torch.Tensor:
    """Pad spatial axes; nothing is exported where there is nothing to pad."""
    flat = [amount for pair in reversed(pads) for amount in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


class Padded(nn.Module):
    """A convolution or pool: right with ``F.pad`` in front, wrong with ``padding=k//2``."""

    def __init__(self, layer: nn.Module, wrong: bool, value: float = 0.0) -> None:
        super().__init__()
        self.layer, self.wrong, self.value = layer, wrong, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rank = x.dim() - 2
        kernel, stride, dilation = (
            _listed(getattr(self.layer, name, 1), rank)
            for name in ("kernel_size", "stride", "dilation")
        )
        sizes = [int(size) for size in x.shape[2:]]
        right = same(sizes, kernel, stride, dilation)
        outputs = [-(-n // s) for n, s in zip(sizes, stride, strict=True)]
        if not self.wrong:
            return self.layer(padded(x, right, self.value))
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        naive = [(extent // 2, extent // 2) for extent in extents]
        y = self.layer(padded(x, naive, self.value))
        return y[(slice(None), slice(None), *(slice(0, size) for size in outputs))]


class Causal(nn.Module):
    """A dilated causal convolution: right with a Slice behind, wrong with half on each side."""

    def __init__(self, layer: nn.Conv1d, wrong: bool, chomp: bool) -> None:
        super().__init__()
        self.layer, self.wrong, self.chomp = layer, wrong, chomp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = (self.layer.kernel_size[0] - 1) * self.layer.dilation[0]
        if self.wrong:
            return self.layer(functional.pad(x, (total // 2, total - total // 2)))
        if not self.chomp:
            return self.layer(functional.pad(x, (total, 0)))
        return self.layer(functional.pad(x, (total, total)))[:, :, :-total]


class Upsampled(nn.Module):
    """A transposed convolution: right cropped at the end, wrong with ``padding=k//2``."""

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int, wrong: bool) -> None:
        super().__init__()
        self.stride = stride
        crop = kernel // 2 if wrong else 0
        extra = stride - kernel + 2 * crop if wrong else 0
        self.layer = nn.ConvTranspose2d(*channels, kernel, stride, crop, max(extra, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = (int(size) * self.stride for size in x.shape[2:])
        return self.layer(x)[:, :, :height, :width]


def _listed(value: Any, rank: int) -> list[int]:
    return [value] * rank if isinstance(value, int) else list(value)


# --- MobileNet-like -----------------------------------------------------------------------

MOBILENET = [(8, 2), (12, 1), (16, 2), (16, 1), (24, 2), (24, 1)]
"""Filters and stride of each block."""
MOBILE_SIZE = (38, 26)


def keras_mobilenet() -> Any:
    """Return depthwise separable blocks with "same" at every stride, in Keras."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((*MOBILE_SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(x))
    for index, (filters, stride) in enumerate(MOBILENET):
        name = f"block{index}"
        x = layers.DepthwiseConv2D(
            (3, 5), strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
        )(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"{name}_norm")(x))
        x = layers.Conv2D(filters, 1, padding="same", name=f"{name}_pointwise")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return _perturbed(keras.Model(image, layers.Dense(10, name="top")(x)))


class TorchMobilenet(nn.Module):
    """The same in PyTorch."""

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 8, 3, 2, bias=False)
        self.stem = Padded(conv, "stem" in wrong)
        self.stem_norm = nn.BatchNorm2d(8, eps=1e-3)
        channels = 8
        for index, (filters, stride) in enumerate(MOBILENET):
            name = f"block{index}"
            depthwise = nn.Conv2d(channels, channels, (3, 5), stride, groups=channels, bias=False)
            setattr(self, f"{name}_depthwise", Padded(depthwise, f"{name}_depthwise" in wrong))
            setattr(self, f"{name}_norm", nn.BatchNorm2d(channels, eps=1e-3))
            setattr(self, f"{name}_pointwise", nn.Conv2d(channels, filters, 1))
            channels = filters
        self.top = nn.Linear(channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem_norm(self.stem(x)))
        for index in range(len(MOBILENET)):
            depthwise, norm, pointwise = (
                getattr(self, f"block{index}_{part}") for part in ("depthwise", "norm", "pointwise")
            )
            x = pointwise(functional.relu(norm(depthwise(x))))
        return self.top(x.mean((2, 3)))


# --- U-Net-like ---------------------------------------------------------------------------

UNET_SIZE = (24, 40)


def keras_unet() -> Any:
    """Return an encoder, a decoder with transposed convolutions, and skips, in Keras."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(4)
    image = keras.Input((*UNET_SIZE, 2), name="image")
    one = layers.Conv2D(4, (3, 5), padding="same", activation="relu", name="one")(image)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="shrink")(one)
    two = layers.Conv2D(6, 3, padding="same", activation="relu", name="two")(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="down")(two)
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same", activation="relu", name="wide")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="up_two")(x)
    x = layers.Concatenate()([two, x])
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="two_again")(x)
    x = layers.AveragePooling2D(3, strides=1, padding="same", name="blur")(x)
    x = layers.Conv2DTranspose(4, 4, strides=2, padding="same", name="up_one")(x)
    x = layers.Concatenate()([one, x])
    return _perturbed(keras.Model(image, layers.Conv2D(3, 1, name="mask")(x)))


class TorchUnet(nn.Module):
    """The same in PyTorch."""

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__()
        self.one = Padded(nn.Conv2d(2, 4, (3, 5)), "one" in wrong)
        self.shrink = Padded(nn.MaxPool2d(3, 2), "shrink" in wrong, float("-inf"))
        self.two = Padded(nn.Conv2d(4, 6, 3), "two" in wrong)
        self.down = Padded(nn.Conv2d(6, 8, 3, 2), "down" in wrong)
        self.wide = Padded(nn.Conv2d(8, 8, 3, dilation=2), "wide" in wrong)
        self.up_two = Upsampled((8, 6), 3, 2, "up_two" in wrong)
        self.two_again = Padded(nn.Conv2d(12, 6, 3), "two_again" in wrong)
        self.blur = nn.AvgPool2d(3, 1, 1, count_include_pad="blur" in wrong)
        self.up_one = nn.ConvTranspose2d(6, 4, 4, 2, 1)
        self.mask = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = functional.relu(self.one(x))
        two = functional.relu(self.two(self.shrink(one)))
        x = functional.relu(self.wide(functional.relu(self.down(two))))
        x = functional.relu(self.two_again(torch.cat([two, self.up_two(x)], 1)))
        return self.mask(torch.cat([one, self.up_one(self.blur(x))], 1))


# --- WaveNet-like -------------------------------------------------------------------------

DILATIONS = (1, 2, 4, 8)


def keras_wavenet() -> Any:
    """Return gated, dilated, causal convolutions with residual and skip sums, in Keras."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(5)
    sound = keras.Input((64, 3), name="sound")
    x = layers.Conv1D(6, 2, padding="causal", name="start")(sound)
    skips = []
    for dilation in DILATIONS:
        causal = {"dilation_rate": dilation, "padding": "causal"}
        gate = layers.Conv1D(6, 3, **causal, activation="sigmoid", name=f"gate{dilation}")(x)
        main = layers.Conv1D(6, 3, **causal, activation="tanh", name=f"main{dilation}")(x)
        gated = layers.Multiply()([gate, main])
        skips.append(layers.Conv1D(5, 1, name=f"skip{dilation}")(gated))
        x = layers.Add()([x, layers.Conv1D(6, 1, name=f"residual{dilation}")(gated)])
    x = layers.ReLU()(layers.Add()(skips))
    return _perturbed(keras.Model(sound, layers.Conv1D(4, 1, name="end")(x)))


class TorchWavenet(nn.Module):
    """The same in PyTorch; every other layer crops behind instead of padding in front."""

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__()
        self.start = Causal(nn.Conv1d(3, 6, 2), "start" in wrong, chomp=False)
        for index, dilation in enumerate(DILATIONS):
            for part in ("gate", "main"):
                name, layer = f"{part}{dilation}", nn.Conv1d(6, 6, 3, dilation=dilation)
                setattr(self, name, Causal(layer, name in wrong, chomp=index % 2 == 0))
            setattr(self, f"skip{dilation}", nn.Conv1d(6, 5, 1))
            setattr(self, f"residual{dilation}", nn.Conv1d(6, 6, 1))
        self.end = nn.Conv1d(5, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.start(x)
        total: Any = 0
        for dilation in DILATIONS:
            main = torch.tanh(getattr(self, f"main{dilation}")(x))
            gated = torch.sigmoid(getattr(self, f"gate{dilation}")(x)) * main
            total = total + getattr(self, f"skip{dilation}")(gated)
            x = x + getattr(self, f"residual{dilation}")(gated)
        return self.end(functional.relu(total))


# --- weights and files --------------------------------------------------------------------

PAIRS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "mobilenet": (keras_mobilenet, TorchMobilenet, (3, *MOBILE_SIZE)),
    "unet": (keras_unet, TorchUnet, (2, *UNET_SIZE)),
    "wavenet": (keras_wavenet, TorchWavenet, (3, 64)),
}
"""Keras network, PyTorch network, and the shape that the latter takes."""


def copy_weights(source: Any, target: nn.Module) -> None:
    """Give a PyTorch network the weights of a Keras one, by name."""
    with torch.no_grad():
        for layer in source.layers:
            values = [np.asarray(value) for value in layer.get_weights()]
            module: Any = getattr(target, layer.name, None)
            if values:
                _copy(type(layer).__name__, values, getattr(module, "layer", module))


def _copy(kind: str, values: list[Any], module: Any) -> None:
    if kind == "BatchNormalization":
        names = ("weight", "bias", "running_mean", "running_var")
        for name, value in zip(names, values, strict=True):
            getattr(module, name).copy_(torch.from_numpy(value))
        return
    kernel = values[0]
    if kind == "Dense":
        kernel = kernel.T
    elif kind == "DepthwiseConv2D":
        kernel = kernel.transpose(2, 3, 0, 1)
    else:
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
    module.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
    if len(values) > 1:
        module.bias.copy_(torch.from_numpy(values[1]))


def _perturbed(model: Any) -> Any:
    """Give biases and statistics values too, so that no border is zero by chance."""
    rng = np.random.default_rng(6)
    for layer in model.layers:
        weights = layer.get_weights()
        for value in weights:
            if value.ndim == 1:
                np.add(value, rng.uniform(0.1, 0.5, value.shape), out=value, casting="unsafe")
        layer.set_weights(weights)
    return model


def export(
    model: nn.Module, shape: tuple[int, ...], path: Path, dtype: torch.dtype = torch.float32
) -> Path:
    """Export a PyTorch network to ONNX as most ports are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.zeros(1, *shape, dtype=dtype)
        torch.onnx.export(model.eval(), (example,), path, dynamo=False, input_names=["x"])
    return path
