"""Level 1 of the proof for every family: the right rewrite passes, each mutant is caught."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import Wishes, make_plan
from padaudit.rewriting.run import load
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.proof import prove_rewrite

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import attribute, model, weights

MICROSOFT = "com.microsoft"
FIXED, OPEN = (17, 14), ("H", "W")
SAME: dict[str, Any] = {"strides": [2, 3], "auto_pad": "SAME_UPPER"}
POOL: dict[str, Any] = {"kernel_shape": [3, 4], **SAME}


def tensor(name: str, values: Any, dtype: Any) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def bytes_of(shape: tuple[int, ...], dtype: Any) -> Any:
    return np.random.default_rng(3).integers(-4, 5, shape).astype(dtype)


QUANTIZED = [
    tensor("s", 0.5, np.float32),
    tensor("z", 9, np.uint8),
    tensor("q", bytes_of((4, 2, 3, 4), np.int8), np.int8),
    tensor("wz", 0, np.int8),
]
Q_INPUTS = ["x", "s", "z", "q", "s", "wz", "s", "z"]


def build(op_type: str, inputs: list[str], sizes: Any, **settings: Any) -> ModelProto:
    """Return one operator named "site"."""
    last, dtype = settings.pop("last", False), settings.pop("dtype", TensorProto.FLOAT)
    outputs, tensors = settings.pop("outputs", ["y"]), settings.pop("tensors", [])
    domain = settings.get("domain", "")
    shape = (1, *sizes, 2) if last else (1, 2, *sizes)
    node = helper.make_node(op_type, inputs, outputs, "site", **settings)
    proto = model([node], {"x": shape}, tensors, dtype=dtype, domains=(domain,) if domain else ())
    proto.graph.output[0].type.tensor_type.elem_type = (
        TensorProto.INT32 if op_type == "ConvInteger" else dtype
    )
    return proto


KERNEL = [weights((4, 2, 3, 4)), weights((4,), "b", seed=1)]
TRANSPOSED = [weights((2, 3, 5, 4)), weights((3,), "b", seed=1)]
U8 = {"dtype": TensorProto.UINT8}
FAMILIES: dict[str, Callable[[Any], ModelProto]] = {
    "conv": lambda n: build("Conv", ["x", "w", "b"], n, tensors=KERNEL, **SAME),
    "fused": lambda n: build(
        "FusedConv",
        ["x", "w", "b"],
        n,
        tensors=KERNEL,
        domain=MICROSOFT,
        activation="Relu",
        **SAME,
    ),
    "max": lambda n: build("MaxPool", ["x"], n, **POOL),
    "indices": lambda n: build("MaxPool", ["x"], n, outputs=["y", "i"], **POOL),
    "bytes": lambda n: build("MaxPool", ["x"], n, dtype=TensorProto.INT8, **POOL),
    "average": lambda n: build("AveragePool", ["x"], n, **POOL),
    "average all": lambda n: build("AveragePool", ["x"], n, count_include_pad=1, **POOL),
    "lp": lambda n: build("LpPool", ["x"], n, p=3, **POOL),
    "integer": lambda n: build("ConvInteger", ["x", "q", "z"], n, tensors=QUANTIZED, **U8, **SAME),
    "qlinear": lambda n: build("QLinearConv", Q_INPUTS, n, tensors=QUANTIZED, **U8, **SAME),
    "nhwc conv": lambda n: build(
        "QLinearConv",
        Q_INPUTS,
        n,
        tensors=QUANTIZED,
        last=True,
        domain=MICROSOFT,
        channels_last=1,
        **U8,
        **SAME,
    ),
    "nhwc max": lambda n: build("NhwcMaxPool", ["x"], n, last=True, domain=MICROSOFT, **U8, **POOL),
    "q average": lambda n: build(
        "QLinearAveragePool",
        ["x", "s", "z", "s", "z"],
        n,
        tensors=QUANTIZED[:2],
        domain=MICROSOFT,
        **U8,
        **POOL,
    ),
    "transposed": lambda n: build("ConvTranspose", ["x", "w", "b"], n, tensors=TRANSPOSED, **SAME),
}
STYLES = ("pad", "attrs")


def prove(
    original: ModelProto,
    folder: Path,
    style: str,
    mutate: Callable[[ModelProto], None] | None = None,
    wishes: Wishes | None = None,
) -> Verification:
    """Rewrite, change the result by one thing, write it, and prove each site alone."""
    source, written = folder / "m.onnx", folder / "written.onnx"
    source.write_bytes(original.SerializeToString())
    read = load(source, InputShapes())
    plan = make_plan(read.document, read.sites, style, wishes, read.graph)
    assert len(plan.edits) == 1
    result: ModelProto = apply_plan(read.document, plan, read.graph).document.model
    if mutate is not None:
        mutate(result)
    written.write_bytes(result.SerializeToString())
    return prove_rewrite(read, written, plan, Options(style=style, verify="site"))


def site(proto: ModelProto) -> NodeProto:
    return next(node for node in proto.graph.node if node.name == "site")


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def initializer(proto: ModelProto, suffix: str) -> TensorProto | None:
    return next((t for t in proto.graph.initializer if t.name.endswith(suffix)), None)


def amounts(proto: ModelProto) -> tuple[list[int], Callable[[list[int]], None]]:
    """Return the amounts where they stand, and how to write others there."""
    stored = initializer(proto, "site/pad/pads")
    if stored is not None:
        name = stored.name
        return numpy_helper.to_array(stored).tolist(), lambda values: stored.CopyFrom(
            tensor(name, values, np.int64)
        )
    node = site(proto)
    return attribute(node, "pads"), lambda values: set_attribute(node, "pads", values)


def add(place: int, amount: int) -> Callable[[ModelProto], None]:
    def mutate(proto: ModelProto) -> None:
        values, write = amounts(proto)
        values[place] += amount
        write(values)

    return mutate


def shifts(proto: ModelProto) -> Iterator[tuple[int, int]]:
    """Yield changes of one amount that move or lose a window: more before, less anywhere."""
    values, _ = amounts(proto)
    half = len(values) // 2
    for place, value in enumerate(values):
        padded = value > 0 or values[(place + half) % len(values)] > 0
        if padded and place < half:
            yield place, 1
        if value > 0:
            yield place, -1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_right_rewrite_is_equivalent(family: str, style: str, tmp_path: Path) -> None:
    assert prove(FAMILIES[family](FIXED), tmp_path, style).status is Status.EQUIVALENT


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_shifted_amount_is_caught(family: str, style: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prove(FAMILIES[family](FIXED), tmp_path, style, lambda proto: seen.extend(shifts(proto)))
    assert len(seen) >= 3
    for place, amount in seen:
        verdict = prove(FAMILIES[family](FIXED), tmp_path, style, add(place, amount))
        assert verdict.status is not Status.EQUIVALENT, (place, amount)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_swapped_ends_are_caught(family: str, style: str, tmp_path: Path) -> None:
    def mutate(proto: ModelProto) -> None:
        values, write = amounts(proto)
        half = len(values) // 2
        assert values[:half] != values[half:]
        write(values[half:] + values[:half])

    original = FAMILIES[family]((18, 14))  # unequal on the first axis
    assert prove(original, tmp_path, style, mutate).status is not Status.EQUIVALENT


@pytest.mark.parametrize(
    "family", ["max", "conv", "integer", "qlinear", "nhwc conv", "lp", "average all", "fused"]
)
def test_another_pad_value_is_caught(family: str, tmp_path: Path) -> None:
    def mutate(proto: ModelProto) -> None:
        pad = next(node for node in proto.graph.node if node.op_type == "Pad")
        stored = initializer(proto, "site/pad/value")
        if stored is not None:
            dtype = numpy_helper.to_array(stored).dtype
            wrong = 0 if family == "max" else 1
            stored.CopyFrom(tensor(stored.name, wrong, dtype))
        else:
            proto.graph.initializer.append(tensor("none", 0, np.uint8))
            pad.input[2] = "none"

    assert prove(FAMILIES[family](FIXED), tmp_path, "pad", mutate).status is Status.DIFFERENT


@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("family", ["conv", "qlinear", "lp"])
def test_another_pad_mode_is_caught(family: str, mode: str, tmp_path: Path) -> None:
    def mutate(proto: ModelProto) -> None:
        pad = next(node for node in proto.graph.node if node.op_type == "Pad")
        set_attribute(pad, "mode", mode)

    verdict = prove(FAMILIES[family](FIXED), tmp_path, "pad", mutate)
    assert verdict.status is not Status.EQUIVALENT


SWITCHES: list[tuple[str, str, Any]] = [
    ("average", "count_include_pad", 1),
    ("average all", "count_include_pad", 0),
    ("transposed", "output_padding", [1, 0]),
    ("transposed", "output_shape", [33, 42]),
    ("conv", "auto_pad", "SAME_LOWER"),
    ("max", "ceil_mode", 1),
    ("conv", "dilations", [2, 1]),
]


@pytest.mark.parametrize(("family", "name", "value"), SWITCHES)
def test_a_changed_attribute_is_caught(family: str, name: str, value: Any, tmp_path: Path) -> None:
    def mutate(proto: ModelProto) -> None:
        set_attribute(site(proto), name, value)

    sizes = (16, 12) if name == "ceil_mode" else FIXED
    original = FAMILIES[family](sizes)
    if name == "ceil_mode":  # only a stride that leaves a rest makes a further window
        set_attribute(original.graph.node[0], "kernel_shape", [1, 1])
    verdict = prove(original, tmp_path, "attrs", mutate)
    assert verdict.status is not Status.EQUIVALENT


# --- amounts that the graph computes --------------------------------------------------------


def replace_op(old: str, new: str) -> Callable[[ModelProto], None]:
    def mutate(proto: ModelProto) -> None:
        node = next(node for node in proto.graph.node if node.op_type == old)
        node.op_type = new
        if new == "Identity":
            del node.input[1:]

    return mutate


def change(suffix: str, amount: int) -> Callable[[ModelProto], None]:
    def mutate(proto: ModelProto) -> None:
        stored = initializer(proto, suffix)
        assert stored is not None
        stored.CopyFrom(tensor(stored.name, numpy_helper.to_array(stored) + amount, np.int64))

    return mutate


def swap_ends(proto: ModelProto) -> None:
    node = next(node for node in proto.graph.node if node.op_type == "Concat")
    half = len(node.input) // 2
    node.input[1], node.input[half + 1] = node.input[half + 1], node.input[1]


COMPUTED: dict[str, Callable[[ModelProto], None]] = {
    "truncated instead of rounded up": change("round_up", -1),
    "one more overlap": change("overlap", 1),
    "one less overlap": change("overlap", -1),
    "ends swapped": swap_ends,
    "another stride": change("strides", 1),
    "no subtraction": replace_op("Mul", "Add"),
}


@pytest.mark.parametrize("mutant", COMPUTED)
@pytest.mark.parametrize("family", ["conv", "max", "lp", "qlinear", "average all"])
def test_a_mutant_of_computed_amounts_is_caught(family: str, mutant: str, tmp_path: Path) -> None:
    original = FAMILIES[family](OPEN)
    assert prove(original, tmp_path, "pad").status is Status.EQUIVALENT
    verdict = prove(original, tmp_path, "pad", COMPUTED[mutant])
    assert verdict.status is not Status.EQUIVALENT


def test_a_dropped_clamp_is_caught(tmp_path: Path) -> None:
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], "site", strides=[4, 3], auto_pad="SAME_UPPER"
    )
    original = model([node], {"x": (1, 2, *OPEN)}, [weights((4, 2, 2, 1))])
    assert prove(original, tmp_path, "pad").status is Status.EQUIVALENT
    verdict = prove(original, tmp_path, "pad", replace_op("Max", "Identity"))
    assert verdict.status is not Status.EQUIVALENT


@pytest.mark.parametrize("mutant", ["ceil_mode", "pads"])
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_a_mutant_of_ceil_mode_is_caught(op_type: str, mutant: str, tmp_path: Path) -> None:
    window = {"kernel_shape": [4, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}
    node = helper.make_node(op_type, ["x"], ["y"], "site", **window)
    original = model([node], {"x": (1, 2, *OPEN)}, opset=18)
    assert prove(original, tmp_path, "attrs").status is Status.EQUIVALENT

    def mutate(proto: ModelProto) -> None:
        assert attribute(site(proto), "ceil_mode") == 1
        wrong: Any = 0 if mutant == "ceil_mode" else [0, 0, 1, 0]
        set_attribute(site(proto), mutant, wrong)

    assert prove(original, tmp_path, "attrs", mutate).status is not Status.EQUIVALENT


# --- hoisted and folded ---------------------------------------------------------------------


def explicit_conv(padded: bool) -> ModelProto:
    conv = helper.make_node(
        "Conv", ["h" if padded else "x", "w"], ["y"], "site", strides=[1, 1], pads=[0, 1, 1, 2]
    )
    pad = helper.make_node("Pad", ["x", "amounts"], ["h"], "ahead")
    ahead = [tensor("amounts", [0, 0, 1, 2, 0, 0, 3, 0], np.int64)]
    nodes, tensors = ([pad, conv], ahead) if padded else ([conv], [])
    return model(nodes, {"x": (1, 2, *FIXED)}, [weights((4, 2, 3, 4)), *tensors])


@pytest.mark.parametrize(("style", "padded"), [("pad", False), ("attrs", True)])
def test_hoisted_and_folded_amounts_are_proven(style: str, padded: bool, tmp_path: Path) -> None:
    wishes = Wishes(fold=True) if padded else Wishes(hoist="all")
    original = explicit_conv(padded)
    assert prove(original, tmp_path, style, None, wishes).status is Status.EQUIVALENT
    seen: list[tuple[int, int]] = []
    prove(original, tmp_path, style, lambda proto: seen.extend(shifts(proto)), wishes)
    for place, amount in seen:
        verdict = prove(original, tmp_path, style, add(place, amount), wishes)
        assert verdict.status is not Status.EQUIVALENT, (place, amount)
