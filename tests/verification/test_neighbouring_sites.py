"""Padded layers that stand right behind each other: each is proven with its own padding alone.

What a rewrite puts between two layers belongs to the first (a crop), to the second (padding),
or was there before. Drawn are two or three layers, what stands between them, whether they are
called on time steps, shared, or apart in an inner model, and how they are saved. Every rewrite
must be proven, and Keras must compute the same; where Keras computes something else after one
amount was shifted, the proof must fail.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from padaudit import api
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import load
from padaudit.verification.evidence import Status
from padaudit.verification.proof import prove_rewrite

keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
pytest.importorskip("tensorflow", reason="Keras's own results need TensorFlow")
sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_configs import Config  # noqa: E402
from keras_translation import assert_explicit, assert_near, feeds, predicted, ran, translated  # noqa: E402

CHANNELS = 2
KINDS = ("Transposed", "Transposed", "Conv", "Depthwise", "Separable", "Max", "Average", "LSTM")
AMOUNTS = ("padding", "cropping")


@dataclass(frozen=True)
class Step:
    """One padded layer, and what the user himself put behind it."""

    kind: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    behind: str | None


@dataclass(frozen=True)
class Chain:
    """Layers in a row; ``inner`` is how many of them an inner model holds."""

    size: tuple[int, ...]
    steps: tuple[Step, ...]
    frames: bool
    shared: bool
    is_sequential: bool
    inner: int
    suffix: str


@st.composite
def chains(draw: Any) -> Chain:
    rank = draw(st.sampled_from([1, 1, 2]))
    frames = draw(st.sampled_from([False, False, False, True]))
    kinds = KINDS if frames else KINDS[:-1]
    count = draw(st.integers(2, 3))
    steps = tuple(draw_step(draw, draw(st.sampled_from(kinds)), rank) for _ in range(count))
    return Chain(
        tuple(draw(st.permutations([3, 4, 5, 7]))[:rank]),
        steps,
        frames,
        draw(st.sampled_from([False, False, True])),
        draw(st.booleans()),
        draw(st.sampled_from([0, 0, 1])),
        draw(st.sampled_from([".keras", ".h5"])),
    )


def draw_step(draw: Any, kind: str, rank: int) -> Step:
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    dilations = (1,) * rank
    if kind in ("Depthwise", "Separable"):
        strides = strides[:1] * rank  # TensorFlow has one stride for both axes.
    if kind == "LSTM" or (kind in ("Conv", "Depthwise") and draw(st.booleans())):
        strides = (1,) * rank
    if kind in ("Conv", "Depthwise") and max(strides) == 1:
        dilations = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    behind = draw(st.sampled_from([None, None, None, "ZeroPadding", "Cropping"]))
    return Step(kind, kernel, strides, dilations, behind)


def padded_layer(step: Step, index: int, frames: bool) -> Any:
    rank, name = len(step.kernel), f"step_{index}"
    own = f"each_{index}" if frames and step.kind != "LSTM" else name
    how: dict[str, Any] = {"padding": "same", "strides": step.strides, "name": own}
    if step.kind in ("Max", "Average"):
        made = getattr(keras.layers, f"{step.kind}Pooling{rank}D")(step.kernel, **how)
    elif step.kind == "LSTM":
        kind = getattr(keras.layers, f"ConvLSTM{rank}D")
        made = kind(CHANNELS, step.kernel, return_sequences=True, **how)
    elif step.kind == "Depthwise":
        kind = getattr(keras.layers, f"DepthwiseConv{rank}D")
        made = kind(step.kernel, dilation_rate=step.dilations, **how)
    else:
        how["activation"] = "relu" if index else None
        named = {"Transposed": f"Conv{rank}DTranspose"}.get(step.kind, f"Conv{rank}D")
        if step.kind == "Separable":
            named = f"SeparableConv{rank}D"
        made = getattr(keras.layers, named)(
            CHANNELS, step.kernel, dilation_rate=step.dilations, **how
        )
    return made if own == name else keras.layers.TimeDistributed(made, name=name)


def own_layer(step: Step, index: int, frames: bool, shape: tuple[int | None, ...]) -> Any:
    """Return the user's own layer behind a step; None where nothing would be left to crop."""
    rank = len(step.kernel)
    spatial = shape[-1 - rank : -1]
    if step.behind is None or (step.behind == "Cropping" and min(spatial) < 3):
        return None
    amounts = [(1, 0), (0, 1)][:rank]
    kind = getattr(keras.layers, f"{step.behind}{rank}D")
    made = kind(amounts if rank > 1 else amounts[0])
    return keras.layers.TimeDistributed(made, name=f"own_{index}") if frames else made


def build(chain: Chain) -> Any:
    """Return the model of a chain, with random weights."""
    lead = (2,) if chain.frames else ()
    image = keras.Input((*lead, *chain.size, CHANNELS))
    x, line, ends = image, [], []
    for index, step in enumerate(chain.steps):
        line.append(padded_layer(step, index, chain.frames))
        x = line[-1](x)
        own = own_layer(step, index, chain.frames, x.shape)
        if own is not None:
            line.append(own)
            x = own(x)
        ends.append(len(line))
    inner = keras.Sequential(line[: ends[0]], name="inner") if chain.inner else None
    rest = line[ends[0] :] if inner else line
    if chain.is_sequential:
        model = keras.Sequential([image, *([inner] if inner else []), *rest])
    else:
        x = inner(image) if inner else image
        if chain.shared and (not inner or x.shape == image.shape):
            x = (inner or rest[0])(x)
        for item in rest:
            x = item(x)
        model = keras.Model(image, x)
    return randomised(model)


