"""A Keras layer alone, before and after it was rewritten, in ONNX (channels first)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from padaudit.ir.site import Family, Padding, PaddingSite, Window
from padaudit.padding.amounts import AxisPads, effective_kernel
from padaudit.rewriting.edit import Edit
from padaudit.verification import oracle
from padaudit.verification.keras_forms import Form
from padaudit.verification.kits.convolution import convolved, site_bias, site_weights
from padaudit.verification.kits.kit import Array, Kit, meaning_of, small_integers
from padaudit.verification.kits.pooling import pool_kit
from padaudit.verification.site_models import build_model

_OPSET: Final = 17
_POOLS: Final = {Family.MAX_POOL: "MaxPool", Family.AVG_POOL: "AveragePool"}
_AUTO_PAD: Final = {Padding.SAME_UPPER: "SAME_UPPER"}


def keras_kit(edit: Edit, window: Window) -> Kit:
    """Return what a Keras site is proven with: its oracle is told nothing but its definition."""
    site, meaning = edit.site, meaning_of(edit)
    if site.family in _POOLS:
        kit = pool_kit(site, window, meaning)
        if edit.strategy != "keras_zero_padding" or site.family is not Family.MAX_POOL:
            return kit
        # Zeros stand in front of a max pool only where its input is proven not to be negative.
        return Kit({}, kit.channels, kit.dtype, _not_negative, kit.expected)
    weights = site_weights(window, _group(site))
    if site.family is Family.TRANSPOSED_CONV:
        return _transposed_kit(site, window)
    return Kit(
        {1: weights.kernel, 2: weights.bias},
        weights.channels,
        "float32",
        small_integers,
        lambda x: (convolved(x, window, weights, meaning, True),),
        {"group": weights.group},
        neutral=0.0,
    )


def rewritten_site(site: PaddingSite, window: Window, kit: Kit, ahead: Form, behind: Form) -> bytes:
    """Return a rewritten site: padding, the operator without any, cropping.

    Parameters
    ----------
    site : PaddingSite
        The site as it stands in the rewritten model.
    window : Window
        Its window.
    kit : Kit
        See `keras_kit`.
    ahead, behind : Form
        What stands in front of it and behind it.
    """
    model = _Model(window.rank)
    source = model.padded("x", ahead)
    own = site.pads or ()
    if site.family is Family.TRANSPOSED_CONV:
        result = model.operator(kit, site, window, source, **_valid_transposed(site, window))
        model.cropped(result, behind.pads)
    else:
        model.operator(kit, site, window, source, pads=[p[0] for p in own] + [p[1] for p in own])
    return model.bytes(kit)


def original_site(site: PaddingSite, window: Window, kit: Kit) -> bytes | None:
    """Return a site as it was, where ONNX has the same ``auto_pad``; None where it has not."""
    mode = _AUTO_PAD.get(site.padding)
    if mode is None or site.op.attributes.get("output_padding") is not None:
        return None
    model = _Model(window.rank)
    model.operator(kit, site, window, "x", auto_pad=mode)
    return model.bytes(kit)


class _Model:
    """Nodes and constants of a model under construction."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.nodes: list[NodeProto] = []
        self.tensors: dict[str, Array] = {}

    def operator(
        self, kit: Kit, site: PaddingSite, window: Window, source: str, **attributes: Any
    ) -> str:
        """Add the site's operator."""
        kind = _POOLS.get(site.family, "Conv")
        if site.family is Family.TRANSPOSED_CONV:
            kind = "ConvTranspose"
        settings: dict[str, Any] = {"strides": window.strides, **kit.attributes, **attributes}
        settings["kernel_shape"] = window.kernel_shape
        if site.family not in _POOLS:
            settings["dilations"] = window.dilations
        slots = {f"in{slot}": value.astype(np.float32) for slot, value in kit.inputs.items()}
        self.tensors |= slots
        self.nodes.append(helper.make_node(kind, [source, *slots], ["y"], **settings))
        return "y"

    def padded(self, source: str, form: Form) -> str:
        """Add a Pad with amounts that are stated, or computed from the size."""
        if form.window is None:
            amounts = self._constant("pads", _flat(form.pads))
        else:
            amounts = self._computed(source, form.window)
        value = self._constant("value", np.asarray(form.value, np.float32))
        pad = helper.make_node("Pad", [source, amounts, value], ["padded"], mode="constant")
        self.nodes.append(pad)
        return "padded"

    def cropped(self, source: str, crops: Sequence[AxisPads]) -> None:
        """Add a Pad of negative amounts."""
        flat = -_flat(crops)
        self._node("Pad", [source, self._constant("crops", flat)], "cropped")

    def bytes(self, kit: Kit) -> bytes:
        """Return the model; its result is that of its last operator."""
        given = (int(TensorProto.FLOAT), self.rank + 2)
        result = list(self.nodes[-1].output)
        return build_model(self.nodes, result, self.tensors, given, {"": _OPSET})

    def _computed(self, source: str, window: Window) -> str:
        """Write what SamePadding says: as many as the windows of ceil(n / s) reach too far."""
        strides = np.asarray(window.strides, np.int64)
        pairs = zip(window.kernel_shape, window.dilations, strict=True)
        extents = np.asarray([effective_kernel(*pair) for pair in pairs], np.int64)
        size = self._node("Shape", [source], "size", start=2)
        up = self._node("Add", [size, self._constant("up", strides - 1)], "up_to")
        count = self._node("Div", [up, self._constant("strides", strides)], "count")
        last = self._node("Sub", [count, self._constant("ones", strides * 0 + 1)], "last")
        start = self._node("Mul", [last, "strides"], "start")
        end = self._node("Add", [start, self._constant("extents", extents)], "end")
        over = self._node("Sub", [end, size], "over")
        total = self._node("Max", [over, self._constant("none", strides * 0)], "total")
        before = self._node("Div", [total, self._constant("two", strides * 0 + 2)], "before")
        after = self._node("Sub", [total, before], "after")
        lead = self._constant("lead", np.zeros(2, np.int64))
        return self._node("Concat", [lead, before, lead, after], "pads", axis=0)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: Array) -> str:
        self.tensors[name] = value
        return name


