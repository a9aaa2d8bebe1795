"""Which models name classes: what stands behind their last weights tells."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights

from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load
from padaudit.verification.classes import names_classes
from padaudit.verification.what_if import what_if

POOLED = ["Conv c", "GlobalAveragePool", "Flatten"]
CHAINS = {
    "dense": ([*POOLED, "MatMul d"], True),
    "dense, bias, softmax": ([*POOLED, "MatMul d", "Add e", "Softmax"], True),
    "dense, temperature": ([*POOLED, "MatMul d", "Div e"], True),
    "softmax of means": ([*POOLED, "Softmax"], True),
    "sigmoid of means": ([*POOLED, "Sigmoid"], True),
    "convolution as dense layer": (["GlobalAveragePool", "Conv c", "Flatten"], True),
    "features": (POOLED, False),
    "dense, then another activation": ([*POOLED, "MatMul d", "Relu"], False),
    "coordinates by tanh": ([*POOLED, "MatMul d", "Tanh"], False),
    "an image of scores": (["Conv c", "Identity"], False),
    "no operator of its own": (["Flatten"], False),
}


def chain(kinds: list[str]) -> onnx.ModelProto:
    tensors = [
        weights((3, 2, 1, 2), "c"),
        weights((3, 4), "d", seed=1),
        numpy_helper.from_array(np.float32([2, 1, 4, 3]), "e"),
    ]
    nodes = []
    for place, kind in enumerate(kinds):
        op_type, *weight = kind.split()
        settings = {"auto_pad": "SAME_UPPER"} if op_type == "Conv" else {}
        out = "y" if place == len(kinds) - 1 else f"t{place}"
        source = "x" if not place else f"t{place - 1}"
        nodes.append(helper.make_node(op_type, [source, *weight], [out], **settings))
    return model(nodes, {"x": ("N", 2, 5, 7)}, tensors)


@pytest.mark.parametrize("name", CHAINS)
def test_a_classifier_is_told_by_what_it_ends_in(name: str, tmp_path: Path) -> None:
    kinds, right = CHAINS[name]
    onnx.save(chain(kinds), tmp_path / "m.onnx")
    assert names_classes(load(tmp_path / "m.onnx", InputShapes()).graph) is right


@pytest.mark.parametrize(("name", "told"), [("dense", True), ("features", False)])
def test_changed_classes_are_shown_for_classifiers_only(
    name: str, told: bool, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(chain(CHAINS[name][0]), path)
    costs = what_if(path, "lower", InputShapes()).costs
    assert costs and costs[0].max_abs > 0
    assert all((cost.top1_changed is not None) is told for cost in costs)
