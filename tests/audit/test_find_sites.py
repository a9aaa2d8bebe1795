"""Graphs -> sites: windows, layouts, sizes and ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from padaudit.audit.sites import MAX_WINDOW, find_sites
from padaudit.ir.dims import Dim, Open, Unknown
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import Family, Padding, PaddingSite, Window
from padaudit.ir.tensor import TensorInfo
from padaudit.padding.symbolic import ByRemainder

BuildGraph = Callable[..., Graph]
LAMBDA = Unknown("the Lambda layer 'blur' was not run")


def only_site(graph: Graph) -> PaddingSite:
    (site,) = find_sites(graph)
    return site


def keras_conv(graph_with: BuildGraph, shape: tuple[Dim, ...], **config: Any) -> PaddingSite:
    settings = {"kernel_size": [3, 4], "strides": [2, 1], "padding": "same"} | config
    return only_site(graph_with("Conv2D", shape, domain="keras", **settings))


def test_a_site_says_all_that_the_operator_says(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "Conv", (2, 6, 224, 21), weights=(8, 3, 3, 4), name="stem/conv", dtype="float16",
        auto_pad="SAME_UPPER", strides=[2, 1], dilations=[1, 2], group=2,
    )  # fmt: skip
    site = only_site(graph)
    assert (site.id, site.framework, site.family) == ("stem/conv", "onnx", Family.CONV)
    assert site.window == Window((3, 4), (2, 1), (1, 2))
    assert (site.group, site.dtype, site.pad_value) == (2, "float16", 0.0)
    assert (site.padding, site.implicit) == (Padding.SAME_UPPER, True)
    assert (site.spatial_axes, site.input_size) == ((2, 3), (224, 21))
    assert site.amounts == ((0, 1), (3, 3))
    assert site.output_size == (112, 21)
    assert site.unresolved is None


@pytest.mark.parametrize(
    ("shape", "config", "axes"),
    [
        pytest.param((None, 224, 21, 5), {}, (1, 2), id="channels-last-is-the-default"),
        pytest.param(
            (None, 5, 224, 21), {"data_format": "channels_first"}, (2, 3), id="channels-first"
        ),
    ],
)
def test_the_layout_decides_which_axes_are_spatial(
    graph_with: BuildGraph, shape: tuple[Any, ...], config: dict[str, Any], axes: tuple[int, ...]
) -> None:
    dims = tuple(Open() if size is None else size for size in shape)
    site = keras_conv(graph_with, dims, **config)
    assert (site.spatial_axes, site.input_size) == (axes, (224, 21))
    assert site.amounts == ((0, 1), (1, 2))


def test_a_convlstm_has_time_before_space(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "ConvLSTM2D", (Open(), 9, 224, 21, 5), domain="keras",
        kernel_size=[3, 4], strides=[2, 1], padding="same",
    )  # fmt: skip
    site = only_site(graph)
    assert (site.spatial_axes, site.input_size) == ((2, 3), (224, 21))


def test_the_result_of_a_convlstm_may_have_lost_the_time_axis(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "ConvLSTM2D", (Open(), 9, 24, 21, 5), domain="keras",
        kernel_size=[3, 4], strides=[2, 1], padding="valid",
    )  # fmt: skip
    graph.tensors[graph.ops()[0].outputs[0]] = TensorInfo((Open(), 11, 18, 5))
    assert only_site(graph).output_size == (11, 18)


def test_nhwc_operators_have_channels_last(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "NhwcMaxPool", (2, 224, 21, 6), domain="com.microsoft",
        kernel_shape=[3, 4], strides=[2, 1], auto_pad="SAME_UPPER",
    )  # fmt: skip
    assert only_site(graph).amounts == ((0, 1), (1, 2))


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        pytest.param([2, 1], (ByRemainder(2, ((0, 1), (1, 1))), (1, 2)), id="strided-axis-varies"),
        pytest.param([1, 1], ((1, 1), (1, 2)), id="stride-1-is-constant"),
    ],
)
def test_open_sizes(graph_with: BuildGraph, stride: list[int], expected: object) -> None:
    site = keras_conv(graph_with, (Open(), Open("H"), Open("W"), 5), strides=stride)
    assert site.amounts == expected
    assert site.input_size == (Open("H"), Open("W"))
    assert site.shape_dependent is (stride != [1, 1])
    assert site.unresolved is None


def test_open_sizes_keep_their_names(graph_with: BuildGraph) -> None:
    site = keras_conv(graph_with, (Open(), Open("H"), 20, 5))
    assert tuple(map(str, site.output_size)) == ("ceil(H/2)", "20")


def test_an_unknown_size_gives_no_amount_where_it_matters(graph_with: BuildGraph) -> None:
    site = keras_conv(graph_with, (Open(), LAMBDA, LAMBDA, 5))
    assert site.amounts == (None, (1, 2))
    assert site.pads is None
    assert site.has_unknown_size
    assert not site.has_open_size


def test_an_unknown_rank_says_what_stopped_the_inference(graph_with: BuildGraph) -> None:
    graph = graph_with(
        "Conv", None, cause="custom node 'warp'", kernel_shape=[3, 4], strides=[2, 1],
        auto_pad="SAME_UPPER",
    )  # fmt: skip
    site = only_site(graph)
    assert site.input_size == (Unknown("custom node 'warp'"),) * 2
    assert site.unresolved == "custom node 'warp'"
    assert site.amounts == (None, (1, 2))


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_that_is_no_size_has_no_amount(graph_with: BuildGraph, size: int) -> None:
    assert keras_conv(graph_with, (Open(), size, 20, 5)).amounts == (None, (1, 2))


@pytest.mark.parametrize(
    ("kernel", "stride", "window"),
    [
        pytest.param(3, 2, Window((3, 3), (2, 2), (1, 1)), id="ints"),
        pytest.param([3], [2], Window((3, 3), (2, 2), (1, 1)), id="one-number-for-all-axes"),
        pytest.param((3, 4), (2, 1), Window((3, 4), (2, 1), (1, 1)), id="tuples"),
        pytest.param(
            {"class_name": "__tuple__", "items": [3, 4]}, [2, 1],
            Window((3, 4), (2, 1), (1, 1)), id="keras-tuple-record",
        ),
        pytest.param([3, 4], None, Window((3, 4), (1, 1), (1, 1)), id="null-is-the-default"),
    ],
)  # fmt: skip
def test_windows_are_read_in_every_form(
    graph_with: BuildGraph, kernel: object, stride: object, window: Window
) -> None:
    site = keras_conv(graph_with, (Open(), 17, 20, 5), kernel_size=kernel, strides=stride)
    assert site.window == window


@pytest.mark.parametrize(
    ("op_type", "domain", "config", "strides"),
    [
        pytest.param("MaxPooling2D", "keras", {"pool_size": [3, 2]}, (3, 2), id="keras-pool"),
        pytest.param("MaxPooling2D", "keras", {}, (2, 2), id="keras-pool-of-2"),
        pytest.param("MaxPool", "", {"kernel_shape": [3, 2]}, (1, 1), id="onnx-pool"),
    ],
)
def test_default_strides(
    graph_with: BuildGraph, op_type: str, domain: str, config: Any, strides: tuple[int, ...]
) -> None:
    window = only_site(graph_with(op_type, (2, 17, 20, 5), domain=domain, **config)).window
    assert window is not None
    assert window.strides == strides


def test_the_kernel_comes_from_the_weights_where_no_attribute_says_it(
    graph_with: BuildGraph,
) -> None:
    shape = (1, 5, 17, 20)
    graph = graph_with("Conv", shape, weights=(8, 5, 3, 4), auto_pad="SAME_LOWER")
    assert only_site(graph).amounts == ((1, 1), (2, 1))
    both = graph_with("Conv", shape, weights=(8, 5, 7, 7), kernel_shape=[3, 4])
    assert only_site(both).window == Window((3, 4), (1, 1), (1, 1))


def test_a_quantised_convolution_has_its_weights_in_slot_3() -> None:
    graph = Graph("model")
    graph.tensors["x"] = TensorInfo((1, 5, 17, 20), "uint8")
    graph.tensors["w"] = TensorInfo((8, 5, 3, 4), "int8", constant=True)
    graph.tensors["scale"] = TensorInfo((), "float32", constant=True)
    inputs = ("x", "scale", "zero", "w")
    graph.add(Op("q", "QLinearConv", "", {"auto_pad": "SAME_UPPER"}, inputs, ("y",), 0))
    site = only_site(graph)
    assert site.amounts == ((1, 1), (1, 2))
    assert (site.quantized, site.pad_value) == (True, None)


@pytest.mark.parametrize(
    ("weights", "attributes"),
    [
        pytest.param(None, {}, id="no-kernel-anywhere"),
        pytest.param((8, 5), {}, id="weights-without-kernel-axes"),
        pytest.param((8, 5, Open(), 3), {}, id="weights-of-open-size"),
        pytest.param(None, {"kernel_shape": [3, 0]}, id="zero-kernel"),
        pytest.param(None, {"kernel_shape": [3, -4]}, id="negative-kernel"),
        pytest.param(None, {"kernel_shape": []}, id="empty-kernel"),
        pytest.param(None, {"kernel_shape": "3x3"}, id="kernel-of-letters"),
        pytest.param(None, {"kernel_shape": [3, 4], "strides": [0, 1]}, id="zero-stride"),
        pytest.param(None, {"kernel_shape": [3, 4], "strides": [1, 1, 1]}, id="too-many-strides"),
        pytest.param(None, {"kernel_shape": [3, 4], "dilations": [1, -1]}, id="negative-dilation"),
        pytest.param(None, {"kernel_shape": [3, 2**40]}, id="absurd-kernel"),
        pytest.param(None, {"kernel_shape": [3, MAX_WINDOW + 1]}, id="just-too-large"),
    ],
)
def test_nonsense_windows_are_unresolved_and_harmless(
    graph_with: BuildGraph, weights: Any, attributes: Any
) -> None:
    shape = (1, 5, 17, 20)
    site = only_site(
        graph_with("Conv", shape, weights=weights, auto_pad="SAME_UPPER", **attributes)
    )
    assert site.window is None
    assert site.pads is None
    assert site.unresolved is not None
    assert "'site' (Conv)" in site.unresolved


@pytest.mark.parametrize(
    ("rank", "resolved"),
    [
        pytest.param(3, True, id="more-axes-than-the-data"),
        pytest.param(8, True, id="the-most"),
        pytest.param(9, False, id="too-many"),
        pytest.param(4000, False, id="absurdly-many"),
    ],
)
def test_kernels_of_any_rank_are_survived(
    graph_with: BuildGraph, rank: int, resolved: bool
) -> None:
    graph = graph_with("MaxPool", (1, 5, 17, 20), kernel_shape=[3] * rank, auto_pad="SAME_UPPER")
    site = only_site(graph)
    assert (site.window is not None) is resolved
    assert len(site.amounts) == len(site.input_size) == min(rank, 8 if resolved else 2)
    assert len(site.unresolved or "") < 300


def test_a_kernel_of_another_rank_than_the_layer_is_nonsense(graph_with: BuildGraph) -> None:
    site = keras_conv(graph_with, (Open(), 17, 20, 5), kernel_size=[3, 3, 3])
    assert site.window is None
    assert site.amounts == (None, None)


def test_the_largest_window_is_still_a_window(graph_with: BuildGraph) -> None:
    graph = graph_with("Conv", (1, 5, 17, Open()), kernel_shape=[3, MAX_WINDOW], strides=[2, 1])
    assert only_site(graph).window == Window((3, MAX_WINDOW), (2, 1), (1, 1))


@pytest.mark.parametrize(
    ("attributes", "padding", "pads"),
    [
        pytest.param({"pads": [1, 0, 2, 3]}, Padding.EXPLICIT, ((1, 2), (0, 3)), id="pads"),
        pytest.param({"pads": [0, 0, 0, 0]}, Padding.VALID, ((0, 0), (0, 0)), id="zero-pads"),
        pytest.param({}, Padding.VALID, ((0, 0), (0, 0)), id="nothing"),
        pytest.param({"auto_pad": "VALID"}, Padding.VALID, ((0, 0), (0, 0)), id="VALID"),
        pytest.param(
            {"auto_pad": "NOTSET", "pads": [1, 0, 2, 3]}, Padding.EXPLICIT, ((1, 2), (0, 3)),
            id="NOTSET",
        ),
        pytest.param(
            {"auto_pad": "SAME_LOWER", "pads": [5, 5, 5, 5]}, Padding.SAME_LOWER,
            ((1, 0), (2, 1)), id="auto_pad-counts-where-both-stand",
        ),
    ],
)  # fmt: skip
def test_declared_padding_of_onnx(
    graph_with: BuildGraph, attributes: Any, padding: Padding, pads: object
) -> None:
    graph = graph_with("Conv", (1, 5, 18, 20), kernel_shape=[3, 4], strides=[2, 1], **attributes)
    site = only_site(graph)
    assert (site.padding, site.pads) == (padding, pads)


@pytest.mark.parametrize(
    ("op_type", "domain"),
    [
        pytest.param("Relu", "", id="no-window"),
        pytest.param("Conv", "my.domain", id="a-stranger-of-the-same-name"),
        pytest.param("Conv2D", "", id="a-keras-name-in-onnx"),
        pytest.param("GlobalAveragePool", "", id="never-padded"),
    ],
)
def test_other_operators_are_no_sites(graph_with: BuildGraph, op_type: str, domain: str) -> None:
    shape = (1, 5, 17, 20)
    graph = graph_with(op_type, shape, domain=domain, kernel_shape=[3, 4], auto_pad="SAME_UPPER")
    assert find_sites(graph) == ()


def test_an_operator_without_inputs_is_no_site() -> None:
    graph = Graph("model")
    graph.add(Op("c", "Conv", "", {"kernel_shape": [3, 4]}, (), ("y",), 0))
    assert find_sites(graph) == ()


def conv(name: str, source: str, position: int) -> Op:
    return Op(name, "Conv", "", {"kernel_shape": [3, 4]}, (source,), (f"{name}:out",), position)


def test_sites_stand_in_execution_order_with_nested_ones_inside() -> None:
    graph, body = Graph("model"), Graph("body")
    graph.add(conv("last", "if:out", 0))
    graph.add(Op("if", "If", "", {}, ("x",), ("if:out",), 1))
    body.add(conv("inner", "x", 0))
    graph.nest("if", "then", body)
    sites = find_sites(graph)
    assert [site.id for site in sites] == ["if/then/inner", "last"]
    assert [site.scope for site in sites] == [("if", "then"), ()]


def test_ids_are_unique_and_the_first_keeps_its_name() -> None:
    graph = Graph("model")
    names = ["a", "a/b", "a/b#2"]
    for position, name in enumerate(names):
        graph.add(conv(name, "x", position))
    inner = Graph("inner")
    inner.add(conv("b", "x", 0))
    graph.add(Op("call", "Model", "keras", {}, ("x",), ("call:out",), 7))
    graph.nest("call", "", inner)
    twin = Graph("twin")
    twin.add(conv("b", "x", 0))
    graph.nest("a", "", twin)
    ids = [site.id for site in find_sites(graph)]
    assert ids == ["a", "a/b", "a/b#3", "a/b#2", "call/b"]


def test_a_body_reads_the_sizes_of_the_graph_around_it() -> None:
    graph = Graph("model")
    graph.tensors["x"] = TensorInfo((1, 5, 224, 21), "float32")
    graph.add(Op("if", "If", "", {}, ("x",), ("y",), 0))
    body = Graph("body", parent=graph)
    attributes = {"kernel_shape": [3, 4], "strides": [2, 1], "auto_pad": "SAME_UPPER"}
    body.add(Op("inner", "Conv", "", attributes, ("x",), ("z",), 0))
    graph.nest("if", "then", body)
    assert only_site(graph).pads == ((0, 1), (1, 2))