def randomised(model: Any) -> Any:
    values = np.random.default_rng(5)
    model.set_weights([values.uniform(-1, 1, weight.shape) for weight in model.get_weights()])
    return model


def result(path: Path) -> Any:
    """Return what Keras computes with a file."""
    model = keras.models.load_model(path, compile=False)
    shape = (2, *model.inputs[0].shape[1:])
    return np.asarray(model(np.random.default_rng(6).normal(size=shape).astype("float32")))


def definition(path: Path) -> Config:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read("config.json")))
    with h5py.File(path) as file:
        return dict(json.loads(file.attrs["model_config"]))


def with_definition(path: Path, config: Config, target: Path) -> Path:
    """Copy a file, with another definition."""
    text = json.dumps(config)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                new.writestr(name, text if name == "config.json" else old.read(name))
        return target
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        file.attrs["model_config"] = text
    return target


def amounts_in(value: Any) -> Iterator[list[Any]]:
    """Yield the pairs of amounts of the layers that a rewrite put in."""
    if isinstance(value, dict):
        name = str(value.get("name"))
        if name.startswith(("step_", "each_")) and ("_pad" in name or "_crop" in name):
            held = next((value[key] for key in AMOUNTS if isinstance(value.get(key), list)), None)
            if held is not None:
                yield from (held if isinstance(held[0], list) else [held])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from amounts_in(item)


def check(chain: Chain, mutant: int) -> None:
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as folder:
        names = ("model", "written", "again", "mutant")
        source, target, again, shifted = (Path(folder, name + chain.suffix) for name in names)
        build(chain).save(source)
        options = Options(verify="site")
        rewritten = api.rewrite(source, target, verify="site")
        assert rewritten.written, rewritten.verification.reason
        assert rewritten.verification.status is Status.EQUIVALENT or not rewritten.plan.edits
        kept = {item.site.id for item in rewritten.plan.kept}
        assert {site.id for site in api.check(target).sites if site.implicit} == kept
        wanted = result(source)
        np.testing.assert_array_equal(wanted, result(target))
        assert not api.rewrite(target, again, verify="site").plan.edits
        assert definition(again) == definition(target)
        config = definition(target)
        pairs = list(amounts_in(config))
        if pairs:
            pair = pairs[mutant // 4 % len(pairs)]
            side = mutant % 2
            pair[side] += -1 if mutant // 2 % 2 and pair[side] else 1
            with_definition(target, config, shifted)
            read = load(source, InputShapes())
            plan = make_plan(read.document, read.sites, "pad", options.wishes, read.graph)
            verdict = prove_rewrite(read, shifted, plan, options)
            assert verdict.status is Status.DIFFERENT or same_by_keras(wanted, shifted)


def same_by_keras(wanted: Any, path: Path) -> bool:
    try:
        got = result(path)
    except (ValueError, TypeError):
        return False
    return got.shape == wanted.shape and bool((got == wanted).all())


HOW: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def line(*steps: tuple[str, int, int]) -> Chain:
    """Return a Sequential of one axis from (kind, kernel, stride)."""
    made = tuple(Step(kind, (kernel,), (stride,), (1,), None) for kind, kernel, stride in steps)
    return Chain((5,), made, False, False, True, 0, ".keras")


@example(line(("Transposed", 3, 2), ("Transposed", 4, 3), ("Conv", 1, 2)), 1)
@example(line(("Transposed", 2, 2), ("Conv", 4, 1), ("Transposed", 4, 3)), 0)
@settings(max_examples=3, derandomize=True, **HOW)
@given(chain=chains(), mutant=st.integers(0, 63))
def test_neighbours_are_proven_one_by_one(chain: Chain, mutant: int) -> None:
    check(chain, mutant)


@pytest.mark.slow
@settings(max_examples=150, **HOW)
@given(chain=chains(), mutant=st.integers(0, 63))
def test_many_neighbours_are_proven_one_by_one(chain: Chain, mutant: int) -> None:
    check(chain, mutant)


def check_in_onnx(chain: Chain, style: str) -> None:
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as folder:
        case = translated(build(chain), Path(folder), Options(style))
        assert_explicit(case)
        data = feeds(case.model, [(2, *case.model.inputs[0].shape[1:])])
        assert_near(predicted(case.model, data), ran(case.path, data))
        result = Path(folder, "again.onnx")
        assert not api.rewrite(case.path, result, verify="none", style=style).plan.edits


STYLES = st.sampled_from(["auto", "pad", "attrs"])


@settings(max_examples=2, derandomize=True, **HOW)
@given(chain=chains(), style=STYLES)
def test_neighbours_are_proven_in_onnx(chain: Chain, style: str) -> None:
    pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
    check_in_onnx(chain, style)


@pytest.mark.slow
@settings(max_examples=80, **HOW)
@given(chain=chains(), style=STYLES)
def test_many_neighbours_are_proven_in_onnx(chain: Chain, style: str) -> None:
    pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
    check_in_onnx(chain, style)
