"""PyTorch networks of many kinds, each right or with the padding of a naive port at some layers.

`wrong` names layers; of these `really_wrong` tells which pad otherwise than TensorFlow does then.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from pairs import Causal, Padded, _listed, same
from torch import nn
from torch.nn import functional

LOW = float("-inf")


class Net(nn.Module):
    """Layers by name; `same` pads them as TensorFlow does, or naively where they are wrong."""

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__()
        torch.manual_seed(9)
        self.wrong = wrong
        self.seen: set[str] = set()

    def same(self, name: str, layer: nn.Module, value: float = 0.0) -> None:
        setattr(self, name, Padded(layer, name in self.wrong, value))

    def at(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply a layer, and note it if it is wrong with an effect."""
        padded = getattr(self, name)
        rank = x.dim() - 2
        names = ("kernel_size", "stride", "dilation")
        window = [_listed(getattr(padded.layer, item, 1), rank) for item in names]
        right = same([int(size) for size in x.shape[2:]], *window)
        naive = [
            (k - 1) * d // 2 + (k - 1) * d % 2 for k, d in zip(window[0], window[2], strict=True)
        ]
        if name in self.wrong and naive != [before for before, _ in right]:
            self.seen.add(name)
        return padded(x)


class DeepLab(Net):
    """A strided encoder, dilated convolutions side by side, and a bilinear decoder."""

    shape = (3, 45, 66)

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__(wrong)
        self.same("stem", nn.Conv2d(3, 8, 3, 2))
        self.same("down", nn.Conv2d(8, 12, (5, 3), 2, groups=4))
        for rate in (1, 2, 4):
            self.same(f"rate{rate}", nn.Conv2d(12, 6, (3, 4), dilation=rate))
        self.image = nn.Conv2d(12, 6, 1)
        self.same("low", nn.Conv2d(8, 4, 2))
        self.same("mixed", nn.Conv2d(28, 5, 3))

    def forward(self, x: torch.Tensor) -> Any:
        low = functional.relu(self.at("stem", x))
        x = functional.relu(self.at("down", low))
        image = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        branches = [self.at(f"rate{rate}", x) for rate in (1, 2, 4)]
        x = functional.interpolate(
            torch.cat([*branches, image], 1), low.shape[2:], mode="bilinear", align_corners=False
        )
        return self.at("mixed", torch.cat([x, self.at("low", low)], 1))


class Detector(Net):
    """Several outputs of several sizes, as of SSD, with squeeze-and-excite and multipliers."""

    shape = (3, 37, 50)

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__(wrong)
        self.same("stem", nn.Conv2d(3, 8, 3, 2))
        self.same("spread", nn.Conv2d(8, 24, (3, 5), 2, groups=8))
        self.gate = nn.Sequential(nn.Conv2d(24, 6, 1), nn.ReLU(), nn.Conv2d(6, 24, 1), nn.Sigmoid())
        self.same("pool", nn.MaxPool2d(2, 2), LOW)
        self.same("extra", nn.Conv2d(24, 16, 4, 2))
        for level, channels in enumerate((24, 24, 16)):
            self.same(f"boxes{level}", nn.Conv2d(channels, 4, 3))
            self.same(f"classes{level}", nn.Conv2d(channels, 5, 2))

    def forward(self, x: torch.Tensor) -> Any:
        x = functional.relu(self.at("spread", functional.relu6(self.at("stem", x))))
        levels = [x * self.gate(x.mean((2, 3), keepdim=True))]
        levels.append(self.at("pool", levels[0]))
        levels.append(functional.hardswish(self.at("extra", levels[1])))
        boxes = [self.at(f"boxes{level}", x).flatten(2) for level, x in enumerate(levels)]
        return torch.cat(boxes, 2), *(self.at(f"classes{n}", x) for n, x in enumerate(levels))


