"""A translation of a Keras model that is wrong by one thing is not proven at level 1.

Each model has one branch per layer that pads. What is changed is what the translation wrote
(amounts of causal and transposed convolutions), or what was made of it afterwards: amounts, the
nodes that compute them, windows. A mutant that computes what the right model does is no mutant.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

keras = pytest.importorskip("keras", reason="keras makes these models")
pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_translation import Case, translated, varied  # noqa: E402
from onnx_mutation import Mutant, mutants_around  # noqa: E402
from onnx_runs import in_child, results, run_here  # noqa: E402

from padaudit.formats.onnx.document import read_onnx  # noqa: E402
from padaudit.formats.shape_options import InputShapes  # noqa: E402
from padaudit.rewriting.options import Options  # noqa: E402
from padaudit.rewriting.output import write_document  # noqa: E402
from padaudit.rewriting.run import loaded  # noqa: E402
from padaudit.rewriting.translated import settle  # noqa: E402
from padaudit.verification import site_level  # noqa: E402
from padaudit.verification.evidence import Status  # noqa: E402
from padaudit.verification.translation_level import prove_nodes  # noqa: E402

L = keras.layers
SIZES = {1: [(11,), (8,), (6,)], 2: [(9, 8), (6, 7), (7, 11)], 3: [(5, 6, 7), (6, 5, 4), (4, 7, 5)]}
MOST = 12
"""Mutants of one model that are tried; ``pytest -m slow`` tries all, of more models."""


def branches(rank: int, image: Any) -> Iterator[Any]:
    """Apply every padded layer of a rank."""
    name = f"{rank}D"

    def made(kind: str, *given: Any, **how: Any) -> Any:
        return getattr(L, kind)(*given, **{"padding": "same", **how})(image)

    kernel, strides, dilations = (3, 4, 2)[:rank], (2, 3, 2)[:rank], (2, 3, 2)[:rank]
    yield made(f"Conv{name}", 2, kernel, strides=strides)
    yield made(f"Conv{name}", 4, kernel, dilation_rate=dilations, groups=2)
    yield made(f"MaxPooling{name}", kernel, strides=strides)
    yield made(f"AveragePooling{name}", kernel, strides=strides)
    yield made(f"Conv{name}Transpose", 2, (5, 4, 3)[:rank], strides=(2, 1, 2)[:rank])
    yield made(f"Conv{name}Transpose", 2, (2, 3, 2)[:rank], strides=(3, 2, 3)[:rank])
    extra = {"strides": (3, 2, 3)[:rank], "output_padding": (2, 1, 1)[:rank]}
    yield made(f"Conv{name}Transpose", 2, (3, 5, 3)[:rank], **extra)
    if rank == 1:
        yield made("Conv1D", 2, 3, padding="causal", dilation_rate=2)
        yield made("Conv1D", 2, 4, padding="causal", strides=2)
    if rank < 3:
        yield made(f"DepthwiseConv{name}", kernel, strides=2)
        yield made(f"SeparableConv{name}", 2, kernel, strides=2)


def model_of(rank: int, is_open: bool) -> Any:
    sizes = (None,) * rank if is_open else SIZES[rank][0]
    image = keras.Input((*sizes, 4), name="image")
    return varied(keras.Model(image, list(branches(rank, image))))


SLOW = [pytest.param(key, marks=pytest.mark.slow) for key in ((2, False), (3, True))]


@pytest.fixture(scope="module", params=[(1, True), (2, True), *SLOW], ids=str)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("translated")
    style = "attrs" if request.param == (2, False) else "pad"
    return translated(model_of(*request.param), folder, Options(style))


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_level, "run", run_here)


def proven(case: Case, path: Path) -> bool:
    """Tell whether the translation's definition and site level hold."""
    if case.settled.contradiction is not None:
        return False
    levels = prove_nodes(case.translated, path, case.settled, case.marks, 60)
    return all(level.status is Status.EQUIVALENT for level in levels)


def alike(case: Case, model: ModelProto) -> bool:
    """Tell whether a model computes what the right one does, at several sizes."""
    shape = case.model.inputs[0].shape[1:-1]
    sizes = SIZES[len(shape)] if None in shape else [tuple(shape)]
    for seed, size in enumerate(sizes):
        data = np.random.default_rng(seed).normal(size=(2, *size, 4)).astype(np.float32)
        right = results(case.path.read_bytes(), {"image": data})
        seen = results(model.SerializeToString(), {"image": data})
        assert right is not None
        if seen is None or not all(map(_near, right, seen)):
            return False
    return True


def _near(a: Any, b: Any) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-5, atol=1e-5))


def survivors(mutants: Sequence[Mutant], tried: Any, case: Case) -> list[str]:
    """Return what is wrong with mutants that are proven and compute something else."""

    def fate(mutant: Mutant) -> str:
        model = tried(mutant.model)
        if model is None:
            return "caught"
        return "equal" if alike(case, model) else "survived"

    return [item.label for item in mutants if in_child(lambda item=item: fate(item)) == "survived"]


def chosen(mutants: Iterator[Mutant], most: int | None) -> list[Mutant]:
    found = list(mutants)
    random.Random(7).shuffle(found)
    return found[:most]


def check_what_was_made(case: Case, folder: Path, most: int | None) -> None:
    assert proven(case, case.path)
    before = onnx.load(case.path.with_name("marked.onnx"))
    own = {mark.name for mark in case.marks}

    def tried(model: ModelProto) -> ModelProto | None:
        path = folder / "mutant.onnx"
        path.write_bytes(model.SerializeToString())
        return model if proven(case, path) else None

    mutants = chosen(mutants_around(case.proto, own, before), most)
    assert len(mutants) >= (most or 200)
    assert survivors(mutants, tried, case) == []


def check_what_was_translated(case: Case, folder: Path, most: int | None) -> None:
    """Change the amounts that the translation states itself, and settle that."""
    marked = onnx.load(case.path.with_name("marked.onnx"))
    stating = {mark.name for mark in case.marks if mark.pads or mark.output_padding}

    def tried(model: ModelProto) -> ModelProto | None:
        source, path = folder / "marked.onnx", folder / "mutant.onnx"
        source.write_bytes(model.SerializeToString())
        before = loaded(read_onnx(source), InputShapes())
        settled = settle(case.original, before, case.marks, Options())
        write_document(settled.applied.document, path)
        other = replace(case, translated=before, settled=settled)
        return onnx.load(path) if proven(other, path) else None

    mutants = chosen(mutants_around(marked, stating, marked), most)
    assert len(mutants) >= (most or 20)
    assert survivors(mutants, tried, case) == []


def test_no_mutant_of_what_was_made_survives(case: Case, tmp_path: Path) -> None:
    check_what_was_made(case, tmp_path, MOST)


def test_no_mutant_of_what_was_translated_survives(case: Case, tmp_path: Path) -> None:
    check_what_was_translated(case, tmp_path, MOST)


@pytest.mark.slow
def test_none_of_all_mutants_survives(case: Case, tmp_path: Path) -> None:
    check_what_was_made(case, tmp_path, None)
    check_what_was_translated(case, tmp_path, None)
