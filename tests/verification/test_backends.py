"""Keras models on several backends, each in a real process of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import padaudit
from padaudit.errors import InputError, MissingDependencyError, UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load
from padaudit.verification import backends
from padaudit.verification.backends import chosen_backends, layer_path, same_width
from padaudit.verification.evidence import Status

FIXTURES = Path(__file__).parents[2] / "fixtures"
PAIR = ("tensorflow", "torch")


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose second padded layer, an average pool in a model, has an odd total."""
    keras = pytest.importorskip("keras")
    layers = keras.layers
    inputs = keras.Input((14, 12, 2))
    x = layers.Conv2D(3, (3, 2), strides=(2, 1), padding="same", name="stem")(inputs)
    inside = keras.Input((7, 12, 3))
    y = layers.AveragePooling2D((3, 3), strides=(2, 2), padding="same", name="pool")(inside)
    y = layers.Conv2D(4, 3, padding="same", name="after")(y)
    x = keras.Model(inside, y, name="inner")(x)
    path = tmp_path_factory.mktemp("nested") / "nested.h5"
    keras.Model(inputs, x).save(path)
    return path


@pytest.mark.slow
def test_an_average_pool_that_torch_pads_otherwise_is_found_and_named(nested: Path) -> None:
    report = padaudit.verify_backends(nested, PAIR)
    for variant in backends.VARIANTS:
        (pair,) = report.pairs[variant]
        assert (pair.a, pair.b, pair.status) == (*PAIR, "differs")
        assert pair.max_abs > 1e-3
        assert pair.site == "inner/pool"
        assert "elements differ" in pair.reason
    assert [(item.a, item.status) for item in report.rewrites] == [(n, "agrees") for n in PAIR]
    assert [item.site.id for item in report.plan.kept] == ["inner/pool"]
    assert report.verification.status is Status.DIFFERENT
    assert report.verification.first_difference == "inner/pool"


