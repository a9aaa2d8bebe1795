"""The padding of a naive port, against PyTorch's own operators."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, helper, numpy_helper
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import conv_model, model, weights

from padaudit.errors import InputError, UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.verification.inputs import InputSpec
from padaudit.verification.samples import from_file, made_up
from padaudit.verification.what_if import WhatIf, what_if

SIZE = (17, 14)
PADS = {
    "conv": ((1, 1), (1, 1)),  # 3 x 4, strides 2 x 3
    "dilated": ((0, 2), (3, 1)),  # 3 x 2, dilations 2 x 3, stated
    "depthwise": ((1, 2), (0, 1)),  # 4 x 3, strides 1 x 2
    "max": ((1, 1), (0, 1)),  # 3 x 2, strides 2 x 1
    "average": ((0, 1), (1, 1)),  # 2 x 3
    "transposed": ((0, 1), (0, 1)),  # 3 x 4, strides 2 x 3: crops
}
"""What is right, worked out by hand from the specification."""
KERNELS = {
    "conv": ((3, 4), (2, 3), (1, 1)),
    "dilated": ((3, 2), (1, 1), (2, 3)),
    "depthwise": ((4, 3), (1, 2), (1, 1)),
    "max": ((3, 2), (2, 1), (1, 1)),
    "average": ((2, 3), (1, 1), (1, 1)),
    "transposed": ((3, 4), (2, 3), (1, 1)),
}
"""Kernel, strides, dilations."""


def all_kinds() -> ModelProto:
    """Return one operator of each kind on the same input, each with an output of its own."""
    nodes = []
    for name, (kernel, strides, dilations) in KERNELS.items():
        op_type = {"max": "MaxPool", "average": "AveragePool", "transposed": "ConvTranspose"}
        settings: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
        if name == "dilated":
            (top, bottom), (left, right) = PADS[name]
            settings |= {"dilations": dilations, "pads": [top, left, bottom, right]}
        else:
            settings["auto_pad"] = "SAME_UPPER"
        if name == "depthwise":
            settings["group"] = 4
        inputs = ["x"] if name in ("max", "average") else ["x", f"{name}/w", f"{name}/b"]
        kind = op_type.get(name, "Conv")
        nodes.append(helper.make_node(kind, inputs, [f"{name}/y"], name, **settings))
    tensors = []
    for name in ("conv", "dilated", "depthwise", "transposed"):
        shape = (4, 1 if name == "depthwise" else 4, *KERNELS[name][0])
        tensors += [weights(shape, f"{name}/w", 3), weights((4,), f"{name}/b", 4)]
    outputs = tuple(f"{name}/y" for name in KERNELS)
    return model(nodes, {"x": (1, 4, *SIZE)}, tensors, outputs=outputs)


def computed(name: str, x: torch.Tensor, pads: Any, tensors: dict[str, Any]) -> torch.Tensor:
    """Return what an operator gives with some amounts, before it is made to fit."""
    kernel, strides, dilations = KERNELS[name]
    flat = [amount for pair in reversed(pads) for amount in pair]
    if name == "max":
        return functional.max_pool2d(functional.pad(x, flat, value=-torch.inf), kernel, strides)
    if name == "average":
        ones = functional.pad(torch.ones_like(x), flat)
        sums = functional.avg_pool2d(functional.pad(x, flat), kernel, strides)
        return sums / functional.avg_pool2d(ones, kernel, strides)
    weight, bias = tensors[f"{name}/w"], tensors[f"{name}/b"]
    if name != "transposed":
        group = 4 if name == "depthwise" else 1
        padded = functional.pad(x, flat)
        return functional.conv2d(padded, weight, bias, strides, 0, dilations, group)
    full = functional.conv_transpose2d(x, weight, None, strides)
    shifted = full[:, :, pads[0][0] :, pads[1][0] :]
    height, width = (size * stride for size, stride in zip(x.shape[2:], strides, strict=True))
    grown = functional.pad(shifted, (0, 9, 0, 9))[:, :, :height, :width]
    return grown + bias.reshape(1, -1, 1, 1)


def fitted(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Take outputs away from the end of each axis, or add zeros there."""
    wanted = [a - b for a, b in zip(like.shape[2:], values.shape[2:], strict=True)]
    return functional.pad(values, (0, wanted[1], 0, wanted[0]))


