"""Random stacks of layers, translated to ONNX and compared with Keras at several sizes.

More of them: ``pytest -m slow tests/rewriting/test_keras_to_onnx_space.py``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_translation import (  # noqa: E402
    assert_explicit,
    assert_near,
    feeds,
    predicted,
    ran,
    translated,
    varied,
)

from padaudit.rewriting.options import Options  # noqa: E402

L = keras.layers
NAMES = {1: "1D", 2: "2D", 3: "3D"}
KINDS = ("Conv", "Depthwise", "Separable", "Transposed", "Max", "Average", "Normal", "Add")
LARGEST = {1: 12, 2: 9, 3: 6}
SPEED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@dataclass(frozen=True)
class Stack:
    """A model and the sizes to run it at."""

    model: Any
    shapes: list[tuple[int, ...]]


@st.composite
def stacks(draw: Any) -> Stack:
    rank = draw(st.sampled_from([1, 1, 2, 2, 2, 3]))
    is_open = draw(st.booleans())
    largest = LARGEST[rank]
    axis = st.integers(3, largest)
    sizes = draw(st.lists(st.tuples(*[axis] * rank), min_size=2, max_size=2, unique=True))
    fixed = sizes[:1] if not is_open else [*sizes, (largest,) * rank]
    declared = [None] * rank if is_open else list(fixed[0])
    image = keras.Input((*declared, 4), name="image")
    x = image
    for _ in range(draw(st.integers(1, 3))):
        x = draw_layer(draw, rank)(x)
        if 0 in x.shape[1:]:
            break
    return Stack(varied(keras.Model(image, x)), [(2, *size, 4) for size in fixed])


def draw_layer(draw: Any, rank: int) -> Any:
    """Return a layer, or a function of a tensor, with settings that Keras allows."""
    per_axis = st.tuples(*[st.integers(1, 4)] * rank)
    kernel, strides = draw(per_axis), draw(per_axis)
    dilations = draw(st.one_of(st.just((1,) * rank), st.tuples(*[st.integers(1, 3)] * rank)))
    kind, padding = draw(st.sampled_from(KINDS)), "same"
    if kind in ("Conv", "Depthwise", "Separable") and max(dilations) > 1:
        strides = (1,) * rank if kind == "Conv" or draw(st.booleans()) else (2,) * rank
    else:
        dilations = (1,) * rank
    if rank == 3 and kind in ("Depthwise", "Separable"):
        kind = "Conv"
    if kind in ("Depthwise", "Separable"):
        strides = (strides[0],) * rank  # TensorFlow has one stride for both axes.
    window = {"strides": strides, "padding": padding}
    if kind == "Normal":
        return L.BatchNormalization()
    if kind == "Add":
        return lambda x: L.Add()([x, L.ReLU()(x)])
    if kind in ("Max", "Average"):
        return getattr(L, f"{kind}Pooling{NAMES[rank]}")(kernel, **window)
    if kind == "Transposed":
        return getattr(L, f"Conv{NAMES[rank]}Transpose")(4, kernel, **window)
    window["dilation_rate"] = dilations
    if kind == "Conv":
        if rank == 3:
            # Where windows fall short by 2 or more, TensorFlow's Conv3D begins the first one late.
            pairs = zip(kernel, strides, strict=True)
            window["strides"] = tuple(min(stride, size + 1) for size, stride in pairs)
        groups, causal = draw(st.sampled_from([1, 2])), rank == 1 and draw(st.booleans())
        window["padding"] = "causal" if causal else "same"
        return getattr(L, f"Conv{NAMES[rank]}")(4, kernel, groups=groups, **window)
    if kind == "Depthwise":
        return getattr(L, f"DepthwiseConv{NAMES[rank]}")(kernel, **window)
    return getattr(L, f"SeparableConv{NAMES[rank]}")(4, kernel, **window)


def check(stack: Stack, style: str) -> None:
    """Translate a stack and compare it with Keras at every size."""
    with tempfile.TemporaryDirectory() as folder:
        case = translated(stack.model, Path(folder), Options(style))
        assert_explicit(case)
        for shape in stack.shapes:
            given_data = feeds(case.model, [shape])
            assert_near(predicted(case.model, given_data), ran(case.path, given_data))
    keras.backend.clear_session()


@settings(SPEED, max_examples=8)
@given(stack=stacks(), style=st.sampled_from(["auto", "pad", "attrs"]))
def test_random_stacks(stack: Stack, style: str) -> None:
    check(stack, style)


@pytest.mark.slow
@settings(SPEED, max_examples=150)
@given(stack=stacks(), style=st.sampled_from(["auto", "pad", "attrs"]))
def test_many_random_stacks(stack: Stack, style: str) -> None:
    check(stack, style)