def test_a_model_whose_padding_is_explicit_agrees_and_the_command_says_so() -> None:
    done = verify(FIXTURES / "digits.h5", ",".join(PAIR), "--output-format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "padaudit.verify/1"
    assert found["status"] == "equivalent"
    (pair,) = found["backends"]["explicit"]
    assert (pair["a"], pair["b"], pair["status"]) == (*PAIR, "agrees")
    assert found["backends"]["rewritten"] == 6
    assert found["backends"]["kept"] == []
    assert found["backends"]["rewrite"][0]["max_abs"] == 0.0
    assert set(found["backends"]["runtimes"]) == set(PAIR)
    assert all("Keras" in text for text in found["backends"]["runtimes"].values())


def test_a_backend_that_does_not_end_is_stopped_and_said(nested: Path) -> None:
    report = padaudit.verify_backends(nested, PAIR, timeout=0.05)
    (pair,) = report.pairs["explicit"]
    assert pair.status == "failed"
    assert "its process was stopped after 0.05 s" in pair.reason
    assert report.verification.status is Status.UNVERIFIED
    assert report.verification.reason == "the explicit model does not run on two backends"


def test_a_backend_keeps_to_the_memory_that_it_may_take(nested: Path) -> None:
    report = padaudit.verify_backends(nested, PAIR, memory_mb=1)
    (pair,) = report.pairs["original"]
    assert "was stopped when it took more than 1 MiB (--memory-limit)" in pair.reason
    assert report.verification.status is Status.UNVERIFIED


@pytest.mark.slow
def test_a_model_of_open_sizes_is_run_at_sizes_that_it_takes(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    inputs = keras.Input((None, None, 2))
    x = layers.Conv2D(3, (3, 2), padding="same")(layers.MaxPooling2D(16)(inputs))
    x = layers.Concatenate()([layers.UpSampling2D(16)(x), inputs])
    keras.Model(inputs, x).save(tmp_path / "skip.keras")
    report = padaudit.verify_backends(tmp_path / "skip.keras", PAIR)
    assert report.verification.status is Status.EQUIVALENT, report.verification.reason
    assert len(report.plan.edits) == 1


def test_the_tables_show_every_pair(nested: Path) -> None:
    from padaudit.report.backends import matrix, rewrites, summary_lines, verdict_lines

    report = padaudit.verify_backends(nested, PAIR, timeout=0.05)
    columns = [str(column.header) for column in matrix(report).columns]
    assert columns == ["form", "backend", "torch"]
    assert matrix(report).row_count == 2
    assert rewrites(report).row_count == 2
    text = [line.plain for line in (*summary_lines("m.h5", report), *verdict_lines(report))]
    assert "m.h5: 3 implicitly padded operators, 2 made explicit, 1 kept" in text
    assert any("'inner/pool'" in line or "inner/pool  kept" in line for line in text)
    assert text[-1].startswith("Verdict: unverified")


@pytest.mark.slow
def test_a_layer_that_stops_on_tensorflow_is_a_failure_of_that_backend(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((5, 7, 2))
    up = keras.layers.Conv2DTranspose(
        3, (4, 3), strides=2, padding="same", output_padding=(0, 1), name="up"
    )
    keras.Model(inputs, up(inputs)).save(tmp_path / "up.keras")
    report = padaudit.verify_backends(tmp_path / "up.keras", PAIR)
    (pair,) = report.pairs["original"]
    assert pair.status == "failed"
    assert pair.reason.startswith("tensorflow can't run it: InvalidArgumentError")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed (pip install jax)"
)
def test_only_torch_differs_of_all_backends(nested: Path) -> None:
    report = padaudit.verify_backends(nested, ("tensorflow", "torch", "jax", "numpy"))
    statuses = {(pair.a, pair.b): pair.status for pair in report.pairs["original"]}
    assert len(statuses) == 6
    for pair, status in statuses.items():
        assert status == ("differs" if "torch" in pair else "agrees"), pair


def test_a_backend_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jax" else real(name)
    )
    with pytest.raises(MissingDependencyError, match="the jax backend of Keras needs jax, which"):
        chosen_backends(["torch", "jax"])
    assert chosen_backends(["all"]) == ("tensorflow", "torch")


def test_names_are_checked() -> None:
    with pytest.raises(UsageError, match="Keras has no backend 'mxnet'; there are tensorflow"):
        chosen_backends(["torch", "mxnet"])
    with pytest.raises(UsageError, match="two or more backends; only torch"):
        chosen_backends(["torch", " torch"])
    assert chosen_backends(["torch", "tensorflow", "torch"]) == ("torch", "tensorflow")


def test_an_onnx_model_has_no_backends() -> None:
    with pytest.raises(InputError, match="an ONNX model has no Keras backends"):
        padaudit.verify_backends(FIXTURES / "digits.onnx", PAIR)


def test_a_site_is_found_by_the_names_of_its_layers(nested: Path) -> None:
    sites = load(nested, InputShapes()).sites
    assert [layer_path(site) for site in sites] == [
        ("stem",),
        ("inner", "pool"),
        ("inner", "after"),
    ]


def test_wide_and_narrow_types_are_compared_in_the_narrow_one() -> None:
    wide, narrow = np.array([1, 2**40 + 1]), np.array([1, 1], np.int32)
    assert [array.dtype for array in same_width(wide, narrow)] == [np.int32, np.int32]
    half, single = np.float16([0.1]), np.float32([0.1])
    assert [array.dtype for array in same_width(single, half)] == [np.float16, np.float16]
    assert [array.dtype.kind for array in same_width(narrow, single)] == ["i", "f"]


def test_the_command_shows_the_matrix_and_says_what_it_can_not_do(nested: Path) -> None:
    shown = verify(nested, "tensorflow,torch", "--timeout", "0.05")
    assert shown.returncode == 1, shown.stderr
    assert "| form     | backend    | torch  |" in shown.stdout
    assert "| original | tensorflow | failed |" in shown.stdout
    assert "| explicit | tensorflow | failed |" in shown.stdout
    assert shown.stdout.rstrip().splitlines()[-1].startswith("Verdict: unverified")
    refused = verify(nested, "tensorflow,mxnet")
    assert refused.returncode == 2
    assert "Keras has no backend 'mxnet'" in refused.stderr
    assert verify(nested, "all", "--what-if", "lower").returncode == 2


def verify(model: Path, names: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "padaudit", "verify", str(model), "--backends", names]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, timeout=600
    )
