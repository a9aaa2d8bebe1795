"""Level 1 of the proof: a rewrite that is wrong in any way is called different.

Correct rewrites are written, read again and proven; then the written file is changed by one
thing, and the proof must name the site.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper

from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open
from padaudit.ir.site import Window
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import Loaded, Options, apply_plan, load, loaded
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.kits.convolution import site_bias
from padaudit.verification.kits.kit import Kit, small_integers
from padaudit.verification.proof import prove_rewrite, prove_site_level
from padaudit.verification.site_level import MAX_AXIS, MAX_PRODUCT, size_cases

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import conv_model, model, weights

SITE = Options(verify="site")
OPEN = Open("N")
Mutation = Callable[[ModelProto], None]
Config = dict[str, Any]


# --- ONNX ---------------------------------------------------------------------------------


def two_convs(second: str = "SAME_UPPER") -> ModelProto:
    """Return two padded Conv nodes; the mutations hit the second one, ``target``."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "first", strides=[1, 2], auto_pad="SAME_LOWER"),
        helper.make_node("Conv", ["h", "v", "b"], ["y"], "target", strides=[2, 3], auto_pad=second),
    ]
    kernels = [
        weights((2, 2, 2, 3)),
        weights((3, 2, 5, 4), "v", seed=2),
        weights((3,), "b", seed=3),
    ]
    return model(nodes, {"x": (1, 2, 17, 14)}, kernels)


def prove_onnx(
    original: ModelProto,
    folder: Path,
    mutate: Mutation | None,
    style: str = "pad",
    shapes: InputShapes | None = None,
    site_only: bool = False,
) -> Verification:
    """Rewrite, change the result, write it, and prove it."""
    source, written = folder / "m.onnx", folder / "written.onnx"
    source.write_bytes(original.SerializeToString())
    read = load(source, shapes or InputShapes())
    plan = make_plan(read.document, read.sites, style)
    assert plan.edits
    result: ModelProto = apply_plan(read.document, plan).document.model
    if mutate:
        before = result.SerializeToString(deterministic=True)
        mutate(result)
        assert result.SerializeToString(deterministic=True) != before
    written.write_bytes(result.SerializeToString())
    options = Options(style=style, verify="site", input_shapes=shapes or InputShapes())
    if site_only:
        return prove_site_level(read, load(written, options.input_shapes), plan, options.timeout)
    return prove_rewrite(read, written, plan, options)


def node(proto: ModelProto, name: str) -> NodeProto:
    return next(item for item in proto.graph.node if item.name == name)


def amounts(proto: ModelProto) -> np.ndarray[Any, Any]:
    tensor = next(item for item in proto.graph.initializer if item.name == "target/pad/pads")
    return numpy_helper.to_array(tensor).copy()


