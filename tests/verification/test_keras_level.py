"""The proof of Keras models with types, windows and sizes that a runtime has no answer for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from padaudit import api
from padaudit.errors import InputError, UsageError
from padaudit.formats.keras.engine import How, run_keras, translate_keras
from padaudit.formats.keras.precision import coarsest_type
from padaudit.formats.keras.translation.marks import Layout
from padaudit.formats.keras.translation.volumes import windows_from_the_start
from padaudit.formats.onnx.widen import widened
from padaudit.rewriting.options import Options
from padaudit.subprocesses import ending_of, running
from padaudit.verification.evidence import Status
from padaudit.verification.keras_level import keras_feeds, keras_specs
from padaudit.verification.translation_proof import TranslationProof

keras: Any = pytest.importorskip("keras", reason="Keras writes and runs the models")
pytest.importorskip("tf2onnx", reason="tf2onnx translates them")
sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_translation import translated  # noqa: E402

L = keras.layers


def saved(path: Path, inputs: Any, outputs: Any) -> Path:
    """Write a model with distinct weights."""
    model, random = keras.Model(inputs, outputs), np.random.default_rng(5)
    for variable in model.weights:
        positive = "variance" in variable.name
        values = (
            random.uniform(0.5, 1, variable.shape)
            if positive
            else random.normal(size=variable.shape, scale=0.4)
        )
        variable.assign(values)
    model.save(path)
    return path


def classifier(path: Path, policy: str) -> Path:
    """Write a strided and a depthwise convolution with a pool, in other types than float32."""
    keras.mixed_precision.set_global_policy(policy)
    try:
        image = keras.Input((19, 28, 3), name="image")
        x = L.Conv2D(8, (3, 2), (2, 3), padding="same", name="stem")(image)
        x = L.ReLU()(L.BatchNormalization()(x))
        x = L.DepthwiseConv2D((2, 3), 2, padding="same", name="deep")(x)
        x = L.GlobalAveragePooling2D()(L.MaxPooling2D((3, 2), 2, padding="same", name="pool")(x))
        return saved(path, image, L.Dense(5, dtype="float32", name="classes")(x))
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_models_in_coarse_types_are_proven_within_their_roundings(
    policy: str, tmp_path: Path
) -> None:
    source = classifier(tmp_path / "m.keras", policy)
    narrow = policy.removeprefix("mixed_")
    assert coarsest_type(api.load(source).document.config) == narrow  # type: ignore[attr-defined]
    result = api.rewrite(source, tmp_path / "m.onnx", verify="model")
    found = result.verification
    assert (found.status, found.reason) == (Status.EQUIVALENT, "")
    evidence = next(item for item in found.evidence if item.level == "source")
    bound = 8 * 2.0 ** (-7 if narrow == "bfloat16" else -10)
    assert evidence.setup["tolerance"]["rtol"] == bound
    assert evidence.setup["input_shapes"] == [
        {"image": ["float32", 1, 19, 28, 3]},
        {"image": ["float32", 2, 19, 28, 3]},
    ]
    onnx.checker.check_model(onnx.load(result.target), full_check=True)
    told = [text for text in found.not_covered if "float32 in the place of bfloat16" in text]
    assert len(told) == (narrow == "bfloat16")


def test_bfloat16_asks_for_an_opset_that_has_it(tmp_path: Path) -> None:
    source = classifier(tmp_path / "m.keras", "mixed_bfloat16")
    with pytest.raises(UsageError, match="opset 17: the model computes in bfloat16"):
        api.rewrite(source, tmp_path / "m.onnx", opset=17)


def test_widening_reaches_bodies_and_constants() -> None:
    make, bf16 = onnx.helper, onnx.TensorProto.BFLOAT16
    one = make.make_tensor("one", bf16, [1], [1.5])
    body = make.make_graph(
        [
            make.make_node("Constant", [], ["c"], value=one),
            make.make_node("Add", ["x", "c"], ["s"]),
            make.make_node("Cast", ["s"], ["r"], to=bf16),
        ],
        "body",
        [],
        [make.make_tensor_value_info("r", bf16, [1])],
    )
    graph = make.make_graph(
        [make.make_node("If", ["b"], ["y"], then_branch=body, else_branch=body)],
        "g",
        [make.make_tensor_value_info(*item) for item in (("x", bf16, [1]), ("b", 9, []))],
        [make.make_tensor_value_info("y", bf16, [1])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 22)])
    wide = widened(model)
    assert wide is not None
    onnx.checker.check_model(wide, full_check=True)
    assert "BFLOAT16" not in onnx.printer.to_text(wide).upper()
    assert "BFLOAT16" in onnx.printer.to_text(model).upper()
    assert widened(wide) is None


VOLUMES: dict[str, Callable[[], Any]] = {
    "conv": lambda: L.Conv3D(3, (1, 2, 3), (4, 3, 2), padding="same", name="late"),
    "max_pool": lambda: L.MaxPooling3D((1, 2, 3), (4, 3, 2), padding="same", name="late"),
    "average": lambda: L.AveragePooling3D((1, 2, 3), (4, 3, 2), padding="same", name="late"),
    "first": lambda: L.Conv3D(
        3, (1, 2, 3), (4, 3, 2), padding="same", name="late", data_format="channels_first"
    ),
}


@pytest.mark.parametrize(
    "kind",
    ["conv", *(pytest.param(kind, marks=pytest.mark.slow) for kind in VOLUMES if kind != "conv")],
)
def test_windows_that_tensorflow_starts_late_are_told_of(kind: str, tmp_path: Path) -> None:
    volume = keras.Input((2, 8, 7, 5) if kind == "first" else (8, 7, 5, 2))
    source = saved(tmp_path / "m.keras", volume, VOLUMES[kind]()(volume))
    result = api.rewrite(source, tmp_path / "m.onnx", allow_unverified=kind == "conv")
    found = result.verification
    assert (found.status, result.written) == (Status.UNVERIFIED, kind == "conv")
    assert "starts the windows of 'late' after the first element" in found.reason
    far, near = [item.max_abs for item in found.evidence if item.level == "source"]
    assert near < 1e-5
    assert far > 0.1


@pytest.mark.slow
def test_a_wrong_result_is_not_excused_by_windows_that_start_late(tmp_path: Path) -> None:
    volume = keras.Input((8, 7, 5, 2))
    layer = L.Conv3D(3, (1, 2, 3), (4, 3, 2), padding="same", name="late", bias_initializer="ones")
    case = translated(keras.Model(volume, layer(volume)), tmp_path)
    options = Options()
    feeds = keras_feeds(case.original)
    arrays = [list(feed.values()) for feed in feeds]
    source = tmp_path / "model.keras"
    run = run_keras([source], arrays, tmp_path, timeout=200)[0]
    made = case.original, source, case.translated, case.settled, case.marks
    right = TranslationProof(*made, case.path, Layout(), options).verdict(run, feeds)
    assert right.status is Status.UNVERIFIED
    wrong = case.proto
    bias = next(item for item in wrong.graph.initializer if list(item.dims) == [3])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([1, 1.5, 1]), bias.name))
    onnx.save(wrong, case.path)
    found = TranslationProof(*made, case.path, Layout(), options).verdict(run, feeds)
    assert found.status is Status.DIFFERENT
    assert "differs from the original in Keras" in found.reason


@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
def test_windows_from_the_start_are_those_of_the_formula(order: str) -> None:
    random = np.random.default_rng(2)
    x = random.integers(-4, 5, (2, 9, 8, 11, 3)).astype(np.float32)
    kernel = random.integers(-4, 5, (1, 2, 3, 3, 4)).astype(np.float32)
    strides = (4, 3, 2)
    # Depth reads 0, 4, 8; height 0 to 7 in twos from 0, 3, 6; width pads (1, 1).
    padded = np.pad(x, [(0, 0), (0, 0), (0, 0), (1, 1), (0, 0)])
    expected = sum(
        padded[:, 0:9:4, a : a + 7 : 3, b : b + 11 : 2] @ kernel[0, a, b]
        for a in range(2)
        for b in range(3)
    )
    turn = [0, 4, 1, 2, 3] if order == "channels_first" else [0, 1, 2, 3, 4]
    with windows_from_the_start():
        last = keras.ops.conv(x, kernel, strides, padding="same", data_format="channels_last")
        pool = keras.ops.max_pool(
            x.transpose(turn), (1, 2, 3), strides, padding="same", data_format=order
        )
    np.testing.assert_array_equal(np.asarray(last), expected)
    least = np.pad(x, [(0, 0), (0, 0), (0, 0), (1, 1), (0, 0)], constant_values=-9)
    views = [least[:, ::4, a : a + 7 : 3, b : b + 11 : 2] for a in range(2) for b in range(3)]
    np.testing.assert_array_equal(np.asarray(pool), np.max(views, 0).transpose(turn))


def large(path: Path) -> Path:
    """Write a model whose output alone takes a gigabyte."""
    image = keras.Input((64, 64, 1))
    small = L.Conv2D(1, 3, 2, padding="same", name="c")(image)
    return saved(path, image, L.ZeroPadding2D((8000, 8000))(small))


def test_a_run_of_keras_that_takes_too_much_memory_is_stopped(tmp_path: Path) -> None:
    source = large(tmp_path / "m.keras")
    feed = [np.zeros((1, 64, 64, 1), np.float32)]
    run = run_keras([source], [feed], tmp_path, timeout=200, memory_mb=1200)[0]
    assert (run.outputs, run.died, run.stopped) == (None, True, True)
    assert "more than 1200 MiB (--memory-limit), while it ran the model" in run.error


def test_limits_below_what_tensorflow_needs_are_told_with_the_file(tmp_path: Path) -> None:
    source = classifier(tmp_path / "m.keras", "float32")
    with pytest.raises(InputError, match=r"m\.keras: the Keras process was stopped .* 90 MiB"):
        api.rewrite(source, tmp_path / "m.onnx", memory_mb=90)
    result = api.rewrite(source, tmp_path / "out.keras", memory_mb=300, verify="model")
    assert (result.written, result.verification.status) == (False, Status.UNVERIFIED)
    assert "300 MiB (--memory-limit)" in result.verification.reason
    slow = translate_keras(source, [], tmp_path, How(), 0.5)
    assert slow.error == "the Keras process was stopped after 0.5 s (--timeout)"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_process_that_gives_up_is_quoted(tmp_path: Path) -> None:
    said = "F0000 00:00:1 1 tensor.cc:9] Check failed: size >= 0 (-4 vs. 0)"
    code = f"import os, sys; print({said!r}, file=sys.stderr, flush=True); os.abort()"
    with running("padaudit", tmp_path) as process:
        process.wait()
    with (tmp_path / "stderr.txt").open("wb") as stderr:
        dead = subprocess.Popen([sys.executable, "-c", code], stderr=stderr)
        dead.wait()
    assert ending_of(dead, tmp_path) == f"died with SIGABRT: it gave up by itself ({said})"


def of_words() -> tuple[Any, Any]:
    words = keras.Input((20,), dtype="int32", name="words")
    x = L.Conv1D(3, 4, strides=3, padding="same", name="conv")(L.Embedding(10, 4)(words))
    return words, x


def of_bytes() -> tuple[Any, Any]:
    image = keras.Input((9, 14, 2), dtype="uint8", name="image")
    x = L.Conv2D(3, (3, 2), (2, 3), padding="same", name="conv")(L.Rescaling(1 / 255)(image))
    return image, x


@pytest.mark.parametrize(("made", "dtype"), [(of_words, "int32"), (of_bytes, "uint8")])
def test_inputs_are_of_the_type_that_the_model_declares(
    made: Callable[[], tuple[Any, Any]], dtype: str, tmp_path: Path
) -> None:
    source = saved(tmp_path / "m.keras", *made())
    assert {spec.dtype for spec in keras_specs(api.load(source))} == {dtype}
    result = api.rewrite(source, tmp_path / "m.onnx")
    assert result.verification.status is Status.EQUIVALENT
    assert "source" in {item.level for item in result.verification.evidence}


def test_the_model_level_runs_both_files_translated_in_onnxruntime(tmp_path: Path) -> None:
    source = saved(tmp_path / "m.keras", *of_bytes())
    result = api.rewrite(source, tmp_path / "out.keras", verify="model")
    assert result.verification.status is Status.EQUIVALENT
    runtimes = {item.level: item.runtime for item in result.verification.evidence}
    assert runtimes["model"].startswith("onnxruntime") and runtimes["source"].startswith("Keras")
