"""Ports that crop in front of operators and behind them: corrected whatever the idiom."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, node_types, weights

from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.formats.shape_options import InputShapes

SIZE = (11, 18)
END = 2**62
Step = tuple[Any, ...]


def chain(*steps: Step) -> ModelProto:
    """Return a model of steps in a row, on ``(1, 2, 11, 18)``, each ``(operator, settings)``."""
    nodes: list[NodeProto] = []
    tensors = [weights((2, 2, 3, 4)), weights((2,), "b", seed=1)]
    for place, (op_type, settings) in enumerate(steps):
        inputs = [f"t{place}" if place else "x"]
        attributes = dict(settings)
        if op_type in ("Conv", "ConvTranspose"):
            inputs += ["w", "b"]
        for key in ("starts", "ends", "axes", "amounts"):
            if key in attributes:
                values = np.int64(attributes.pop(key))
                tensors.append(numpy_helper.from_array(values, f"{key}{place}"))
                inputs.append(f"{key}{place}")
        output = "y" if place + 1 == len(steps) else f"t{place + 1}"
        nodes.append(helper.make_node(op_type, inputs, [output], f"{op_type}{place}", **attributes))
    return model(nodes, {"x": (1, 2, *SIZE)}, tensors)


def cut(*pairs: tuple[int, int]) -> Step:
    """Return a Slice of both axes, from and to."""
    starts, ends = zip(*pairs, strict=True)
    return "Slice", {"starts": starts, "ends": ends, "axes": [2, 3]}


def pad(top: int, bottom: int, left: int, right: int) -> Step:
    return "Pad", {"amounts": [0, 0, top, left, 0, 0, bottom, right]}


def conv(op_type: str = "Conv", *, pads: Sequence[int] = (0, 0, 0, 0)) -> Step:
    """Return a 3 x 4 operator of strides 2 x 3."""
    return op_type, {"strides": [2, 3], "pads": pads}


def pool(op_type: str, *, pads: Sequence[int] = (0, 0, 0, 0), **settings: Any) -> Step:
    return op_type, {"kernel_shape": [3, 4], "strides": [1, 2], "pads": pads, **settings}


UP, RELU = "ConvTranspose", ("Relu", {})
FULL = (23, 55)
"""What a 3 x 4 transposed convolution of strides 2 x 3 makes of 11 x 18."""
WRONG: dict[str, tuple[ModelProto, ModelProto, str]] = {
    "transposed, cropped at the wrong end": (
        chain(conv(UP, pads=[0, 0, 1, 1])),
        chain(conv(UP), cut((1, END), (1, END))),
        "ConvTranspose0",
    ),
    "transposed, cropped at the wrong end behind a ReLU": (
        chain(conv(UP), cut((0, -1), (0, -1)), RELU),
        chain(conv(UP), RELU, cut((1, FULL[0]), (1, FULL[1]))),
        "ConvTranspose0",
    ),
    "transposed, cropped twice": (
        chain(conv(UP), cut((0, 22), (1, 54))),
        chain(conv(UP), cut((1, END), (0, END)), ("Identity", {}), cut((0, END), (2, END))),
        "ConvTranspose0",
    ),
    "transposed, cropped too much at both ends": (
        chain(conv(UP, pads=[0, 1, 1, 0])),
        chain(conv(UP, pads=[0, 1, 0, 0]), cut((1, -1), (1, -1))),
        "ConvTranspose0",
    ),
    "transposed, cropped by a Pad at the wrong end": (
        chain(conv(UP, pads=[0, 0, 1, 1])),
        chain(conv(UP), pad(-1, 0, -1, 0)),
        "ConvTranspose0",
    ),
    "transposed, cropped in front of a convolution": (
        chain(conv(UP), cut((0, -1), (0, -1)), conv(pads=[1, 1, 1, 1])),
        chain(conv(UP), cut((1, END), (1, END)), conv(pads=[1, 1, 1, 1])),
        "ConvTranspose0",
    ),
    "transposed, cropped by a Pad in front of another": (
        chain(conv(UP), cut((0, -1), (0, -1)), conv(UP, pads=[0, 0, 1, 2])),
        chain(conv(UP), pad(-1, 0, -1, 0), conv(UP, pads=[0, 0, 1, 2])),
        "ConvTranspose0",
    ),
    "transposed, behind another that is cropped": (
        chain(conv(UP), pad(0, -1, 0, -1), conv(UP, pads=[0, 0, 1, 2])),
        chain(conv(UP), cut((0, -1), (0, -1)), conv(UP, pads=[1, 2, 0, 0])),
        "ConvTranspose2",
    ),
    "convolution, with more outputs than are right": (
        chain(conv(pads=[1, 1, 1, 1]), RELU, pool("MaxPool")),
        chain(conv(pads=[1, 1, 3, 4]), RELU, pool("MaxPool")),
        "Conv0",
    ),
    "convolution, its input cropped": (
        chain(conv(pads=[0, 0, 1, 1])),
        chain(cut((1, END), (2, END)), conv(pads=[0, 0, 1, 1])),
        "Conv1",
    ),
    "convolution, its input not cropped": (
        chain(pad(-1, 1, -2, 2), conv()),
        chain(conv(pads=[0, 0, 1, 1])),
        "Conv0",
    ),
    "convolution, cropped and padded on the wrong sides": (
        chain(RELU, cut((1, END), (0, -2)), pad(0, 1, 2, 0), conv()),
        chain(cut((0, -1), (0, -2)), RELU, pad(1, 0, 2, 0), conv()),
        "Conv3",
    ),
    "maximum, cropped behind": (
        chain(pool("MaxPool", pads=[1, 1, 1, 1])),
        chain(pool("MaxPool", pads=[2, 3, 2, 3]), cut((2, END), (2, END))),
        "MaxPool0",
    ),
    "mean, cropped behind": (
        chain(pool("AveragePool", pads=[2, 1, 2, 1])),
        chain(pool("AveragePool", pads=[2, 3, 2, 3]), cut((2, -1), (1, -1))),
        "AveragePool0",
    ),
    "mean that counts more than its kernel": (
        chain(pad(4, 4, 4, 4), pool("AveragePool")),
        chain(pool("AveragePool", pads=[2, 3, 2, 3], count_include_pad=1)),
        "AveragePool0",
    ),
    "mean behind a transposed Pad": (
        chain(pool("AveragePool", pads=[1, 1, 1, 2])),
        chain(
            ("Transpose", {"perm": [0, 2, 3, 1]}),
            ("Pad", {"amounts": [0, 1, 1, 0, 0, 1, 2, 0]}),
            ("Transpose", {"perm": [0, 3, 1, 2]}),
            pool("AveragePool"),
        ),
        "AveragePool3",
    ),
    "maximum behind a Pad of zeros": (
        chain(pool("MaxPool", pads=[1, 1, 1, 2])),
        chain(pad(2, 0, 1, 2), ("Identity", {}), pool("MaxPool")),
        "MaxPool2",
    ),
}


def saved(folder: Path, **models: ModelProto) -> list[Path]:
    paths = []
    for name, proto in models.items():
        paths.append(folder / f"{name}.onnx")
        paths[-1].write_bytes(proto.SerializeToString())
    return paths


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_port_is_corrected(case: str, tmp_path: Path) -> None:
    ours, theirs, name = WRONG[case]
    sized = onnx.shape_inference.infer_shapes(theirs, strict_mode=True)
    original, port = saved(tmp_path, original=ours, port=sized)
    result = compare_files(original, port, InputShapes(), tmp_path / "fixed.onnx")
    (item,) = result.differences
    assert item.port.id == name
    assert result.status is Sameness.DIFFERENT
    assert result.fixed is not None, (result.reason, result.unfixed, result.after)
    assert result.after is not None and result.after.max_abs < 1e-4
    # What a file records of sizes has to go with what is corrected.
    onnx.checker.check_model(onnx.load(result.fixed), full_check=True)
    again = compare_files(original, result.fixed, InputShapes())
    assert again.status is Sameness.SAME and not again.differences


RIGHT: dict[str, tuple[ModelProto, ModelProto]] = {
    "cropped by a Pad, or by a Slice": (
        chain(pad(-1, 1, -2, 2), conv()),
        chain(cut((1, END), (2, END)), pad(0, 1, 0, 2), conv()),
    ),
    "padded and then cropped, or both at once": (
        chain(pad(3, 1, 0, 2), cut((1, END), (2, END)), conv()),
        chain(pad(2, 1, -2, 2), conv()),
    ),
    "transposed, cropped by a Pad or by itself": (
        chain(conv(UP, pads=[1, 0, 2, 3]), conv(pads=[2, 1, 2, 1])),
        chain(conv(UP), pad(-1, -2, 0, -3), conv(pads=[2, 1, 2, 1])),
    ),
    "cropped behind, or padded less": (
        chain(conv(pads=[2, 1, 1, 1]), cut((1, END), (0, END))),
        chain(conv(pads=[0, 1, 1, 1])),
    ),
}


@pytest.mark.parametrize("case", RIGHT)
def test_idioms_that_mean_the_same(case: str, tmp_path: Path) -> None:
    ours, theirs = RIGHT[case]
    original, port = saved(tmp_path, original=ours, port=theirs)
    result = compare_files(original, port, InputShapes())
    assert result.status is Sameness.SAME and not result.differences and not result.notes


def test_what_is_cropped_and_padded_again_is_zero(tmp_path: Path) -> None:
    """Its amounts add up to nothing, and yet it is not what was there."""
    zeroed = chain(cut((1, END), (1, END)), pad(1, 0, 1, 0), conv())
    original, port = saved(tmp_path, original=zeroed, port=chain(conv()))
    result = compare_files(original, port, InputShapes())
    assert result.status is Sameness.DIFFERENT
    assert result.differences


def test_a_pad_that_something_else_reads_stays_for_that(tmp_path: Path) -> None:
    def forked(pads: Sequence[int], own: Sequence[int]) -> ModelProto:
        proto = chain(pad(*pads), pool("AveragePool", pads=own), conv())
        other = helper.make_node("Conv", ["t1", "w", "b"], ["z"], "other", strides=[2, 3])
        proto.graph.node.append(other)
        proto.graph.output.append(helper.make_tensor_value_info("z", 1, None))
        return proto

    right, wrong = forked((0, 0, 0, 0), (1, 1, 1, 2)), forked((1, 1, 1, 2), (0, 0, 0, 0))
    right.graph.node[-1].CopyFrom(
        helper.make_node("Conv", ["x", "w", "b"], ["z"], "other", strides=[2, 3], pads=[1, 1, 1, 2])
    )
    original, port = saved(tmp_path, original=right, port=wrong)
    result = compare_files(original, port, InputShapes(), tmp_path / "fixed.onnx")
    (item,) = result.differences
    assert item.port.id == "AveragePool1" and item.divisor
    assert result.fixed is not None and result.after is not None and result.after.max_abs < 1e-4
    assert node_types(onnx.load(result.fixed)) == ["Pad", "AveragePool", "Conv", "Conv"]
