"""A Keras rewrite that is wrong by one thing is never proven, whatever the layer and the strategy.

Each scenario is one layer with implicit padding. It is rewritten and proven at site level; then
its written file is changed by one thing, and the proof must not say "equivalent".
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import load
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.proof import prove_rewrite

sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_configs import Config, called, functional, layer, sequential, tensor, wrapped, write

Mutation = Callable[[list[Config]], None]
FIRST, LAST = {"data_format": "channels_first"}, {"data_format": "channels_last"}


@dataclass(frozen=True)
class Scenario:
    """A model, how its layer ``target`` is rewritten, and what is changed afterwards.

    What is harmless changes the definition, and not what it computes.
    """

    config: Config
    strategy: str
    mutants: Mapping[str, Mutation]
    suffix: str = ".h5"
    open_sizes: str = "keep"
    harmless: Mapping[str, Mutation] = field(default_factory=dict)


def same(class_name: str, name: str = "target", **settings: Any) -> Config:
    return layer(class_name, name, padding="same", **settings)


def put(name: str, key: str, value: Any) -> Mutation:
    """Return a mutation of a setting; those of wrapped layers are reached through ``layer``."""

    def mutate(layers: list[Config]) -> None:
        *outer, last = key.split(".")
        settings = next(item for item in layers if item["config"]["name"] == name)["config"]
        for part in outer:
            settings = settings[part]["config"]
        assert settings.get(last) != value, "the mutant is no mutant"
        settings[last] = value

    return mutate


def without(name: str) -> Mutation:
    """Return a mutation that takes a layer out of a Sequential."""

    def mutate(layers: list[Config]) -> None:
        kept = [item for item in layers if item["config"]["name"] != name]
        assert len(kept) == len(layers) - 1
        layers[:] = kept

    return mutate


def with_more(*records: Config) -> Mutation:
    """Return a mutation that puts layers in front of the target of a Sequential."""

    def mutate(layers: list[Config]) -> None:
        names = [item["config"]["name"] for item in layers]
        layers[names.index("target") : names.index("target")] = copy.deepcopy(records)

    return mutate


def constant(value: float | None) -> Mutation:
    """Return a mutation of the value that the operation ``target_pad`` pads with."""

    def mutate(layers: list[Config]) -> None:
        (record,) = [item for item in layers if item["class_name"] == "Pad"]
        record["inbound_nodes"][0]["kwargs"] = {} if value is None else {"constant_values": value}

    return mutate


def past_the_crop(layers: list[Config]) -> None:
    """Let the layer behind read what is not cropped."""
    reader = next(item for item in layers if item["config"]["name"] == "reader")
    reader["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["target", 0, 0]


TRANSPOSED = {"filters": 3, "kernel_size": [5, 4], "strides": [2, 1], "use_bias": True}
"""Crops (1, 2) of the height and (1, 2) of the width at first; the tests make them differ."""
POOL = {"pool_size": [3, 4], "strides": [2, 3]}
RELU = layer("Activation", "relu", activation="relu")


def reading(
    first: Config, *, shape: tuple[int | None, ...], grown: tuple[int | None, ...]
) -> Config:
    """Return a functional model of the target and a layer that reads it."""
    behind = layer("Activation", "reader", activation="tanh")
    return functional(
        {"image": shape},
        [called(first, tensor("image", shape)), called(behind, tensor("target", grown))],
        "reader",
    )


def convolution(
    class_name: str,
    shape: tuple[int | None, ...],
    padding: list[Any],
    how: Mapping[str, Any],
    **mutants: Mutation,
) -> Scenario:
    """Return a convolution behind a ZeroPadding layer of these amounts, and its mutants.

    Every amount is shifted by one, in either direction where it can be, and moved to the
    other side; axes are swapped where there are several. With a stride, no window reaches
    what is added at the end.
    """
    strides = [how.get("strides", 1)] if isinstance(padding[0], int) else how.get("strides", [])
    strides = np.ravel(strides).tolist() or [1] * len(padding)
    flat = padding if isinstance(padding[0], list) else [padding]
    changed: dict[str, list[list[int]]] = {}
    for axis, side in product(range(len(flat)), (0, 1)):
        for step in (1, -1):
            moved = copy.deepcopy(flat)
            moved[axis][side] += step
            if moved[axis][side] >= 0:
                changed[f"axis {axis}, side {side}, {step:+}"] = moved
    swapped = [list(reversed(pair)) for pair in flat]
    rotated = [*flat[1:], flat[0]]
    changed |= {"the other side": swapped, "axes swapped": rotated, "nothing": [[0, 0]] * len(flat)}
    put_all = {
        name: put("target_pad", "padding", value if len(flat) > 1 else value[0])
        for name, value in changed.items()
        if value != flat
    }
    unreached = {f"axis {axis}, side 1, +1" for axis, stride in enumerate(strides) if stride > 1}
    return Scenario(
        sequential(shape, layer(class_name, "target", **{"padding": "same", **how})),
        "keras_zero_padding",
        {
            **{name: change for name, change in put_all.items() if name not in unreached},
            "no padding layer": without("target_pad"),
            "another stride": put("target", "strides", [stride + 1 for stride in strides]),
            **mutants,
        },
        harmless={name: put_all[name] for name in sorted(unreached)},
    )


CHANNELS = put("target_pad", "data_format", "channels_first")
CONVOLUTIONS = {
    "Conv1D": convolution(
        "Conv1D", (None, 11, 2), [1, 2], {"filters": 3, "kernel_size": [5], "strides": [3]}
    ),
    "Conv1D, causal": convolution(
        "Conv1D",
        (None, 11, 2),
        [6, 0],
        {"filters": 3, "kernel_size": [4], "strides": [1], "padding": "causal"}
        | {"dilation_rate": [2]},
    ),
    "Conv2D": convolution(
        "Conv2D",
        (None, 10, 13, 2),
        [[0, 1], [2, 2]],
        {"filters": 3, "kernel_size": [3, 5], "strides": [2, 3], "use_bias": True},
        channels=CHANNELS,
    ),
    "Conv2D, grouped and dilated": convolution(
        "Conv2D",
        (None, 8, 9, 4),
        [[2, 2], [1, 2]],
        {"filters": 6, "kernel_size": [3, 2], "dilation_rate": [2, 3], "groups": 2},
    ),
    "DepthwiseConv2D": convolution(
        "DepthwiseConv2D",
        (None, 10, 14, 2),
        [[1, 2], [0, 1]],
        {"kernel_size": [5, 3], "strides": [2, 2], "depth_multiplier": 2},
        channels=CHANNELS,
    ),
    "SeparableConv1D": convolution(
        "SeparableConv1D", (None, 10, 2), [0, 1], {"filters": 3, "kernel_size": 3, "strides": 2}
    ),
    "SeparableConv2D": convolution(
        "SeparableConv2D",
        (None, 9, 7, 2),
        [[1, 1], [1, 2]],
        {"filters": 3, "kernel_size": [3, 4], "strides": [2, 2]},
    ),
    "Conv3D": convolution(
        "Conv3D",
        (None, 5, 7, 9, 2),
        [[0, 1], [1, 1], [1, 2]],
        {"filters": 2, "kernel_size": [2, 3, 4], "strides": [1, 2, 1]},
    ),
}


SCENARIOS: dict[str, Scenario] = {
    **CONVOLUTIONS,
    "transposed": Scenario(
        sequential(
            (None, 6, 7, 2),
            same("Conv2DTranspose", **{**TRANSPOSED, "kernel_size": [5, 2], "strides": [2, 1]}),
        ),
        "keras_cropping",
        {
            "one more before, one less after": put("target_crop", "cropping", [[2, 1], [0, 1]]),
            "the other side": put("target_crop", "cropping", [[2, 1], [1, 0]]),
            "one less": put("target_crop", "cropping", [[1, 1], [0, 1]]),
            "axes swapped": put("target_crop", "cropping", [[0, 1], [1, 2]]),
            "channels cropped": put("target_crop", "data_format", "channels_first"),
            "nothing": put("target_crop", "cropping", [[0, 0], [0, 0]]),
            "no crop": without("target_crop"),
            "another stride": put("target", "strides", [1, 2]),
            "an output_padding": put("target", "output_padding", [1, 0]),
        },
    ),
    "transposed, with output_padding": Scenario(
        sequential(
            (None, 6, 7, 2),
            same("Conv2DTranspose", **{**TRANSPOSED, "strides": [3, 2]}, output_padding=[2, 1]),
        ),
        "keras_cropping",
        {
            "what is appended stays": put("target_crop", "cropping", [[1, 1], [1, 2]]),
            "one more before": put("target_crop", "cropping", [[2, 2], [1, 3]]),
            "no output_padding": put("target", "output_padding", None),
        },
    ),
    "transposed, of open size, kernel below stride": Scenario(
        sequential(
            (None, None, None, 2),
            same("Conv2DTranspose", filters=2, kernel_size=[2, 5], strides=[4, 2]),
        ),
        "keras_cropping",
        {
            "the first axis too": put("target_crop", "cropping", [[0, 1], [1, 2]]),
            "the other side": put("target_crop", "cropping", [[0, 0], [2, 1]]),
        },
    ),
    "transposed, in frames, channels first": Scenario(
        sequential(
            (None, 3, 2, 6, 7),
            wrapped(
                "TimeDistributed",
                "target",
                same("Conv2DTranspose", "each", **TRANSPOSED, **FIRST),
            ),
        ),
        "keras_cropping",
        {
            "the other side": put("target_crop", "layer.cropping", [[2, 1], [1, 2]]),
            "the other layout": put("target_crop", "layer.data_format", "channels_last"),
        },
    ),
    "transposed, read by another layer": Scenario(
        reading(
            same("Conv2DTranspose", **TRANSPOSED), shape=(None, 6, 7, 2), grown=(None, 12, 7, 3)
        ),
        "keras_cropping",
        {"the reader past the crop": past_the_crop},
    ),
    "max pool, by an operation": Scenario(
        reading(same("MaxPooling2D", **POOL), shape=(None, 8, 7, 2), grown=(None, 4, 3, 2)),
        "keras_pad_operation",
        {
            "zeros": constant(0.0),
            "no value": constant(None),
            "a value that data may be below": constant(-1e6),
            "the other side": put("target_pad", "pad_width", [[0, 0], [1, 0], [1, 2], [0, 0]]),
            "axes swapped": put("target_pad", "pad_width", [[0, 0], [1, 2], [0, 1], [0, 0]]),
            "one channel more": put("target_pad", "pad_width", [[0, 0], [0, 1], [1, 2], [0, 1]]),
            "one image more": put("target_pad", "pad_width", [[1, 0], [0, 1], [1, 2], [0, 0]]),
        },
        ".keras",
    ),
    "max pool, behind an activation": Scenario(
        sequential((None, 8, 7, 2), RELU, same("MaxPooling2D", **POOL)),
        "keras_zero_padding",
        {
            "the other side": put("target_pad", "padding", [[1, 0], [1, 2]]),
            "axes swapped": put("target_pad", "padding", [[1, 2], [0, 1]]),
            "no padding layer": without("target_pad"),
        },
    ),
    "average pool, nothing to pad": Scenario(
        sequential((None, 6, 9, 2), same("AveragePooling2D", pool_size=[2, 3], strides=[2, 3])),
        "keras_zero_padding",
        {
            "another stride": put("target", "strides", [3, 3]),
            "moved by one": with_more(
                layer("ZeroPadding2D", "more_pad", padding=[[0, 1], [0, 0]]),
                layer("Cropping2D", "more_crop", cropping=[[1, 0], [0, 0]]),
            ),
            "a Pad for nothing": with_more(
                layer("Cropping2D", "more_crop", cropping=[[1, 0], [0, 0]]),
                layer("ZeroPadding2D", "more_pad", padding=[[0, 1], [0, 0]]),
            ),
        },
    ),
    "ConvLSTM1D": Scenario(
        sequential(
            (None, 4, 10, 2), same("ConvLSTM1D", filters=2, kernel_size=[4], strides=[3], **LAST)
        ),
        "keras_zero_padding",
        {
            "the other side": put("target_pad", "padding", [[0, 0], [2, 1]]),
            "time is padded": put("target_pad", "padding", [[1, 2], [0, 0]]),
            "time is padded too": put("target_pad", "padding", [[1, 0], [1, 2]]),
        },
    ),
    "ConvLSTM2D, channels first": Scenario(
        sequential(
            (None, 4, 2, 10, 9),
            same("ConvLSTM2D", filters=2, kernel_size=[4, 3], strides=[3, 2], **FIRST),
        ),
        "keras_zero_padding",
        {
            "axes swapped": put("target_pad", "padding", [[0, 0], [1, 1], [1, 1]]),
            "channels are padded": put("target_pad", "padding", [[1, 0], [0, 0], [1, 1]]),
            "the other layout": put("target_pad", "data_format", "channels_last"),
        },
    ),
    "ConvLSTM3D": Scenario(
        sequential(
            (None, 2, 5, 7, 6, 2),
            same("ConvLSTM3D", filters=2, kernel_size=[2, 3, 4], strides=[1, 1, 1], **LAST),
        ),
        "keras_zero_padding",
        {"axes swapped": put("target_pad", "layer.padding", [[0, 1], [1, 2], [1, 1]])},
    ),
    "in frames": Scenario(
        sequential(
            (None, 3, 10, 9, 2),
            wrapped(
                "TimeDistributed",
                "target",
                same("Conv2D", "each", filters=3, kernel_size=[4, 3], strides=[3, 2]),
            ),
        ),
        "keras_zero_padding",
        {
            "the other side": put("target_pad", "layer.padding", [[0, 0], [0, 2]]),
            "axes swapped": put("target_pad", "layer.padding", [[1, 1], [0, 0]]),
            "another dilation": put("target", "layer.dilation_rate", [1, 2]),
        },
    ),
    "of open size": Scenario(
        sequential(
            (None, None, None, 2),
            same("Conv2D", filters=3, kernel_size=[4, 3], strides=[3, 2], dilation_rate=[1, 1]),
        ),
        "keras_same_padding",
        {
            "another kernel": put("target_pad", "kernel_size", [3, 4]),
            "another stride": put("target_pad", "strides", [2, 3]),
            "a dilation": put("target_pad", "dilation_rate", [1, 2]),
            "the other layout": put("target_pad", "data_format", "channels_first"),
            "another value": put("target_pad", "value", 1.0),
        },
        open_sizes="layer",
    ),
    "max pool of open size": Scenario(
        sequential((None, None, 7, 2), same("MaxPooling2D", **POOL)),
        "keras_same_padding",
        {"zeros": put("target_pad", "value", 0.0)},
        open_sizes="layer",
    ),
}
"""Where amounts look alike on both axes, the other axis tells a mutant."""


def prove(scenario: Scenario, folder: Path, mutate: Mutation | None) -> Verification:
    """Rewrite a scenario, change the result, write it, and prove it."""
    source = write(folder / f"m{scenario.suffix}", scenario.config)
    options = Options(verify="site", open_sizes=scenario.open_sizes)
    read = load(source, InputShapes())
    plan = make_plan(read.document, read.sites, "pad", options.wishes, read.graph)
    assert [edit.strategy for edit in plan.edits] == [scenario.strategy], plan.kept
    config = copy.deepcopy(apply_plan(read.document, plan).document.config)
    if mutate:
        mutate(config["config"]["layers"])
    return prove_rewrite(read, write(folder / f"w{scenario.suffix}", config), plan, options)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_correct_rewrite_is_equivalent(name: str, tmp_path: Path) -> None:
    verdict = prove(SCENARIOS[name], tmp_path, None)
    assert (verdict.status, verdict.reason) == (Status.EQUIVALENT, "")
    assert {item.level for item in verdict.evidence} == {"definition", "site"}


@pytest.mark.parametrize(
    ("name", "mutant"),
    [(name, mutant) for name, scenario in SCENARIOS.items() for mutant in scenario.mutants],
)
def test_a_mutant_is_different(name: str, mutant: str, tmp_path: Path) -> None:
    verdict = prove(SCENARIOS[name], tmp_path, SCENARIOS[name].mutants[mutant])
    assert verdict.status is Status.DIFFERENT


@pytest.mark.parametrize(
    ("name", "mutant"),
    [(name, mutant) for name, scenario in SCENARIOS.items() for mutant in scenario.harmless],
)
def test_what_no_window_reaches_makes_no_difference(name: str, mutant: str, tmp_path: Path) -> None:
    verdict = prove(SCENARIOS[name], tmp_path, SCENARIOS[name].harmless[mutant])
    assert verdict.status is Status.EQUIVALENT
