"""The Python API on files and on models in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import padaudit
from padaudit.errors import InputError, UsageError
from padaudit.ir.graph import Graph

FIXTURES = Path(__file__).parents[1] / "fixtures"


def test_check_of_a_path_and_of_its_string_agree() -> None:
    path = FIXTURES / "digits.h5"
    assert padaudit.check(path).sites[0].pads == padaudit.check(str(path)).sites[0].pads
    assert [finding.rule for finding in padaudit.check(path).findings].count("PAD102") == 5


def test_check_of_a_model_in_memory_is_that_of_its_file() -> None:
    path = FIXTURES / "auto-pad.onnx"
    from_file, from_memory = padaudit.check(path), padaudit.check(onnx.load(path))
    assert [site.id for site in from_file.sites] == [site.id for site in from_memory.sites]
    assert [f.message for f in from_file.findings] == [f.message for f in from_memory.findings]


def test_input_shapes_fix_open_sizes() -> None:
    path = FIXTURES / "auto-pad-open.onnx"
    assert [site.pads for site in padaudit.check(path).sites] == [((1, 1), (1, 2)), None]
    report = padaudit.check(path, input_shapes={"x": (1, 3, 16, 11)})
    assert [site.pads for site in report.sites] == [((1, 1), (1, 2)), ((0, 1), (1, 1))]


def test_load_gives_the_networkx_graph() -> None:
    loaded = padaudit.load(FIXTURES / "digits.keras")
    assert isinstance(loaded.graph, Graph)
    join = loaded.graph.op("join")
    names = {name for name, _, _ in loaded.graph.network.in_edges("join", keys=True)}
    assert names == {"wide", "deep_project"}
    assert [op.name for op, _, _ in loaded.graph.uses(join)] == ["dilated"]


def test_the_functions_are_there_whatever_was_imported_before() -> None:
    import padaudit.rewriting.run
    import padaudit.verification.proof

    assert callable(padaudit.rewrite)
    assert callable(padaudit.verify)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(UsageError, match=r"give a path, a keras\.Model or an onnx\.ModelProto"):
        padaudit.check(42)
    with pytest.raises(InputError, match="no such file"):
        padaudit.check("missing.h5")


def test_explicit_does_not_change_the_given_onnx_model() -> None:
    model = onnx.load(FIXTURES / "auto-pad.onnx")
    before = model.SerializeToString()
    rewritten = padaudit.explicit(model)
    assert model.SerializeToString() == before
    assert {site.id for site in padaudit.check(rewritten).implicit} == set()


def test_explicit_of_a_keras_model_keeps_weights_and_compilation() -> None:
    keras = pytest.importorskip("keras", reason="keras makes the model of this test")
    model: Any = keras.models.load_model(FIXTURES / "digits.keras")
    rewritten = padaudit.explicit(model)
    images = np.random.default_rng(3).random((3, 17, 14, 1), dtype=np.float32)
    np.testing.assert_array_equal(model(images), rewritten(images))
    assert rewritten.compiled
    assert padaudit.check(model).implicit
    assert not padaudit.check(rewritten).implicit


def test_verify_tells_equal_from_different(tmp_path: Path) -> None:
    same = padaudit.verify(
        FIXTURES / "digits.onnx",
        FIXTURES / "digits-open.onnx",
        input_shapes=(2, 17, 14, 1),
        atol=1e-5,
    )
    assert same.status == "equivalent"
    model = onnx.load(FIXTURES / "auto-pad.onnx")
    first = next(node for node in model.graph.node if node.name == "upper")
    for attribute in first.attribute:
        if attribute.name == "auto_pad":
            attribute.s = b"SAME_LOWER"
    onnx.save(model, tmp_path / "lower.onnx")
    different = padaudit.verify(FIXTURES / "auto-pad.onnx", tmp_path / "lower.onnx")
    assert different.status == "different"
    assert different.first_difference == "upper"
    assert different.error_map is not None