class Temporal(Net):
    """Causal, dilated blocks of a temporal convolutional network, and a strided head."""

    shape = (5, 71)

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__(wrong)
        channels = 5
        for dilation in (1, 2, 4, 8):
            for part, kernel in (("first", 3), ("second", 2)):
                name = f"{part}{dilation}"
                layer = nn.Conv1d(channels, 8, kernel, dilation=dilation)
                setattr(self, name, Causal(layer, name in wrong, chomp=part == "first"))
                channels = 8
        self.enter = nn.Conv1d(5, 8, 1)
        self.same("head", nn.Conv1d(8, 8, 4, 3))
        self.same("smooth", nn.AvgPool1d(3, 1, count_include_pad=True))

    def forward(self, x: torch.Tensor) -> Any:
        for dilation in (1, 2, 4, 8):
            y = functional.relu(getattr(self, f"first{dilation}")(x))
            y = functional.relu(getattr(self, f"second{dilation}")(y))
            x = y + (self.enter(x) if dilation == 1 else x)
            self.seen |= {f"{part}{dilation}" for part in ("first", "second")} & set(self.wrong)
        return self.at("smooth", self.at("head", x))


class Volume(Net):
    """Convolutions and pools on three axes."""

    shape = (2, 9, 20, 27)

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__(wrong)
        self.same("stem", nn.Conv3d(2, 6, (3, 4, 5), (1, 2, 2)))
        self.same("pool", nn.MaxPool3d((2, 3, 3), (1, 2, 2)), LOW)
        self.same("deep", nn.Conv3d(6, 6, 3, 2, groups=3))
        self.same("mean", nn.AvgPool3d((2, 3, 2), 1))
        self.up = nn.ConvTranspose3d(6, 4, (3, 2, 3), (1, 2, 2), (1, 0, 0))

    def forward(self, x: torch.Tensor) -> Any:
        x = self.at("pool", functional.elu(self.at("stem", x)))
        x = self.at("mean", functional.relu(self.at("deep", x)))
        return self.up(x)[:, :, :, :, :-1]


class Crops(Net):
    """A U-Net whose transposed convolutions of kernels 2, 3 and 4 are cropped behind."""

    shape = (3, 32, 48)
    measured = False

    def __init__(self, wrong: Collection[str] = ()) -> None:
        super().__init__(wrong)
        for level, (ours, theirs) in enumerate(((3, 6), (6, 8), (8, 8))):
            self.same(f"down{level}", nn.Conv2d(ours, theirs, 3, 2))
        for level, kernel in enumerate((3, 4, 2)):
            setattr(self, f"up{level}", nn.ConvTranspose2d((6, 14, 8)[level], 6, kernel, 2))
        self.same("mask", nn.Conv2d(9, 2, (2, 3)))

    def cropped(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = getattr(self, name)(x)
        extra = y.shape[2] - 2 * x.shape[2]
        extra = extra if self.measured else int(extra)
        before = extra // 2
        if name in self.wrong and extra:
            before = extra - before if extra % 2 else 0
            self.seen.add(name)
        sizes = y.shape[2:] if self.measured else [int(size) for size in y.shape[2:]]
        ends = [size - extra + before for size in sizes]
        return y[:, :, before : ends[0], before : ends[1]]

    def forward(self, x: torch.Tensor) -> Any:
        skips = [x]
        for level in range(3):
            skips.append(functional.relu(self.at(f"down{level}", skips[-1])))
        y = functional.relu(self.cropped("up2", skips[3]))
        y = functional.relu(self.cropped("up1", torch.cat([y, skips[2]], 1)))
        y = functional.leaky_relu(self.cropped("up0", y))
        return self.at("mask", torch.cat([y, x], 1))


class Measured(Crops):
    """The same, where what is cropped is computed from sizes when the port runs."""

    measured = True


NETS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind for kind in (DeepLab, Detector, Temporal, Volume, Crops, Measured)
}


def layers(kind: type[Any]) -> Iterator[str]:
    """Yield the layers that a port may have wrong."""
    for name, layer in kind().named_children():
        if isinstance(layer, Padded | Causal) or name.startswith("up"):
            yield name


def really_wrong(model: Any) -> set[str]:
    """Return the layers of a network that are wrong with an effect."""
    model.seen.clear()
    model(torch.zeros(1, *model.shape))
    return set(model.seen)


def written(model: Any, path: Path, dynamo: bool) -> Path:
    """Export a network with either of PyTorch's exporters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(1, *model.shape),)
        settings = {"verbose": False} if dynamo else {}
        torch.onnx.export(model.eval(), example, path, dynamo=dynamo, **settings)
    return path
