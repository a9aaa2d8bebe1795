"""Random networks in ONNX, and other ways of writing the same network.

A `Net` says what the operators do. `written` writes it as a port would be: nodes and weights
under other names, branches listed in another order, amounts in Pads or attributes, batch
normalisation folded or not, in either layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
CHANNELS = 4
IMAGE_CHANNELS = 3
KINDS = {
    "conv": "Conv",
    "depthwise": "Conv",
    "transposed": "ConvTranspose",
    "max": "MaxPool",
    "average": "AveragePool",
}


@dataclass(frozen=True)
class Layer:
    """One padded operator: what it is, its window, its amounts, and what it reads."""

    name: str
    kind: str
    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: Pads
    source: str
    seed: int

    def output(self, size: Pair, pads: Pads | None = None) -> Pair:
        """Return the output's size, by the definitions of ONNX."""
        chosen = pads or self.pads
        found = []
        for axis in (0, 1):
            extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            if self.kind == "transposed":
                full = (size[axis] - 1) * self.strides[axis] + extent
                found.append(full - sum(chosen[axis]))
            else:
                room = size[axis] + sum(chosen[axis]) - extent
                found.append(room // self.strides[axis] + 1)
        return found[0], found[1]


@dataclass(frozen=True)
class Net:
    """Layers in order, each reading the image or an earlier one; what nobody reads is output."""

    size: Pair
    layers: tuple[Layer, ...]

    def changed(self, pads: Mapping[str, Pads]) -> Net:
        """Return the network with other amounts at some layers."""
        layers = (replace(item, pads=pads.get(item.name, item.pads)) for item in self.layers)
        return replace(self, layers=tuple(layers))

    def sizes(self) -> dict[str, Pair]:
        """Return the size of what every layer gives, and of the image."""
        found = {"image": self.size}
        for layer in self.layers:
            found[layer.name] = layer.output(found[layer.source])
        return found

    @property
    def ends(self) -> list[str]:
        """The layers that are outputs."""
        read = {layer.source for layer in self.layers}
        return [layer.name for layer in self.layers if layer.name not in read]


@dataclass(frozen=True)
class Style:
    """How a network is written."""

    prefix: str = "port/"
    pad_nodes: bool = False
    channels_last: bool = False
    folded: bool = True
    reversed_branches: bool = False
    retrained: bool = False
    identities: bool = False


def written(net: Net, style: Style) -> ModelProto:
    """Return a network as ONNX."""
    return _Writer(net, style).model()


class _Writer:
    def __init__(self, net: Net, style: Style) -> None:
        self.net, self.style = net, style
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def model(self) -> ModelProto:
        for layer in self._ordered():
            self._add(layer)
        last = self.style.channels_last
        sizes = self.net.sizes()

        def shape(name: str, channels: int) -> list[int]:
            spatial = sizes[name]
            return [1, *spatial, channels] if last else [1, channels, *spatial]

        image = helper.make_tensor_value_info("image", 1, shape("image", IMAGE_CHANNELS))
        outputs = [
            helper.make_tensor_value_info(self._name(end), 1, shape(end, CHANNELS))
            for end in self.net.ends
        ]
        graph = helper.make_graph(self.nodes, "net", [image], outputs, self.tensors)
        imports = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    def _ordered(self) -> list[Layer]:
        waiting, done, found = list(self.net.layers), {"image"}, []
        while waiting:
            ready = [layer for layer in waiting if layer.source in done]
            chosen = ready[-1 if self.style.reversed_branches else 0]
            waiting.remove(chosen)
            done.add(chosen.name)
            found.append(chosen)
        return found

    def _name(self, layer: str) -> str:
        return layer if layer == "image" else f"{self.style.prefix}{layer}:0"

    def _add(self, layer: Layer) -> None:
        tensor, own = self._name(layer.source), layer.pads
        value = float("-inf") if layer.kind == "max" else 0.0
        if self.style.pad_nodes and layer.kind in ("conv", "depthwise", "max"):
            tensor, own = self._pad(layer, tensor, value), ((0, 0), (0, 0))
        if self.style.channels_last:
            tensor = self._node("Transpose", [tensor], f"{layer.name}/first", perm=[0, 3, 1, 2])
        inputs, attributes = [tensor], dict(self._attributes(layer, own))
        scale = np.random.default_rng(layer.seed + 1).uniform(0.5, 2.0, CHANNELS)
        if layer.kind in ("conv", "depthwise", "transposed"):
            folded = scale if self.style.folded else np.ones(CHANNELS)
            inputs += self._weights(layer, folded)
        result = self._node(KINDS[layer.kind], inputs, layer.name, **attributes)
        if len(inputs) > 1 and not self.style.folded:
            result = self._normalised(layer, result, scale)
        if self.style.identities:
            result = self._node("Identity", [result], f"{layer.name}/same")
        if self.style.channels_last:
            result = self._node("Transpose", [result], f"{layer.name}/last", perm=[0, 2, 3, 1])
        self.nodes[-1].output[0] = self._name(layer.name)

    def _attributes(self, layer: Layer, own: Pads) -> dict[str, Any]:
        found: dict[str, Any] = {"kernel_shape": layer.kernel, "strides": layer.strides}
        found["pads"] = [own[0][0], own[1][0], own[0][1], own[1][1]]
        if layer.kind != "average":
            found["dilations"] = layer.dilations
        if layer.kind == "depthwise":
            found["group"] = CHANNELS
        return found

    def _pad(self, layer: Layer, tensor: str, value: float) -> str:
        (top, bottom), (left, right) = layer.pads
        flat = [0, 0, top, left, 0, 0, bottom, right]
        if self.style.channels_last:
            flat = [0, top, left, 0, 0, bottom, right, 0]
        amounts = self._tensor(f"{layer.name}/amounts", np.asarray(flat, np.int64))
        given = self._tensor(f"{layer.name}/value", np.asarray(value, np.float32))
        return self._node("Pad", [tensor, amounts, given], f"{layer.name}/pad")

    def _weights(self, layer: Layer, scale: Any) -> list[str]:
        seed = layer.seed + (1000 if self.style.retrained else 0)
        rng = np.random.default_rng(seed)
        channels = IMAGE_CHANNELS if layer.source == "image" else CHANNELS
        shape: tuple[int, ...] = (CHANNELS, channels, *layer.kernel)
        if layer.kind == "depthwise":
            shape = (CHANNELS, 1, *layer.kernel)
        kernel = rng.standard_normal(shape) * scale.reshape(-1, 1, 1, 1)
        bias = rng.uniform(0.5, 1.0, CHANNELS) * scale
        if layer.kind == "transposed":
            kernel = kernel.swapaxes(0, 1)
        return [
            self._tensor(f"{layer.name}/kernel", kernel.astype(np.float32)),
            self._tensor(f"{layer.name}/bias", bias.astype(np.float32)),
        ]

    def _normalised(self, layer: Layer, tensor: str, scale: Any) -> str:
        ones, zeros = np.ones(CHANNELS, np.float32), np.zeros(CHANNELS, np.float32)
        values = {
            "scale": scale.astype(np.float32),
            "shift": zeros,
            "mean": zeros,
            "variance": ones,
        }
        inputs = [self._tensor(f"{layer.name}/{key}", value) for key, value in values.items()]
        name = f"{layer.name}/norm"
        return self._node("BatchNormalization", [tensor, *inputs], name, epsilon=0.0)

    def _node(self, op_type: str, inputs: list[str], name: str, **attributes: Any) -> str:
        full = f"{self.style.prefix}{name}"
        output = f"{full}:out"
        self.nodes.append(helper.make_node(op_type, inputs, [output], full, **attributes))
        return output

    def _tensor(self, name: str, values: Any) -> str:
        full = f"{self.style.prefix}{name}"
        self.tensors.append(numpy_helper.from_array(values, full))
        return full


# --- hypothesis ---------------------------------------------------------------------------


@st.composite
def nets(draw: st.DrawFn) -> Net:
    """Draw a network of 3 to 8 layers; every pool is read by a convolution."""
    size = (draw(st.integers(20, 40)), draw(st.integers(20, 40)))
    net = Net(size, (_layer(draw, "first", ["conv"], "image", size),))
    for index in range(draw(st.integers(2, 7))):
        sources = [layer.name for layer in net.layers if layer.kind not in ("max", "average")]
        source = draw(st.sampled_from([*sources[-1:], *sources[-1:], *sources]))
        name = f"layer{index}"
        layer = _layer(draw, name, list(KINDS), source, net.sizes()[source])
        net = Net(size, (*net.layers, layer))
        if layer.kind in ("max", "average"):
            after = _layer(draw, f"{name}_after", ["conv"], name, net.sizes()[name])
            net = Net(size, (*net.layers, after))
    return net


def _layer(draw: st.DrawFn, name: str, kinds: list[str], source: str, size: Pair) -> Layer:
    kind = draw(st.sampled_from(kinds))
    small = st.integers(1, 4 if min(size) > 8 else 2)
    kernel = (draw(small), draw(small))
    strides = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    dilations = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    if min(size) < 12:
        strides, dilations = (1, 1), (1, 1)
    if kind in ("max", "average"):
        dilations = (1, 1)
    if kind == "transposed":
        strides = min(strides[0], kernel[0]), min(strides[1], kernel[1])
    layer = Layer(name, kind, kernel, strides, dilations, ((0, 0), (0, 0)), source, draw(_SEEDS))
    return replace(layer, pads=_pads(draw, layer, size))


_SEEDS = st.integers(0, 2**20)


def _pads(draw: st.DrawFn, layer: Layer, size: Pair) -> Pads:
    found = []
    for kernel, dilation in zip(layer.kernel, layer.dilations, strict=True):
        most = kernel - 1 if layer.kind in ("max", "average") else (kernel - 1) * dilation
        limit = max(most, 0) if layer.kind != "transposed" else min(most, 1)
        found.append((draw(st.integers(0, limit)), draw(st.integers(0, limit))))
    return found[0], found[1]


@st.composite
def perturbations(draw: st.DrawFn, net: Net) -> dict[str, Pads]:
    """Draw other amounts for some layers, such that windows stand elsewhere."""
    sizes = net.sizes()
    changed: dict[str, Pads] = {}
    for layer in net.layers:
        if not draw(st.booleans()):
            continue
        size = sizes[layer.source]
        pads = _pads(draw, layer, size)
        befores = [pair[0] for pair in pads] != [pair[0] for pair in layer.pads]
        if befores or layer.output(size, pads) != layer.output(size):
            changed[layer.name] = pads
    return changed


styles = st.builds(
    Style,
    pad_nodes=st.booleans(),
    channels_last=st.booleans(),
    folded=st.booleans(),
    reversed_branches=st.booleans(),
    identities=st.booleans(),
)
