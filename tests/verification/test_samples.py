"""Inputs that the user gives in a file: what is taken, and what is refused with a sentence."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import conv_model

from padaudit.cli.app import cli
from padaudit.errors import InputError, UsageError
from padaudit.verification import arrays_file
from padaudit.verification.inputs import InputSpec
from padaudit.verification.model_level import feeds_of
from padaudit.verification.samples import from_file

IMAGE = InputSpec("x", "float32", ("N", 2, 3))
MASK = InputSpec("mask", "bool", ("N", 4))
X = np.arange(30, dtype=np.float32).reshape(5, 2, 3)


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "in.npz"
    np.savez(path, **arrays)
    return path


def refusal(path: Path, *specs: InputSpec) -> str:
    with pytest.raises(InputError) as caught:
        from_file(path, specs or (IMAGE,))
    text = str(caught.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text
    return text


def test_unknown_arrays_are_named_with_what_the_model_has(tmp_path: Path) -> None:
    text = refusal(saved(tmp_path, x=X, labels=np.arange(5)))
    assert "the model has no input 'labels'" in text
    assert "the model's inputs are 'x' (float32 [N, 2, 3]), and 'y' may hold" in text
    both = refusal(saved(tmp_path, X=X, msk=np.ones((5, 4), bool)), IMAGE, MASK)
    assert "it has no array for 'x', 'mask', and the model has no input 'X', 'msk'" in both
    assert "'mask' (bool [N, 4])" in both


def test_labels_are_an_input_where_the_model_has_one_of_that_name(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=np.arange(5))
    assert from_file(path, [IMAGE]).labels is not None
    assert from_file(path, [IMAGE, InputSpec("y", "int64", ("N",))]).labels is None


WRONG: dict[str, tuple[Any, str]] = {
    "rank": (X[0], "has the shape (2, 3), the input (N, 2, 3)"),
    "a scalar": (np.float32(1), "has the shape ()"),
    "a size": (X[:, :, :2], "has the shape (5, 2, 2)"),
    "no samples": (X[:0], "it holds no samples"),
    "text for numbers": (X.astype(str), "is str"),
    "complex numbers": (X.astype(np.complex64), "is complex64, the input float32"),
    "dates": (X.astype("datetime64[s]"), "is datetime64"),
    "too large for the type": (X.astype(np.float64) * 1e300, "(float64) has values that float32"),
    "NaN": (np.where(X == 7, np.nan, X), "holds NaN, first at (1, 0, 1)"),
    "objects": (np.array([None]), "Python objects, which are never loaded"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_array_that_does_not_fit(case: str, tmp_path: Path) -> None:
    array, reason = WRONG[case]
    assert reason in refusal(saved(tmp_path, x=array))


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (X + 0.5, "int64"),
        (X * 100, "uint8"),
        (-X, "uint16"),
        (X, "bool"),
        (np.int64([[[300] * 3] * 2]), "int8"),
    ],
    ids=["fractions", "over the range", "negative", "more than a bool", "narrower"],
)
def test_numbers_are_not_bent_into_an_integer_type(array: Any, dtype: str, tmp_path: Path) -> None:
    spec = InputSpec("x", dtype, ("N", 2, 3))
    assert f"has values that {dtype} can't hold" in refusal(saved(tmp_path, x=array), spec)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (X.astype(np.uint8), "float32"),
        (X.astype(np.float64), "float32"),
        (X, "uint8"),
        (X.astype(np.int64), "int8"),
        (X.astype(ml_dtypes.bfloat16), "bfloat16"),
        (X, "bfloat16"),
        (np.where(X > 7, np.inf, X), "float32"),
    ],
    ids=["pixels", "float64", "whole floats", "narrower", "bfloat16", "to bfloat16", "infinity"],
)
def test_numbers_that_keep_their_value_are_converted(
    array: Any, dtype: str, tmp_path: Path
) -> None:
    (feed,) = from_file(saved(tmp_path, x=array), [InputSpec("x", dtype, ("N", 2, 3))]).feeds
    assert feed["x"].dtype.name == dtype
    np.testing.assert_array_equal(feed["x"].astype(np.float64), array.astype(np.float64))


def test_text_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.array(["a", "longer"]))
    (feed,) = from_file(path, [InputSpec("x", "str", ("N",))]).feeds
    assert feed["x"].tolist() == ["a", "longer"]


def test_one_array_alone_may_be_without_a_name(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", X)
    np.savez(tmp_path / "in.npz", X)
    for path in (tmp_path / "in.npz", tmp_path / "in.npy"):
        np.testing.assert_array_equal(from_file(path, [IMAGE]).feeds[0]["x"], X)
    assert "the model has no input 'whatever'" in refusal(saved(tmp_path, whatever=X))
    assert "it has no array for 'x', 'mask'" in refusal(tmp_path / "in.npy", IMAGE, MASK)


def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = saved(folder, x=np.random.default_rng(0).random((5, 2, 3)))
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def with_member(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "in.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return path


def boastful(folder: Path) -> Path:
    """An array that says it has more elements than there are bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f8", "fortran_order": False, "shape": (1 << 25, 1 << 20)}
    )
    return with_member(folder, "x.npy", buffer.getvalue())


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "cut short": (damaged(lambda data: data[: len(data) // 2]), "damaged"),
    "a byte changed": (damaged(lambda data: data[:200] + b"\xff" + data[201:]), "damaged"),
    "empty": (damaged(lambda data: b""), "damaged"),
    "text": (damaged(lambda data: b"x,y\n1,2\n"), "Python objects"),
    "a member that is no array": (
        lambda folder: with_member(folder, "x.txt", b"hello"),
        "'x.txt' in it is no array",
    ),
    "more elements than bytes": (boastful, "array"),
    "a folder": (lambda folder: folder, "is a folder"),
    "nothing": (lambda folder: folder / "none.npz", "no such file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_can_not_be_read(case: str, tmp_path: Path) -> None:
    make, reason = BROKEN[case]
    assert reason in refusal(make(tmp_path))


def test_arrays_that_would_fill_the_memory_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.npz"
    np.savez_compressed(path, x=np.zeros((1 << 14, 2, 3), np.float32))
    assert path.stat().st_size < 1 << 12
    monkeypatch.setattr(arrays_file, "MAX_BYTES", 1 << 16)
    assert "the most; give fewer samples" in refusal(path)


def test_rows_are_split_into_runs_and_what_is_no_batch_goes_into_each(tmp_path: Path) -> None:
    scale = InputSpec("scale", "float32", ())
    table = InputSpec("table", "float32", (4, 2))
    path = saved(tmp_path, x=X, scale=np.float32(3), table=np.ones((4, 2)))
    two = InputSpec("x", "float32", (2, 2, 3))
    found = from_file(path, [two, scale, table])
    assert [feed["x"].shape for feed in found.feeds] == [(2, 2, 3)] * 2
    assert all(feed["table"].shape == (4, 2) and feed["scale"] == 3 for feed in found.feeds)
    assert found.origin.startswith("4 samples")
    uneven = saved(tmp_path, x=X, mask=np.ones((3, 4), bool))
    assert "its arrays have 5 of 'x', 3 of 'mask'" in refusal(uneven, IMAGE, MASK)
    assert "the model takes 7 at once" in refusal(
        saved(tmp_path, x=X), InputSpec("x", "float32", (7, 2, 3))
    )


# --- rewrite --inputs ---------------------------------------------------------------------


def padaudit(*arguments: str | Path) -> Any:
    return cli.main([str(item) for item in arguments], standalone_mode=False)


def test_a_rewrite_is_proven_on_the_users_inputs_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(conv_model((9, 12), (3, 2), strides=[2, 3], auto_pad="SAME_UPPER"), path)
    own = saved(tmp_path, x=np.ones((4, 2, 9, 12)))
    target, trail = tmp_path / "out.onnx", tmp_path / "trail.json"
    arguments = ["-o", target, "--inputs", own, "--evidence", trail]
    assert padaudit("rewrite", "--explicit", path, *arguments) == 0
    # Three kinds are made up; the batch is 1, so that each of the four samples is a run.
    assert "model: 7 inputs" in " ".join(capsys.readouterr().out.split())
    assert str(own) in trail.read_text() and "impulses" in trail.read_text()
    own = saved(tmp_path, image=np.ones((4, 2, 9, 12)), z=np.ones(4))
    with pytest.raises(InputError, match="has no array for 'x', and the model has no input"):
        padaudit("rewrite", "--explicit", path, "-o", tmp_path / "no.onnx", "--inputs", own)
    assert not (tmp_path / "no.onnx").exists()
    with pytest.raises(UsageError, match="--inputs is for whole models"):
        padaudit("rewrite", "--explicit", path, "--verify", "site", "--inputs", own)


def test_inputs_that_can_not_be_made_up_are_no_obstacle_then() -> None:
    spec = InputSpec("z", "complex64", (1,))
    with pytest.raises(UsageError, match="no test values can be made up"):
        feeds_of([spec])
    own = [{"z": np.ones(1, np.complex64)}]
    assert feeds_of([spec], own) == own
    made = feeds_of([IMAGE], [{"x": X}])
    assert made[-1]["x"] is X and len(made) > 1
