"""Where a port that differs in something else than its padding begins to do so."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model

from padaudit.compare.align import align
from padaudit.compare.beginning import Cause, FirstDifference, beginning
from padaudit.compare.run import compare_files
from padaudit.compare.units import units_of
from padaudit.formats.shape_options import InputShapes
from padaudit.report.compare import compare_json, compare_lines
from padaudit.rewriting.run import load
from padaudit.verification.runner import Limits

SHAPE = (1, 3, 14, 11)
SAME = [1, 1, 1, 1]


def network(prefix: str = "", folded: bool = False, **changes: Any) -> ModelProto:
    """Return three convolutions, each normalised and activated, with a mean behind."""
    nodes: list[Any] = []
    tensors: dict[str, Any] = {"scale": np.float32(changes.get("scale", 1.0))}
    nodes.append(helper.make_node("Mul", ["x", "scale"], ["scaled"]))
    source, channels = "scaled", SHAPE[1]
    for place, kind in enumerate(changes.get("activations", ["Relu", "Relu", "Relu"])):
        rng = np.random.default_rng(place)
        kernel = rng.standard_normal((4, channels, 3, 3))
        factor, shift = rng.uniform(0.5, 2.0, 4), rng.uniform(0.2, 0.6, 4)
        kernel, shift = changes.get(f"change{place}", lambda *values: values)(kernel, shift)
        name = f"{prefix}conv{place}"
        if folded:
            kernel = kernel * factor.reshape(-1, 1, 1, 1)
            tensors |= {f"w{place}": kernel, f"b{place}": shift}
            operands = [source, f"w{place}", f"b{place}"]
            nodes.append(helper.make_node("Conv", operands, [f"n{place}"], name, pads=SAME))
        else:
            tensors |= {f"w{place}": kernel, f"g{place}": factor, f"b{place}": shift}
            tensors |= {f"m{place}": np.zeros(4), f"v{place}": np.ones(4)}
            operands = [source, f"w{place}"]
            nodes.append(helper.make_node("Conv", operands, [f"c{place}"], name, pads=SAME))
            operands = [f"c{place}", *(f"{letter}{place}" for letter in "gbmv")]
            norm = helper.make_node("BatchNormalization", operands, [f"n{place}"], epsilon=0.0)
            nodes.append(norm)
        nodes.append(helper.make_node(kind, [f"n{place}"], [f"a{place}"]))
        source, channels = f"a{place}", 4
    alpha = changes.get("alpha", 0.02)
    nodes.append(helper.make_node("HardSigmoid", [source], ["last"], alpha=alpha, beta=0.0))
    nodes.append(helper.make_node("GlobalAveragePool", ["last"], ["y"], "mean"))
    held = [
        numpy_helper.from_array(np.asarray(values, np.float32), name)
        for name, values in tensors.items()
    ]
    return model(nodes, {"x": SHAPE}, held)


def one_weight(kernel: Any, shift: Any) -> tuple[Any, Any]:
    kernel[2, 1, 0, 2] += 0.5
    return kernel, shift


CASES: dict[str, tuple[dict[str, Any], str, Cause, str]] = {
    "a weight": ({"change1": one_weight}, "conv1", Cause.WEIGHTS, "1 of 4 channels"),
    "all weights": (
        {"change1": lambda kernel, shift: (kernel * 1.25, shift)},
        "conv1",
        Cause.WEIGHTS,
        "times 1.25",
    ),
    "a bias": (
        {"change1": lambda kernel, shift: (kernel, shift + 0.25)},
        "conv1",
        Cause.NORMALIZATION,
        "its weights agree",
    ),
    "the input": ({"scale": 0.25}, "conv0", Cause.INPUT, "is the original's times 0.25"),
    "an activation": (
        {"activations": ["Relu", "Elu", "Relu"]},
        "conv2",
        Cause.BETWEEN,
        "only the original has Relu; only the port has Elu",
    ),
    "the last activation": (
        {"activations": ["Relu", "Relu", "Elu"]},
        "conv2",
        Cause.AFTER,
        "only the original has Relu; only the port has Elu",
    ),
    "an attribute": (
        {"alpha": 0.03},
        "conv2",
        Cause.AFTER,
        "HardSigmoid has alpha 0.02",
    ),
}


def begins(folder: Path, models: Sequence[ModelProto]) -> FirstDifference | None:
    files = [folder / "original.onnx", folder / "port.onnx"]
    for path, proto in zip(files, models, strict=True):
        path.write_bytes(proto.SerializeToString())
    first, second = (load(path, InputShapes()) for path in files)
    feed = {"x": np.random.default_rng(7).standard_normal(SHAPE).astype(np.float32)}
    pairs = align(units_of(first), units_of(second)).pairs
    return beginning(pairs, (first, second), (feed, feed), folder, Limits())


SLOW = ("all weights", "a bias", "the last activation", "an attribute")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES]
)
def test_the_place_and_the_cause_are_told(case: str, tmp_path: Path) -> None:
    changes, place, cause, words = CASES[case]
    found = begins(tmp_path, [network(), network("port/", **changes)])
    assert found is not None
    assert (found.original, found.port, found.cause) == (place, f"port/{place}", cause)
    assert words in found.note
    expected = (("conv1", "port/conv1"),) if cause is Cause.BETWEEN else ()
    assert found.upstream == expected


def test_a_normalisation_that_is_folded_is_no_difference(tmp_path: Path) -> None:
    found = begins(tmp_path, [network(), network(folded=True, change2=one_weight)])
    assert found is not None
    assert (found.port, found.cause) == ("conv2", Cause.WEIGHTS)


def test_it_is_told_behind_a_wrong_padding(tmp_path: Path) -> None:
    port = network("port/", change2=one_weight)
    port.graph.node[1].attribute[0].ints[:] = [0, 1, 2, 1]
    files = [tmp_path / "original.onnx", tmp_path / "port.onnx"]
    for path, proto in zip(files, (network(), port), strict=True):
        path.write_bytes(proto.SerializeToString())
    result = compare_files(files[0], files[1], InputShapes())
    report = json.loads(json.dumps(compare_json(result), default=str))
    (difference,) = report["differences"]
    assert difference["port"] == "port/conv0"
    assert report["first_difference"]["port"] == "port/conv2"
    assert report["first_difference"]["cause"] == "weights"
    assert "something else does too" in report["reason"] and "'port/conv2'" in report["reason"]
    lines = [line.plain for line in compare_lines(result)]
    assert "  the difference begins at 'port/conv2' ('conv2' of the original):" in lines