def _flat(pads: Sequence[AxisPads]) -> NDArray[np.int64]:
    befores, afters = [before for before, _ in pads], [after for _, after in pads]
    return np.asarray([0, 0, *befores, 0, 0, *afters], np.int64)


def _valid_transposed(site: PaddingSite, window: Window) -> dict[str, Any]:
    """Say what a Keras transposed convolution does with "valid", in ONNX's words.

    Source: ``keras.src.backend.common.backend_utils.compute_conv_transpose_output_shape``.
    """
    axes = zip(_extras(site, window.rank), window.strides, _extents(window), strict=True)
    appended = [max(s - ke, 0) if extra is None else extra for extra, s, ke in axes]
    return {"pads": [0, 0] * window.rank, "output_padding": appended}


def _transposed_kit(site: PaddingSite, window: Window) -> Kit:
    kernel = small_integers((2, 3, *window.kernel_shape), seed=7)
    bias = site_bias(3)
    extras, extents = _extras(site, window.rank), _extents(window)

    def expected(x: Array) -> tuple[Array, ...]:
        axes = zip(x.shape[2:], window.strides, extras, extents, strict=True)
        # Without output_padding every input has its stride; with it the last one has as much
        # as output_padding says, and one more where the kernel has a middle.
        wanted = [
            n * s if extra is None else n * s - s + extra + ke % 2 for n, s, extra, ke in axes
        ]
        result = oracle.conv_transpose(
            x,
            kernel,
            bias,
            strides=window.strides,
            dilations=window.dilations,
            mode="same_upper",
            output_shape=wanted,
        )
        return (result,)

    return Kit({1: kernel, 2: bias}, 2, "float32", small_integers, expected, neutral=0.0)


def _extras(site: PaddingSite, rank: int) -> list[int | None]:
    extra = site.op.attributes.get("output_padding")
    if extra is None or isinstance(extra, int):
        return [extra] * rank
    return list(extra) * (rank if len(extra) == 1 else 1)


def _extents(window: Window) -> list[int]:
    pairs = zip(window.kernel_shape, window.dilations, strict=True)
    return [effective_kernel(kernel, dilation) for kernel, dilation in pairs]


def _not_negative(shape: Sequence[int], seed: int) -> Array:
    """Return integers from 0 on, of which many are 0."""
    return np.random.default_rng(seed).integers(-6, 9, tuple(shape)).clip(0).astype(np.float64)


def _group(site: PaddingSite) -> int:
    depthwise = site.op.op_type.startswith(("Depthwise", "Separable"))
    return 2 if depthwise else site.group
