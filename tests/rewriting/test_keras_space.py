"""Random padded layers, saved by Keras, rewritten, loaded by Keras: the results are equal.

Drawn are the layer and its rank, kernel, strides, dilations, groups and output_padding, sizes,
wrappers, one or two calls, what stands in front and behind, the kind of model, the version of
Keras and the format. TensorFlow runs channels_last only; what is channels_first is tried in
``tests/verification/test_keras_mutants.py``.
"""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from padaudit import api

CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D")
SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
POOLS = tuple(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3))
RECURRENT = ("ConvLSTM1D", "ConvLSTM2D")
KINDS = (*CONVOLUTIONS, *SEPARABLE, *TRANSPOSED, *POOLS, *RECURRENT)
CHANNELS = 4


@dataclass(frozen=True)
class Case:
    """A model around one padded layer."""

    kind: str
    options: dict[str, Any]
    sizes: tuple[tuple[int, ...], ...]
    frames: bool
    ahead: str | None
    behind: bool
    sequential: bool
    nested: bool


def rank_of(kind: str) -> int:
    return int(next(char for char in kind if char.isdigit()))


@st.composite
def cases(draw: Any) -> Case:
    kind = draw(st.sampled_from(KINDS))
    rank = rank_of(kind)
    options: dict[str, Any] = {"padding": "same"}
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    if kind in ("DepthwiseConv2D", "SeparableConv2D"):
        strides = [strides[0]] * rank
    options["pool_size" if kind in POOLS else "kernel_size"] = kernel
    options["strides"] = strides
    if kind in CONVOLUTIONS and max(strides) == 1 and rank < 3:
        options["dilation_rate"] = [draw(st.integers(1, 3)) for _ in range(rank)]
    if kind in (*CONVOLUTIONS[:3], *SEPARABLE, *TRANSPOSED):
        options |= {"filters": 2, "activation": draw(st.sampled_from([None, "relu", "tanh"]))}
    if kind in ("Conv1D", "Conv2D"):
        options["groups"] = draw(st.sampled_from([1, 2]))
    if kind == "Conv1D" and draw(st.booleans()):
        options["padding"] = "causal"
    if kind in TRANSPOSED and min(strides) > 1 and draw(st.booleans()):
        extra = [draw(st.integers(k % 2 == 0, s - 1)) for k, s in zip(kernel, strides, strict=True)]
        options["output_padding"] = extra
    if kind in RECURRENT:
        options |= {"filters": 2, "return_sequences": draw(st.booleans())}
        options["strides"] = [1] * rank if draw(st.booleans()) else strides
    sizes = [tuple(draw(st.integers(3, 8)) for _ in range(rank))]
    sequential = draw(st.booleans())
    fixed = kind in RECURRENT
    if not sequential and not fixed and draw(st.booleans()):
        sizes.append(tuple(draw(st.integers(3, 8)) for _ in range(rank)))
    return Case(
        kind,
        options,
        tuple(sizes),
        kind not in RECURRENT and draw(st.sampled_from([False, False, True])),
        draw(st.sampled_from([None, "relu", "tanh"])),
        draw(st.booleans()),
        sequential,
        not sequential and draw(st.sampled_from([False, False, True])),
    )


def build(keras: Any, case: Case) -> Any:
    """Return the model of a case; a second size is a second call of the same layer."""
    layers = keras.layers
    padded = getattr(layers, case.kind)(**case.options, name="inside" if case.frames else "target")
    if case.frames:
        padded = layers.TimeDistributed(padded, name="target")
    lead = (3,) if case.frames or case.kind in RECURRENT else ()
    inputs = [keras.Input((*lead, *size, CHANNELS)) for size in case.sizes]
    around = [layers.Activation(case.ahead, name="ahead")] if case.ahead else []
    chain = [*around, padded, *([layers.Activation("tanh", name="reader")] if case.behind else [])]
    if case.sequential:
        return keras.Sequential([inputs[0], *chain])
    ends = []
    for image in inputs:
        x = image
        for layer in chain:
            x = layer(x)
        ends.append(x)
    model = keras.Model(inputs, ends)
    if not case.nested:
        return model
    outer = [keras.Input(image.shape[1:]) for image in inputs]
    return keras.Model(outer, model(outer if len(outer) > 1 else outer[0]))


def randomised(model: Any) -> Any:
    values = np.random.default_rng(5)
    model.set_weights([values.uniform(-1, 1, weight.shape) for weight in model.get_weights()])
    return model


def results(model: Any, feeds: list[Any]) -> list[Any]:
    outputs = model(feeds if len(feeds) > 1 else feeds[0])
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [np.asarray(value) for value in outputs]


def check(package: str, suffix: str, case: Case, verify: str) -> None:
    # TimeDistributed of Keras 2 remembers the first size that it is called with.
    assume(package == "keras" or not case.frames or len(case.sizes) == 1)
    keras = importlib.import_module(package)
    keras.backend.clear_session()
    model = randomised(build(keras, case))
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, f"m{suffix}"), Path(name, f"w{suffix}")
        model.save(source)
        result = api.rewrite(source, target, verify=verify)
        assert result.written, result.verification.reason
        decided = len(result.plan.edits) + len(result.plan.kept)
        assert decided == len(case.sizes)
        reasons = {item.site.op.op_type: item.reason for item in result.plan.kept}
        assert all("Pooling" in op or "TensorFlow on CPU" in reasons[op] for op in reasons)
        assert not any(site.implicit for site in api.check(target).sites) or result.plan.kept
        loaded = keras.models.load_model(target, compile=False)
        values = np.random.default_rng(6)
        feeds = [
            values.normal(size=(2, *image.shape[1:])).astype("float32") for image in model.inputs
        ]
        for before, after in zip(results(model, feeds), results(loaded, feeds), strict=True):
            np.testing.assert_array_equal(before, after)


PACKAGES = [("keras", ".keras"), ("keras", ".h5"), ("tf_keras", ".h5"), ("tf_keras", ".keras")]
HOW: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.parametrize(("package", "suffix"), PACKAGES)
@settings(max_examples=6, derandomize=True, **HOW)
@given(case=cases())
def test_a_rewritten_file_predicts_the_same(package: str, suffix: str, case: Case) -> None:
    pytest.importorskip("tensorflow", reason="Keras's own results need TensorFlow")
    pytest.importorskip(package, reason=f"{package} is the judge of this test")
    check(package, suffix, case, "none")


@pytest.mark.slow
@pytest.mark.parametrize(("package", "suffix"), PACKAGES)
@settings(max_examples=250, **HOW)
@given(case=cases())
def test_many_rewritten_files_predict_the_same_and_are_proven(
    package: str, suffix: str, case: Case
) -> None:
    pytest.importorskip("tensorflow", reason="Keras's own results need TensorFlow")
    pytest.importorskip(package, reason=f"{package} is the judge of this test")
    check(package, suffix, case, "site")
