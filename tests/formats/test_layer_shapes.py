"""Shape rules of layers, against the shapes that Keras 3 and tf-keras compute for them."""

from __future__ import annotations

import inspect
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from padaudit.formats.keras.shapes import infer_shapes, rules
from padaudit.formats.keras.shapes.opaque import OPAQUE
from padaudit.formats.keras.shapes.rule import LAYERS, LayerCall, ShapeUnknown
from padaudit.formats.keras.shapes.wrappers import WRAPPERS

os.environ["TF_USE_LEGACY_KERAS"] = "0"
keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
tf_keras = pytest.importorskip("tf_keras", reason="tf_keras is the judge of Keras 2's layers")
sys.path.insert(0, str(Path(__file__).parent))
from keras_layer_cases import CASES, IMAGE, Case, Dims  # noqa: E402
from keras_shapes import inferred, to_shape  # noqa: E402

NO_LAYERS = {"InputLayer", "InputSpec", "Pipeline"}
"""Not called, or (Pipeline) read as the model that it is."""
LESS_STATED = {"UpSampling2D"}
"""tf-keras leaves the width open as well, where only the height is."""
FIRST_OF_CLASS = {item[0]: i for i, item in reversed(list(enumerate(CASES)))}


@cache
def model_of(module: Any, index: int) -> Any:
    """Return a model of one call, or why this version of Keras refuses it."""
    _, make, shapes, dtype = CASES[index]
    inputs = [module.Input(batch_shape=shape, dtype=dtype) for shape in shapes]
    try:
        outputs = make(module)(inputs if len(inputs) > 1 else inputs[0])
        return module.Model(inputs, outputs)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        return error


def cases(module: Any) -> list[Any]:
    """Return the cases of a version of Keras; all but one per class are slow."""
    known = [i for i, item in enumerate(CASES) if hasattr(module.layers, item[0])]
    return [pytest.param(i, id=_title(CASES[i]), marks=_marks(i)) for i in known]


def _marks(index: int) -> tuple[Any, ...]:
    return () if FIRST_OF_CLASS[CASES[index][0]] == index else (pytest.mark.slow,)


def _title(item: Case) -> str:
    return f"{item[0]}-{'-'.join('x'.join(map(str, shape[1:])) for shape in item[2])}"


@pytest.mark.parametrize("index", cases(keras))
def test_keras_3(index: int) -> None:
    compare(keras, index)


@pytest.mark.parametrize("index", cases(tf_keras))
def test_keras_2(index: int) -> None:
    compare(tf_keras, index)


def compare(module: Any, index: int) -> None:
    """Compare what is inferred of one call with what Keras states."""
    model = model_of(module, index)
    if isinstance(model, Exception):
        pytest.skip(f"Keras {module.__version__} refuses this layer: {model}")
    stated = [tuple(tensor.shape) for tensor in model.outputs]
    if module is tf_keras and CASES[index][0] in LESS_STATED:
        assert [agrees(*pair) for pair in zip(inferred(model), stated, strict=True)] == [True]
    else:
        assert inferred(model) == stated


def agrees(found: Dims | str, stated: Dims) -> bool:
    """Tell whether a shape is the stated one, or says more."""
    pairs = zip(found, stated, strict=True)
    return all(size == other or other is None for size, other in pairs)


@pytest.mark.parametrize("module", [keras, tf_keras])
def test_every_layer_is_propagated_or_opaque_with_a_reason(module: Any) -> None:
    classes = {
        member.__name__ for member in vars(module.layers).values() if inspect.isclass(member)
    }
    known = set(rules(LAYERS)) | set(OPAQUE[LAYERS]) | WRAPPERS | NO_LAYERS
    assert not classes - known
    assert not set(rules(LAYERS)) & (set(OPAQUE[LAYERS]) | WRAPPERS)


def test_every_layer_of_keras_3_that_is_propagated_is_tested() -> None:
    classes = {member.__name__ for member in vars(keras.layers).values() if inspect.isclass(member)}
    layers = vars(keras.layers)
    tested = {layers[item[0]].__name__ for item in CASES if item[0] in layers}
    assert (classes & (set(rules(LAYERS)) | WRAPPERS)) - tested == set()


@pytest.mark.parametrize(
    ("name", "config", "cause"),
    [
        ("MyLayer", {}, "MyLayer is not one of Keras's"),
        ("Lambda", {}, "only its own code tells its output shape"),
        ("Conv2D", {"filters": 3}, "not what Keras writes"),
        ("Conv2D", {"filters": 3, "kernel_size": [3, 3, 3]}, "not 2 sizes"),
        ("Conv2D", {"filters": 3, "kernel_size": 3, "padding": "full"}, "none of Keras's"),
        ("Conv2D", {"filters": "3", "kernel_size": 3}, "'3' is not an integer"),
        ("Conv2D", {"filters": 3, "kernel_size": 3, "strides": -1}, "makes no sense"),
        ("Conv2D", {"filters": -3, "kernel_size": 3}, "a size that makes no sense"),
        ("Reshape", {"target_shape": "x"}, "is not an integer"),
        ("Reshape", {"target_shape": [5, -1]}, "do not fit its target shape"),
        ("ZeroPadding2D", {"padding": [1, 2, 3]}, "not amounts for 2 axes"),
        ("Cropping2D", {"cropping": 40}, "a size that makes no sense"),
        ("Bidirectional", {}, "is not one of Keras's"),
    ],
)
def test_what_a_rule_cannot_tell_it_says(name: str, config: dict[str, Any], cause: str) -> None:
    with pytest.raises(ShapeUnknown, match=cause):
        infer_shapes(LayerCall(name, config, (to_shape(IMAGE),)))