def lower(kernel: int, pads: tuple[int, int]) -> tuple[int, int]:
    return (pads[1], pads[0]) if pads[1] > pads[0] else pads


VARIANTS: dict[str, Callable[[int, tuple[int, int]], tuple[int, int]]] = {
    "symmetric": lambda extent, pads: (extent // 2, extent // 2),
    "torch": lambda extent, pads: ((extent - 1) // 2, (extent - 1) // 2),
    "lower": lower,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_costs_are_those_of_pytorch(variant: str, tmp_path: Path) -> None:
    proto = all_kinds()
    path = tmp_path / "all.onnx"
    path.write_bytes(proto.SerializeToString())
    result = what_if(path, variant, InputShapes())
    tensors = {
        item.name: torch.from_numpy(numpy_helper.to_array(item).copy())
        for item in proto.graph.initializer
    }
    feeds = made_up([InputSpec("x", "float32", (1, 4, *SIZE))]).feeds
    expected: dict[str, float] = {}
    for name, (kernel, _, dilations) in KERNELS.items():
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        pairs = zip(extents, PADS[name], strict=True)
        wrong = [VARIANTS[variant](extent, pads) for extent, pads in pairs]
        differences = []
        for feed in feeds:
            x = torch.from_numpy(feed["x"])
            right = computed(name, x, PADS[name], tensors)
            there = fitted(computed(name, x, wrong, tensors), right)
            differences.append(float((right - there).abs().max()))
        expected[name] = max(differences)
    costs = {cost.site: cost.max_abs for cost in result.costs}
    assert costs.pop("all") == pytest.approx(max(expected.values()), rel=1e-5)
    moved = {name: value for name, value in expected.items() if value > 1e-5}
    assert costs == pytest.approx(moved, rel=1e-5)
    assert set(result.unchanged) == set(KERNELS) - set(moved)
    assert not result.not_tried
    assert [cost.site for cost in result.costs][1:] == sorted(costs, key=lambda name: -costs[name])


# --- samples ------------------------------------------------------------------------------


def classifier(batch: int | str = "N") -> ModelProto:
    """Return a convolution that sees where a bright pixel is, and its two classes."""
    kernel = numpy_helper.from_array(np.float32([[[[1.0, 0.0]]], [[[0.0, 1.0]]]]), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", auto_pad="SAME_UPPER"),
        helper.make_node("Slice", ["c", "start", "end", "axis"], ["s"]),
        helper.make_node("Flatten", ["s"], ["y"]),
    ]
    slots = {"start": [0], "end": [1], "axis": [3]}
    tensors = [numpy_helper.from_array(np.int64(v), name) for name, v in slots.items()]
    return model(nodes, {"x": (batch, 1, 1, 2)}, [kernel, *tensors])


SAMPLES = np.float32([[[[1, 0]]], [[[0, 1]]], [[[1, 0]]], [[[0, 2]]]])
CLASSES = np.int64([0, 1, 0, 1])


def tried(folder: Path, batch: int | str = "N", **arrays: Any) -> WhatIf:
    path, samples = folder / "c.onnx", folder / "samples.npz"
    path.write_bytes(classifier(batch).SerializeToString())
    np.savez(samples, **arrays)
    return what_if(path, "lower", InputShapes(), inputs=samples)


def test_accuracy_right_and_wrong(tmp_path: Path) -> None:
    result = tried(tmp_path, x=SAMPLES, y=CLASSES)
    assert result.accuracy == 1.0
    total, one = result.costs
    assert (total.site, one.site) == ("all", "conv")
    # One pixel to the left of the first one is nothing: only the second class is seen.
    assert total.accuracy == one.accuracy == 0.0
    assert one.top1_changed == 1.0
    assert (one.max_abs, one.mean_abs) == (2.0, pytest.approx(0.875))


def test_samples_are_run_in_the_batches_that_the_model_takes(tmp_path: Path) -> None:
    result = tried(tmp_path, batch=3, x=SAMPLES, y=CLASSES)
    assert result.samples == 3 and result.accuracy == 1.0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another name": (
        {"a": SAMPLES, "b": SAMPLES},
        "no array for 'x', and the model has no input 'a', 'b'",
    ),
    "another size": ({"x": SAMPLES[..., :1]}, "has the shape"),
    "too few labels": ({"x": SAMPLES, "y": CLASSES[:3]}, "its classes"),
    "pickled": ({"x": np.asarray([None, "code"], object)}, "holds Python objects"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_samples_that_do_not_fit(case: str, tmp_path: Path) -> None:
    arrays, message = REFUSED[case]
    path = tmp_path / "samples.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message):
        from_file(path, [InputSpec("x", "float32", ("N", 1, 1, 2))])


# --- sites --------------------------------------------------------------------------------


def test_one_site_only(tmp_path: Path) -> None:
    path = tmp_path / "all.onnx"
    path.write_bytes(all_kinds().SerializeToString())
    result = what_if(path, "symmetric", InputShapes(), site="max")
    assert [cost.site for cost in result.costs] == ["max"]
    with pytest.raises(UsageError, match=r"no site 'other'; it has conv, dilated"):
        what_if(path, "symmetric", InputShapes(), site="other")


def test_an_operator_of_unknown_window_is_listed(tmp_path: Path) -> None:
    proto = conv_model(SIZE, (3, 4), auto_pad="SAME_UPPER")
    proto.graph.node[0].input[1] = "given"
    proto.graph.input.append(helper.make_tensor_value_info("given", 1, None))
    path = tmp_path / "given.onnx"
    path.write_bytes(proto.SerializeToString())
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.ones((1, 2, *SIZE)), given=np.ones((1, 2, 3, 4)))
    shapes = InputShapes({"given": (4, 2, 3, 4)})
    assert what_if(path, "symmetric", shapes).costs
    with pytest.raises(UsageError, match="no known rank"):
        what_if(path, "symmetric", InputShapes(), inputs=samples)


def test_sites_without_unequal_padding_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "even.onnx"
    path.write_bytes(conv_model(SIZE, (3, 5), pads=[2, 1, 2, 1]).SerializeToString())
    result = what_if(path, "symmetric", InputShapes())
    assert not result.costs and not result.unchanged
    asked = what_if(path, "symmetric", InputShapes(), site="conv")
    assert [cost.site for cost in asked.costs] == ["conv"]


def test_the_command_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from padaudit.cli.app import cli

    path = tmp_path / "c.onnx"
    path.write_bytes(classifier().SerializeToString())
    np.savez(tmp_path / "samples.npz", SAMPLES, y=CLASSES)
    monkeypatch.chdir(tmp_path)
    arguments = ["verify", "c.onnx", "--what-if", "lower", "--inputs", "samples.npz"]
    assert cli.main([*arguments, "--output-format", "json"], standalone_mode=False) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "padaudit.verify/1" and report["accuracy"] == 1.0
    assert [(item["variant"], item["site"]) for item in report["what_if"]] == [
        ("lower", "all"),
        ("lower", "conv"),
    ]
    assert report["what_if"][0]["top1_changed"] == 1.0
    assert cli.main(
        ["check", "--impact", "--output-format", "json", "c.onnx"], standalone_mode=False
    )
    (checked,) = json.loads(capsys.readouterr().out)["models"]
    assert checked["findings"][0]["impact"]["variant"] == "symmetric"
    assert checked["findings"][0]["impact"]["max_abs"] > 0
    with pytest.raises(UsageError, match="--site goes with --what-if"):
        cli.main(["verify", "c.onnx", "c.onnx", "--site", "conv"], standalone_mode=False)