def set_constant(proto: ModelProto, name: str, value: Any) -> None:
    tensor = next(item for item in proto.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def with_amounts(change: Callable[[np.ndarray[Any, Any]], Any]) -> Mutation:
    return lambda proto: set_constant(proto, "target/pad/pads", change(amounts(proto)))


def add_at(*places: tuple[int, int]) -> Mutation:
    """Return a mutation that adds to some of the eight amounts."""

    def change(pads: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        for place, amount in places:
            pads[place] += amount
        return pads

    return with_amounts(change)


def drop_pad(proto: ModelProto) -> None:
    pad = node(proto, "target/pad")
    node(proto, "target").input[0] = pad.input[0]
    proto.graph.node.remove(pad)


def pad_value(value: float) -> Mutation:
    return lambda proto: set_constant(proto, "target/pad/value", np.float32(value))


def pad_mode(mode: str) -> Mutation:
    def mutate(proto: ModelProto) -> None:
        pad = node(proto, "target/pad")
        del pad.attribute[:]
        pad.attribute.append(helper.make_attribute("mode", mode))
        if mode != "constant":
            del pad.input[2:]

    return mutate


def lower_amounts(pads: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Swap before and after."""
    return np.concatenate([pads[4:], pads[:4]])


def conv_attribute(name: str, value: Any) -> Mutation:
    def mutate(proto: ModelProto) -> None:
        conv = node(proto, "target")
        kept = [item for item in conv.attribute if item.name != name]
        del conv.attribute[:]
        conv.attribute.extend([*kept, helper.make_attribute(name, value)])

    return mutate


MUTANTS: dict[str, Mutation] = {
    "one more before, one less after": add_at((2, 1), (6, -1)),
    "one less before, one more after": add_at((2, -1), (6, 1)),
    "one more window after": add_at((6, 2)),
    "one less after": add_at((7, -1)),
    "one more before": add_at((3, 1)),
    "axes swapped": with_amounts(lambda pads: pads[[0, 1, 3, 2, 4, 5, 7, 6]]),
    "SAME_LOWER for SAME_UPPER": with_amounts(lower_amounts),
    "channels padded": add_at((1, 1), (5, -1)),
    "no Pad": drop_pad,
    "padded with ones": pad_value(1.0),
    "padded with a very small number": pad_value(1e-3),
    "reflected": pad_mode("reflect"),
    "edge repeated": pad_mode("edge"),
    "pads left on the Conv": conv_attribute("pads", [0, 1, 0, 0]),
    "auto_pad left on the Conv": conv_attribute("auto_pad", "SAME_UPPER"),
    "another stride": conv_attribute("strides", [2, 2]),
    "another dilation": conv_attribute("dilations", [1, 2]),
}


def test_the_amounts_that_the_mutants_change() -> None:
    read = loaded(_document(two_convs()), InputShapes())
    plan = make_plan(read.document, read.sites, "pad")
    assert amounts(apply_plan(read.document, plan).document.model).tolist() == [
        0, 0, 2, 1, 0, 0, 2, 2,
    ]  # fmt: skip
    assert plan.edits[1].pads == ((2, 2), (1, 2))


def _document(proto: ModelProto) -> Any:
    from padaudit.formats.onnx.document import OnnxDocument

    return OnnxDocument(None, proto)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("style", ["pad", "attrs"])
def test_a_correct_onnx_rewrite_is_equivalent(style: str, mode: str, tmp_path: Path) -> None:
    verdict = prove_onnx(two_convs(mode), tmp_path, None, style)
    assert (verdict.status, verdict.first_difference) == (Status.EQUIVALENT, None)
    assert [item.level for item in verdict.evidence] == ["definition", "site"]
    assert verdict.evidence[1].counts == {"sites": 2, "forms": 2, "cases": 2}
    assert verdict.max_abs == 0.0


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_of_an_onnx_rewrite_is_different(mutant: str, tmp_path: Path) -> None:
    verdict = prove_onnx(two_convs(), tmp_path, MUTANTS[mutant])
    assert verdict.status is not Status.EQUIVALENT
    assert verdict.first_difference == "target"
    if mutant != "channels padded":
        assert verdict.status is Status.DIFFERENT


@pytest.mark.parametrize(
    "mutant",
    [
        "one more before, one less after",
        "SAME_LOWER for SAME_UPPER",
        "padded with ones",
        "axes swapped",
    ],
)
def test_the_site_level_alone_sees_what_keeps_every_size(mutant: str, tmp_path: Path) -> None:
    verdict = prove_onnx(two_convs(), tmp_path, MUTANTS[mutant], site_only=True)
    assert (verdict.status, verdict.first_difference) == (Status.DIFFERENT, "target")
    assert "target" in verdict.reason


@pytest.mark.parametrize("pads", [[1, 1, 3, 2], [2, 2, 2, 1], [1, 2, 2, 2], [2, 1, 2, 1]])
def test_a_mutant_of_the_pads_attribute_is_different(pads: list[int], tmp_path: Path) -> None:
    mutate = conv_attribute("pads", pads)
    verdict = prove_onnx(two_convs(), tmp_path, mutate, "attrs")
    assert (verdict.status, verdict.first_difference) == (Status.DIFFERENT, "target")


@pytest.mark.parametrize("mutate", [add_at((6, 1)), conv_attribute("pads", [0, 0, 0, 1])])
def test_padding_that_no_window_reaches_makes_no_difference(
    mutate: Mutation, tmp_path: Path
) -> None:
    assert prove_onnx(two_convs(), tmp_path, mutate).status is Status.EQUIVALENT


def swapped(result: ModelProto) -> None:
    set_constant(result, "conv3/pad/pads", np.asarray([0, 0, 2, 1, 0, 0, 1, 0]))


def edge_mode(result: ModelProto) -> None:
    pad = node(result, "conv3/pad")
    del pad.input[2:], pad.attribute[:]
    pad.attribute.append(helper.make_attribute("mode", "edge"))


@pytest.mark.parametrize(
    "mutate",
    [
        lambda result: set_constant(result, "conv3/pad/value", np.float32(2)),
        edge_mode,
        swapped,
    ],
    ids=["value", "mode", "amounts"],
)
def test_one_wrong_site_among_many_of_its_kind_is_found(mutate: Mutation, tmp_path: Path) -> None:
    convs = [
        helper.make_node(
            "Conv", ["x", "w"], [f"y{i}"], f"conv{i}", strides=[3, 2], auto_pad="SAME_UPPER"
        )
        for i in range(5)
    ]
    proto = model(
        convs,
        {"x": (1, 2, 16, 14)},
        [weights((3, 2, 4, 3))],
        outputs=[item.output[0] for item in convs],
    )
    verdict = prove_onnx(proto, tmp_path, mutate)
    assert (verdict.status, verdict.first_difference) == (Status.DIFFERENT, "conv3")


def test_many_sites_of_one_kind_are_proven_once(tmp_path: Path) -> None:
    convs = [
        helper.make_node(
            "Conv", ["x", "w"], [f"y{i}"], f"conv{i}", strides=[3, 2], auto_pad="SAME_UPPER"
        )
        for i in range(5)
    ]
    outputs = [item.output[0] for item in convs]
    proto = model(convs, {"x": (1, 2, 17, 14)}, [weights((3, 2, 4, 3))], outputs=outputs)
    verdict = prove_onnx(proto, tmp_path, None)
    assert verdict.status is Status.EQUIVALENT
    assert verdict.evidence[1].counts["sites"] == 5
    assert verdict.evidence[1].counts["forms"] == 1


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 21])
def test_every_form_of_pad_is_proven(opset: int, tmp_path: Path) -> None:
    proto = conv_model(
        (17, 14), (5, 4), opset=opset, ir_version=4, strides=[2, 3], auto_pad="SAME_UPPER"
    )
    assert prove_onnx(proto, tmp_path, None).status is Status.EQUIVALENT


def test_a_function_of_an_older_opset_is_proven(tmp_path: Path) -> None:
    inner = helper.make_node(
        "Conv", ["a", "k"], ["c"], "inner", strides=[3, 2], auto_pad="SAME_UPPER"
    )
    function = helper.make_function(
        "local", "Padded", ["a", "k"], ["c"], [inner], [helper.make_opsetid("", 9)]
    )
    call = helper.make_node("Padded", ["x", "w"], ["y"], "call", domain="local")
    proto = model([call], {"x": (1, 2, 17, 14)}, [weights((4, 2, 4, 3))], domains=("local",))
    proto.functions.append(function)
    assert prove_onnx(proto, tmp_path, None).status is Status.EQUIVALENT


def test_a_call_of_a_function_that_was_not_padded_before_is_different(tmp_path: Path) -> None:
    inner = helper.make_node("Conv", ["a", "k"], ["c"], "inner", strides=[3, 2])
    reference = inner.attribute.add()
    reference.name, reference.ref_attr_name = "auto_pad", "padding"
    reference.type = onnx.AttributeProto.STRING
    function = helper.make_function(
        "local", "Padded", ["a", "k"], ["c"], [inner], [helper.make_opsetid("", 17)], ["padding"]
    )
    calls = [
        helper.make_node("Padded", ["x", "w"], [f"y{i}"], f"call{i}", domain="local", padding=mode)
        for i, mode in enumerate(("SAME_UPPER", "VALID"))
    ]
    proto = model(
        calls,
        {"x": (1, 2, 17, 14)},
        [weights((4, 2, 4, 3))],
        outputs=("y0", "y1"),
        domains=("local",),
    )
    proto.functions.append(function)
    source = tmp_path / "m.onnx"
    source.write_bytes(proto.SerializeToString())
    read = load(source, InputShapes())
    plan = make_plan(read.document, read.sites, "pad")
    wrong = ModelProto()
    wrong.CopyFrom(proto)
    conv = wrong.functions[0].node[0]
    del conv.attribute[:]
    conv.attribute.append(helper.make_attribute("strides", [3, 2]))
    conv.attribute.append(helper.make_attribute("pads", [1, 0, 1, 1]))
    written = tmp_path / "written.onnx"
    written.write_bytes(wrong.SerializeToString())
    if not plan.edits:  # nothing is planned, so that nothing wrong can be written
        assert {kept.site.id for kept in plan.kept} == {"call0/inner"}
        return
    verdict = prove_rewrite(read, written, plan, SITE)
    assert verdict.status is Status.DIFFERENT


def behind_a_pad(kernel: tuple[int, int]) -> ModelProto:
    """Return a padded Conv behind a Pad that the model has of its own."""
    nodes = [
        helper.make_node("Pad", ["x", "own"], ["h"], "own"),
        helper.make_node("Conv", ["h", "w"], ["y"], "target", auto_pad="SAME_UPPER"),
    ]
    own = numpy_helper.from_array(np.asarray([0, 0, 1, 2, 0, 0, 0, 1], np.int64), "own")
    return model(nodes, {"x": (1, 2, 7, 9)}, [weights((3, 2, *kernel)), own])


@pytest.mark.parametrize("style", ["pad", "attrs"])
@pytest.mark.parametrize("kernel", [(1, 1), (4, 3), (1, 2)])
def test_a_models_own_pad_is_none_of_the_site(
    kernel: tuple[int, int], style: str, tmp_path: Path
) -> None:
    verdict = prove_onnx(behind_a_pad(kernel), tmp_path, None, style)
    assert (verdict.status, verdict.reason) == (Status.EQUIVALENT, "")


def test_behind_a_models_own_pad_amounts_are_proven(tmp_path: Path) -> None:
    later = with_amounts(lambda pads: np.roll(pads, 4))
    assert prove_onnx(behind_a_pad((4, 3)), tmp_path, later).status is Status.DIFFERENT


# --- open sizes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (4, 3, 1), (2, 5, 1), (3, 2, 3), (1, 4, 1)]
)
def test_an_open_size_covers_every_remainder_and_every_small_size(
    kernel: int, stride: int, dilation: int
) -> None:
    extent = (kernel - 1) * dilation + 1
    sizes = [size for (size,) in size_cases((OPEN,), Window((kernel,), (stride,), (dilation,)))]
    assert sizes[:extent] == list(range(1, extent + 1))
    large = [size for size in sizes if size > extent]
    assert {size % stride for size in large} == set(range(stride))
    assert len(sizes) == len(set(sizes))


def test_small_products_are_taken_whole_and_large_ones_rotated() -> None:
    small = Window((2, 3), (1, 2), (1, 1))
    assert len(set(size_cases((OPEN, OPEN), small))) == 4 * 7
    large = Window((5, 4, 3), (3, 2, 4), (2, 3, 1))
    shapes = list(size_cases((OPEN, OPEN, OPEN), large))
    assert len(shapes) <= MAX_PRODUCT
    for axis in range(3):
        alone = Window(
            *((values[axis],) for values in (large.kernel_shape, large.strides, large.dilations))
        )
        assert {shape[axis] for shape in shapes} == {size for (size,) in size_cases((OPEN,), alone)}


@pytest.mark.parametrize("size", [1, 13, MAX_AXIS, MAX_AXIS + 1, 1023, 4096])
def test_a_known_size_stands_for_itself_or_its_remainder(size: int) -> None:
    window = Window((5,), (3,), (2,))
    ((case,),) = size_cases((size,), window)
    assert case <= MAX_AXIS
    assert case % 3 == size % 3
    assert case == size or size > MAX_AXIS


def test_known_and_open_axes_are_combined() -> None:
    shapes = set(size_cases((17, OPEN), Window((4, 3), (3, 1), (1, 2))))
    assert shapes == {(17, size) for size in range(1, 8)}


def test_an_open_size_is_proven_at_all_of_its_sizes_and_a_mutant_dies(tmp_path: Path) -> None:
    proto = conv_model(("H", "W"), (4, 2), auto_pad="SAME_UPPER")
    proto.graph.node[0].name = "target"
    verdict = prove_onnx(proto, tmp_path, None)
    assert verdict.status is Status.EQUIVALENT
    assert verdict.evidence[1].counts["cases"] == 6 * 4
    mutant = prove_onnx(proto, tmp_path, with_amounts(lower_amounts))
    assert (mutant.status, mutant.first_difference) == (Status.DIFFERENT, "target")


def test_a_fixed_size_proves_what_an_open_one_could_not(tmp_path: Path) -> None:
    proto = conv_model(("H", "W"), (4, 3), strides=[3, 2], auto_pad="SAME_UPPER")
    shapes = InputShapes({"": (1, 2, 18, 13)})
    assert prove_onnx(proto, tmp_path, None, shapes=shapes).status is Status.EQUIVALENT


# --- where onnxruntime is no judge --------------------------------------------------------


def rewritten(
    proto: ModelProto, folder: Path, mutate: Mutation | None, verify: str
) -> Verification:
    source, written = folder / "m.onnx", folder / "written.onnx"
    source.write_bytes(proto.SerializeToString())
    read = load(source, InputShapes())
    plan = make_plan(read.document, read.sites, "pad")
    result = apply_plan(read.document, plan).document.model
    if mutate:
        mutate(result)
    written.write_bytes(result.SerializeToString())
    return prove_rewrite(read, written, plan, Options(verify=verify))


def named(proto: ModelProto) -> ModelProto:
    proto.graph.node[0].name = "target"
    return proto


def dilated() -> ModelProto:
    """Return what onnxruntime refuses to run."""
    return named(conv_model((17, 14), (3, 4), dilations=[2, 3], auto_pad="SAME_UPPER"))


def skipping() -> ModelProto:
    """Return what onnxruntime miscomputes: the windows fall 3 elements short of the input."""
    return named(conv_model((8, 14), (1, 3), strides=[4, 2], auto_pad="SAME_LOWER"))


@pytest.mark.parametrize("build", [dilated, skipping])
def test_the_oracle_judges_where_onnxruntime_can_not(
    build: Callable[[], ModelProto], tmp_path: Path
) -> None:
    verdict = rewritten(build(), tmp_path, None, "auto")
    assert verdict.status is Status.EQUIVALENT
    assert {item.level for item in verdict.evidence} == {"definition", "site"}
    (reason,) = verdict.not_covered
    assert reason
    if build is skipping:
        assert "misplaces the windows of 'target'" in reason


@pytest.mark.parametrize("build", [dilated, skipping])
def test_mutants_die_where_onnxruntime_can_not_judge(
    build: Callable[[], ModelProto], tmp_path: Path
) -> None:
    verdict = rewritten(build(), tmp_path, pad_value(1.0), "auto")
    assert (verdict.status, verdict.first_difference) == (Status.DIFFERENT, "target")


@pytest.mark.parametrize("build", [dilated, skipping])
def test_an_obligatory_model_level_that_can_not_run_is_unverified(
    build: Callable[[], ModelProto], tmp_path: Path
) -> None:
    verdict = rewritten(build(), tmp_path, None, "model")
    assert verdict.status is Status.UNVERIFIED
    assert verdict.reason


@pytest.mark.parametrize("size", range(1, 14))
def test_kernels_smaller_than_their_stride_at_every_size(size: int, tmp_path: Path) -> None:
    proto = conv_model((size, size + 3), (1, 2), strides=[4, 5], auto_pad="SAME_LOWER")
    assert prove_onnx(proto, tmp_path, None).status is Status.EQUIVALENT


# --- Keras --------------------------------------------------------------------------------


def keras_layer(class_name: str, name: str, **config: Any) -> Config:
    settings = {"name": name, "trainable": True, "padding": "same", **config}
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": settings,
        "registered_name": None,
    }


def keras_line(layout: str) -> Config:
    """Return a Sequential of three padded layers; the mutations hit ``target``."""
    shape = [None, 17, 14, 4] if layout == "channels_last" else [None, 4, 17, 14]
    common: dict[str, Any] = {"data_format": layout, "use_bias": True}
    image = {"class_name": "InputLayer", "config": {"batch_shape": shape, "name": "image"}}
    layers = [
        keras_layer("DepthwiseConv2D", "deep", kernel_size=[2, 3], strides=[1, 1],
                    depth_multiplier=1, dilation_rate=[2, 1], **common),
        keras_layer("Conv2D", "target", kernel_size=[5, 4], strides=[2, 3], filters=6,
                    groups=2, dilation_rate=[1, 1], **common),
        keras_layer("SeparableConv2D", "apart", kernel_size=[3, 2], strides=[2, 2], filters=5,
                    depth_multiplier=1, dilation_rate=[1, 1], **common),
    ]  # fmt: skip
    return {"class_name": "Sequential", "config": {"name": "line", "layers": [image, *layers]}}


def write_keras_file(path: Path, config: Config) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "3.10.0"
        file.attrs["model_config"] = json.dumps(config)
    return path


def prove_keras(
    folder: Path, mutate: Callable[[list[Config]], None] | None, layout: str = "channels_last"
) -> Verification:
    read: Loaded = load(write_keras_file(folder / "m.h5", keras_line(layout)), InputShapes())
    plan = make_plan(read.document, read.sites, "pad", graph=read.graph)
    assert [edit.site.id for edit in plan.edits] == ["deep", "target", "apart"]
    config = copy.deepcopy(apply_plan(read.document, plan).document.config)
    if mutate:
        mutate(config["config"]["layers"])
    written = write_keras_file(folder / "written.h5", config)
    return prove_rewrite(read, written, plan, SITE)


def in_layer(name: str, key: str, value: Any) -> Callable[[list[Config]], None]:
    def mutate(layers: list[Config]) -> None:
        settings = next(item for item in layers if item["config"]["name"] == name)["config"]
        assert settings.get(key) != value
        settings[key] = value

    return mutate


def without_padding(layers: list[Config]) -> None:
    layers[:] = [item for item in layers if item["config"]["name"] != "target_pad"]


KERAS_MUTANTS: dict[str, Callable[[list[Config]], None]] = {
    "one more before, one less after": in_layer("target_pad", "padding", [[3, 1], [1, 2]]),
    "one less before, one more after": in_layer("target_pad", "padding", [[1, 3], [1, 2]]),
    "one more window after": in_layer("target_pad", "padding", [[2, 2], [1, 5]]),
    "one less before": in_layer("target_pad", "padding", [[2, 2], [0, 2]]),
    "axes swapped": in_layer("target_pad", "padding", [[1, 2], [2, 2]]),
    "lower for upper": in_layer("target_pad", "padding", [[2, 2], [2, 1]]),
    "nothing": in_layer("target_pad", "padding", [[0, 0], [0, 0]]),
    "no padding layer": without_padding,
    "same left": in_layer("target", "padding", "same"),
    "another stride": in_layer("target", "strides", [2, 2]),
    "another dilation": in_layer("target", "dilation_rate", [1, 2]),
    "axes of the other layout": in_layer("target_pad", "data_format", "channels_first"),
}


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_a_correct_keras_rewrite_is_equivalent(layout: str, tmp_path: Path) -> None:
    verdict = prove_keras(tmp_path, None, layout)
    assert (verdict.status, verdict.first_difference) == (Status.EQUIVALENT, None)
    assert verdict.evidence[1].counts == {"sites": 3, "forms": 3, "cases": 3}


@pytest.mark.parametrize("mutant", KERAS_MUTANTS)
def test_a_mutant_of_a_keras_rewrite_is_different(mutant: str, tmp_path: Path) -> None:
    verdict = prove_keras(tmp_path, KERAS_MUTANTS[mutant])
    assert (verdict.status, verdict.first_difference) == (Status.DIFFERENT, "target")


# --- What sites are tried with ------------------------------------------------------------


@pytest.mark.parametrize("neutral", [0.0, 3.0])
@pytest.mark.parametrize("spatial", [(1,), (2, 5), (4, 3, 6)])
def test_the_second_sample_is_the_border_alone(spatial: tuple[int, ...], neutral: float) -> None:
    kit = Kit({}, 2, "float32", small_integers, lambda x: (x,), neutral=neutral)
    everywhere, border = kit.samples(spatial, 11)
    places = np.indices(spatial)
    at_border = np.zeros(spatial, bool)
    for place, size in zip(places, spatial, strict=True):
        at_border |= (place == 0) | (place == size - 1)
    assert everywhere.shape == border.shape == (2, *spatial)
    assert (border[:, at_border] != neutral).all()
    assert (border[:, ~at_border] == neutral).all()


def test_without_a_neutral_value_the_second_sample_is_other_data() -> None:
    kit = Kit({}, 2, "float32", small_integers, lambda x: (x,))
    first, second = kit.samples((5, 4), 11)
    assert (first != second).any() and (second[:, 1:-1, 1:-1] != 0).any()


@pytest.mark.parametrize("channels", [3, 6])
def test_biases_are_positive_negative_and_zero(channels: int) -> None:
    assert set(np.sign(site_bias(channels))) == {-1.0, 0.0, 1.0}
