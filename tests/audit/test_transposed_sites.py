"""Transposed convolutions: crops by the ONNX specification's equations, and Keras's.

Worked by hand for input 5x7, kernel 3x4, strides 2x1. Without a crop the output is
(5 - 1) * 2 + 3 = 11 by (7 - 1) * 1 + 4 = 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from padaudit.audit.sites import find_sites
from padaudit.ir.dims import Dim, Open, Unknown
from padaudit.ir.graph import Graph
from padaudit.ir.site import PaddingSite

BuildGraph = Callable[..., Graph]
LAMBDA = Unknown("the Lambda layer 'blur' was not run")


def onnx_site(graph_with: BuildGraph, height: Dim = 5, **attributes: Any) -> PaddingSite:
    settings = {"kernel_shape": [3, 4], "strides": [2, 1]} | attributes
    (site,) = find_sites(graph_with("ConvTranspose", (1, 6, height, 7), **settings))
    return site


def keras_site(graph_with: BuildGraph, height: Dim = 5, **config: Any) -> PaddingSite:
    settings = {"kernel_size": [3, 4], "strides": [2, 1], "padding": "same"} | config
    shape = (Open(), height, 7, 6)
    (site,) = find_sites(graph_with("Conv2DTranspose", shape, domain="keras", **settings))
    return site


@pytest.mark.parametrize(
    ("attributes", "output", "crop"),
    [
        pytest.param({"auto_pad": "SAME_UPPER"}, (10, 7), ((0, 1), (1, 2)), id="SAME_UPPER"),
        pytest.param({"auto_pad": "SAME_LOWER"}, (10, 7), ((1, 0), (2, 1)), id="SAME_LOWER"),
        pytest.param(
            {"auto_pad": "SAME_UPPER", "dilations": [1, 2]}, (10, 7), ((0, 1), (3, 3)),
            id="dilated-the-full-width-is-13",
        ),
        pytest.param(
            {"auto_pad": "SAME_UPPER", "output_padding": [1, 0]}, (10, 7), ((1, 1), (1, 2)),
            id="output_padding-lengthens-the-full-output",
        ),
        pytest.param(
            {"output_shape": [10, 8]}, (10, 8), ((1, 0), (1, 1)), id="output_shape-odd-first"
        ),
        pytest.param(
            {"output_shape": [10, 7], "pads": [9, 9, 9, 9]}, (10, 7), ((1, 0), (2, 1)),
            id="output_shape-overrides-pads",
        ),
        pytest.param(
            {"auto_pad": "SAME_UPPER", "output_shape": [10, 8]}, (10, 8), ((0, 1), (1, 1)),
            id="output_shape-with-SAME_UPPER-odd-last",
        ),
        pytest.param(
            {"auto_pad": "SAME_LOWER", "output_shape": [8, 9]}, (8, 9), ((2, 1), (1, 0)),
            id="output_shape-with-SAME_LOWER-odd-first",
        ),
        pytest.param(
            {"output_shape": [10, 9], "output_padding": [1, 0]}, (10, 9), ((1, 1), (1, 0)),
            id="output_shape-with-output_padding",
        ),
        pytest.param(
            {"output_shape": [13, 10]}, (13, 10), ((0, 0), (0, 0)), id="longer-than-the-full-one"
        ),
        pytest.param(
            {"auto_pad": "SAME_UPPER", "kernel_shape": [2, 4], "strides": [3, 1]}, (15, 7),
            ((0, 0), (1, 2)), id="kernel-below-stride-crops-nothing",
        ),
    ],
)  # fmt: skip
def test_onnx_crops(
    graph_with: BuildGraph, attributes: Any, output: tuple[int, ...], crop: object
) -> None:
    site = onnx_site(graph_with, **attributes)
    assert (site.output_size, site.pads) == (output, crop)


IMPLICIT = [
    (mode, wanted)
    for mode in ("SAME_UPPER", "SAME_LOWER", None)
    for wanted in (None, [10, 8], [7, 9], [9, 5])
    if mode or wanted
]


@pytest.mark.parametrize(("mode", "wanted"), IMPLICIT)
@pytest.mark.parametrize("extra", [[0, 0], [1, 0], [1, 2]])
def test_the_crop_solves_the_specifications_shape_equation(
    graph_with: BuildGraph, mode: str | None, extra: list[int], wanted: list[int] | None
) -> None:
    """output = stride * (input - 1) + output_padding + effective kernel - start - end."""
    attributes: dict[str, Any] = {"output_padding": extra}
    attributes |= {"auto_pad": mode} if mode else {}
    attributes |= {"output_shape": wanted} if wanted else {}
    site = onnx_site(graph_with, **attributes)
    assert site.pads is not None
    assert site.output_size == tuple(wanted or (10, 7))
    for axis, (start, end) in enumerate(site.pads):
        full = (2 * 4 + 3, 1 * 6 + 4)[axis] + extra[axis]
        assert full - start - end == site.output_size[axis]
        assert (start <= end) if mode == "SAME_UPPER" else (start >= end)
        assert abs(start - end) <= 1


def test_explicit_pads_are_taken_as_they_stand(graph_with: BuildGraph) -> None:
    site = onnx_site(graph_with, pads=[1, 0, 0, 2])
    assert site.pads == ((1, 0), (0, 2))
    assert not site.implicit


@pytest.mark.parametrize(
    ("config", "output", "crop"),
    [
        pytest.param({}, (10, 7), ((0, 1), (1, 2)), id="same"),
        pytest.param({"output_padding": None}, (10, 7), ((0, 1), (1, 2)), id="null"),
        pytest.param({"output_padding": [0, 0]}, (9, 6), ((1, 1), (2, 2)), id="zeros-are-not-null"),
        pytest.param({"output_padding": [1, 0]}, (10, 6), ((0, 1), (2, 2)), id="per-axis"),
        pytest.param({"output_padding": 1}, (10, 7), ((0, 1), (1, 2)), id="one-for-all"),
        pytest.param({"dilation_rate": [1, 2]}, (10, 7), ((0, 1), (3, 3)), id="dilated"),
        pytest.param(
            {"kernel_size": [2, 4], "strides": [3, 1]}, (15, 7), ((0, 0), (1, 2)),
            id="kernel-below-stride",
        ),
        pytest.param({"padding": "valid"}, (11, 10), ((0, 0), (0, 0)), id="valid"),
        pytest.param(
            {"padding": "valid", "kernel_size": [2, 4], "strides": [3, 1]}, (15, 10),
            ((0, 0), (0, 0)), id="valid-kernel-below-stride",
        ),
    ],
)  # fmt: skip
def test_keras_crops(
    graph_with: BuildGraph, config: Any, output: tuple[int, ...], crop: object
) -> None:
    site = keras_site(graph_with, **config)
    assert (site.output_size, site.pads) == (output, crop)


@pytest.mark.parametrize(
    ("build", "attributes", "output", "crop"),
    [
        pytest.param(onnx_site, {"auto_pad": "SAME_LOWER"}, "2*H", (1, 0), id="onnx-same"),
        pytest.param(onnx_site, {"output_shape": [10, 7]}, "10", None, id="onnx-output_shape"),
        pytest.param(onnx_site, {"output_shape": [999, 7]}, "999", None, id="onnx-too-large-yet"),
        pytest.param(
            onnx_site, {"auto_pad": "SAME_UPPER", "output_shape": [10, 7]}, "10", None,
            id="onnx-same-to-output_shape",
        ),
        pytest.param(keras_site, {}, "2*H", (0, 1), id="keras-same"),
        pytest.param(
            keras_site, {"output_padding": [0, 1]}, "2*H-1", (1, 1), id="keras-output_padding"
        ),
    ],
)  # fmt: skip
def test_crops_of_an_open_height(
    graph_with: BuildGraph,
    build: Callable[..., PaddingSite],
    attributes: Any,
    output: str,
    crop: object,
) -> None:
    site = build(graph_with, height=Open("H"), **attributes)
    assert str(site.output_size[0]) == output
    assert site.amounts[0] == crop
    assert site.amounts[1] is not None or crop is None


@pytest.mark.parametrize(
    ("attributes", "crop"),
    [
        pytest.param({"auto_pad": "SAME_UPPER"}, (0, 1), id="same-needs-no-size"),
        pytest.param({"output_shape": [10, 7]}, None, id="output_shape-does"),
    ],
)
def test_crops_of_an_unknown_height(graph_with: BuildGraph, attributes: Any, crop: object) -> None:
    assert onnx_site(graph_with, height=LAMBDA, **attributes).amounts[0] == crop
